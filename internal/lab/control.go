package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// request is what a standing lab is told to do, in the words of the command line.
type request struct {
	Words []string `json:"words"`
}

type reply struct {
	Text  string `json:"text,omitempty"`
	Error string `json:"error,omitempty"`
}

// Serve answers commands from a control socket until the context ends. stop is called when somebody
// asks the lab to end.
func (l *Lab) Serve(ctx context.Context, listener net.Listener, stop func()) {
	var running sync.WaitGroup
	defer running.Wait()
	release := context.AfterFunc(ctx, func() { listener.Close() })
	defer release()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		running.Go(func() {
			defer conn.Close()
			// A caller that says nothing must not hold the lab.
			if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
				return
			}
			var q request
			if json.NewDecoder(conn).Decode(&q) != nil {
				return // whoever only looked whether the lab is there
			}
			text, err := l.Command(q.Words, stop)
			r := reply{Text: text}
			if err != nil {
				r.Error = err.Error()
			}
			_ = json.NewEncoder(conn).Encode(r)
		})
	}
}

// Command does what words say: cut LINE, unplug LINE, slow LINE RATE, lose LINE PERCENT
// [both|up|down], restore LINE, status, hosts, stop. Lines are numbered from 1.
func (l *Lab) Command(words []string, stop func()) (string, error) {
	if len(words) == 0 {
		return "", errors.New("nothing to do")
	}
	switch words[0] {
	case "status":
		return l.Status()
	case "hosts":
		return strings.Join(l.hostNames(), "\n"), nil
	case "stop":
		stop()
		return "the lab ends", nil
	}
	return l.lineCommand(words)
}

// lineCommand does what words say to one line.
func (l *Lab) lineCommand(words []string) (string, error) {
	if len(words) < 2 {
		return "", fmt.Errorf("%s: which line?", words[0])
	}
	i, err := l.parseLine(words[1])
	if err != nil {
		return "", err
	}
	rest := words[2:]
	switch {
	case words[0] == "cut" && len(rest) == 0:
		err = l.Cut(i)
	case words[0] == "unplug" && len(rest) == 0:
		err = l.CutCarrier(i)
	case words[0] == "restore" && len(rest) == 0:
		err = l.Restore(i)
	case words[0] == "slow" && len(rest) == 1:
		err = l.slow(i, rest[0])
	case words[0] == "lose" && (len(rest) == 1 || len(rest) == 2):
		err = l.lose(i, rest)
	default:
		err = fmt.Errorf("%q is not a command of the lab", strings.Join(words, " "))
	}
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("line %d: %s", i+1, l.State(i)), nil
}

func (l *Lab) slow(i int, text string) error {
	rate, err := ParseRate(text)
	if err != nil {
		return err
	}
	return l.Slow(i, rate)
}

func (l *Lab) lose(i int, words []string) error {
	percent, err := strconv.Atoi(strings.TrimSuffix(words[0], "%"))
	if err != nil {
		return fmt.Errorf("lose %q: want a whole number of percent", words[0])
	}
	direction := Both
	if len(words) == 2 {
		if direction, err = ParseDirection(words[1]); err != nil {
			return err
		}
	}
	return l.Lose(i, percent, direction)
}

// parseLine reads a line's number from 1, or its interface.
func (l *Lab) parseLine(text string) (int, error) {
	for i, line := range l.Plan.Lines {
		if text == line.Interface || text == strconv.Itoa(line.Number) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("line %q: want 1 to %d", text, len(l.Plan.Lines))
}

// hostNames returns the names of the hosts, sorted, the providers last.
func (l *Lab) hostNames() []string {
	names := []string{"client", "internet", "router", "server"}
	for _, line := range l.Plan.Lines {
		names = append(names, fmt.Sprintf("isp%d", line.Number))
	}
	return names
}

// Status says in words how the lab stands.
func (l *Lab) Status() (string, error) {
	hops, err := l.Selected()
	if err != nil {
		return "", err
	}
	rows := make([][]string, len(l.Plan.Lines))
	for i, line := range l.Plan.Lines {
		use, address := "no", "none"
		if slices.ContainsFunc(hops, func(h NextHop) bool { return h.Line == i }) {
			use = "yes"
		}
		if a, err := l.Address(i); err == nil {
			address = a.String()
		}
		rows[i] = []string{strconv.Itoa(line.Number), line.Interface, address, line.Gateway.String(), l.State(i), use}
	}
	lines := table([]column{{"line", true}, {"interface", false}, {"address", false}, {"gateway", false}, {"state", false}, {"in use", false}}, rows, 1000, style{})
	state := "the daemon does not run"
	if pid := l.DaemonPID(); pid > 0 {
		state = fmt.Sprintf("the daemon runs (process %d in the lab)", pid)
	}
	lines = append(lines, "", state+"; configuration and log: "+l.Dir, "hosts: "+strings.Join(l.hostNames(), ", "))
	return strings.Join(lines, "\n"), nil
}

// Ask sends a command to a standing lab and returns its answer.
func (i Info) Ask(ctx context.Context, words ...string) (string, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", i.socket)
	if err != nil {
		return "", fmt.Errorf("reach the lab %q: %w", i.Name, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := json.NewEncoder(conn).Encode(request{words}); err != nil {
		return "", fmt.Errorf("ask the lab %q: %w", i.Name, err)
	}
	var r reply
	if err := json.NewDecoder(conn).Decode(&r); err != nil {
		return "", fmt.Errorf("read the answer of the lab %q: %w", i.Name, err)
	}
	if r.Error != "" {
		return "", errors.New(r.Error)
	}
	return r.Text, nil
}

// Enter returns the command that runs args on a host of the lab: nsenter(1) into the lab's
// namespaces, ip-netns(8) into the host's.
func (i Info) Enter(host string, args ...string) []string {
	command := []string{"nsenter", "--target", strconv.Itoa(i.PID), "--mount", "--net", "--pid"}
	if i.User {
		command = append(command, "--user", "--preserve-credentials")
	}
	return append(append(command, "ip", "netns", "exec", host), args...)
}

// HasHost returns an error that names the hosts where there is none of that name.
func (i Info) HasHost(ctx context.Context, name string) error {
	text, err := i.Ask(ctx, "hosts")
	if err != nil {
		return err
	}
	if names := strings.Fields(text); !slices.Contains(names, name) {
		return fmt.Errorf("host %q: the lab has %s", name, strings.Join(names, ", "))
	}
	return nil
}
