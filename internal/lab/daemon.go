package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ftr/internal/config"
)

// daemon is the running program under test.
type daemon struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error // why it ended; valid after done
}

// ConfigPath is where the router's configuration file is.
func (l *Lab) ConfigPath() string { return filepath.Join(l.Dir, "ftr.conf") }

// WriteConfig writes the router's configuration file.
func (l *Lab) WriteConfig(text string) error {
	for _, dir := range []string{"state", "runtime"} {
		if err := os.MkdirAll(filepath.Join(l.Dir, dir), 0o755); err != nil {
			return err
		}
	}
	return os.WriteFile(l.ConfigPath(), []byte(text), 0o600)
}

// Config returns the text of the configuration that the lab's options ask for.
func (l *Lab) Config() string { return ConfigText(l.Plan, l.Dir, l.options.Config) }

// Program returns a command of the program under test, with the router's configuration, to be run
// on the router (see Host.Start).
func (l *Lab) Program(ctx context.Context, args ...string) (*exec.Cmd, error) {
	if len(l.options.Command) == 0 {
		return nil, errors.New("the lab has no program to run: Options.Command is empty")
	}
	words := slices.Concat(l.options.Command[1:], []string{"--config=" + l.ConfigPath()}, args)
	cmd := exec.CommandContext(ctx, l.options.Command[0], words...)
	cmd.Dir, cmd.Env = l.Dir, environment()
	return cmd, nil
}

// ApplyRules gives the router the firewall rules that belong to its configuration file: with a managed
// firewall, only the one that the lab's servers need; otherwise also those of generate_iptables.
func (l *Lab) ApplyRules(ctx context.Context) error {
	text, err := os.ReadFile(l.ConfigPath())
	if err != nil {
		return err
	}
	cfg, _ := config.Parse(l.ConfigPath(), text) // the program itself says what is wrong with it
	if cfg != nil && cfg.Firewall == config.FirewallManaged {
		return l.openManaged()
	}
	if cfg != nil && slices.ContainsFunc(cfg.Uplinks, func(u config.Uplink) bool { return u.Has(config.IPv6) }) {
		if err := l.loadGenerated(ctx, "ip6tables-restore", "--ipv6"); err != nil {
			return err
		}
	}
	if err := l.loadGenerated(ctx, "iptables-restore"); err != nil {
		return err
	}
	return l.openServers()
}

// loadGenerated gives the rules of generate_iptables to the router's kernel.
func (l *Lab) loadGenerated(ctx context.Context, restore string, flags ...string) error {
	cmd, err := l.Program(ctx, append([]string{"generate_iptables"}, flags...)...)
	if err != nil {
		return err
	}
	var out, said strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := l.Router.Do(cmd.Run); err != nil {
		return fmt.Errorf("generate_iptables: %w: %s", err, strings.TrimSpace(said.String()))
	}
	if err := l.Router.Input(out.String(), restore); err != nil {
		return fmt.Errorf("load the rules of generate_iptables: %w", err)
	}
	return nil
}

// openServers sends port 80 of every line to the server in the DMZ and opens the router's own port.
func (l *Lab) openServers() error {
	var b strings.Builder
	b.WriteString("*nat\n")
	for _, line := range l.Plan.Lines {
		fmt.Fprintf(&b, "-A PREROUTING -i %s -p tcp --dport %d -j DNAT --to-destination %s:%d\n", line.Interface, WebPort, dmzServer.Addr(), WebPort)
	}
	fmt.Fprintf(&b, "COMMIT\n*filter\n-I INPUT -p tcp --dport %d -j ACCEPT\nCOMMIT\n", RouterPort)
	if err := l.Router.Input(b.String(), "iptables-restore", "--noflush"); err != nil {
		return fmt.Errorf("load the rules of the lab's servers: %w", err)
	}
	return nil
}

// openManaged sends port 80 of every line to the server in the DMZ, in an nft table beside the program's.
func (l *Lab) openManaged() error {
	var names []string
	for _, line := range l.Plan.Lines {
		names = append(names, strconv.Quote(line.Interface))
	}
	text := fmt.Sprintf("table ip lab\ndelete table ip lab\ntable ip lab {\n\tchain servers {\n\t\ttype nat hook prerouting priority -100;\n"+
		"\t\tiifname { %s } tcp dport %d dnat to %s\n\t}\n}\n", strings.Join(names, ", "), WebPort, dmzServer.Addr())
	if err := l.Router.Input(text, "nft", "-f", "-"); err != nil {
		return fmt.Errorf("load the rules of the lab's servers: %w", err)
	}
	return nil
}

// StartDaemon starts `monitor` on the router with the configuration that is there; where there is
// none, with the lab's own. Its output goes to the lab's log.
func (l *Lab) StartDaemon(ctx context.Context) error {
	if _, err := os.Stat(l.ConfigPath()); errors.Is(err, os.ErrNotExist) {
		if err := l.WriteConfig(l.Config()); err != nil {
			return err
		}
	}
	cmd, err := l.Program(context.WithoutCancel(ctx), "monitor")
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.daemon != nil && l.daemon.alive() {
		return errors.New("start the daemon: it runs already")
	}
	cmd.Stdout, cmd.Stderr = l.log, l.log
	if err := l.Router.Start(cmd); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	d := &daemon{cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(d.done)
		d.err = cmd.Wait()
	}()
	l.daemon = d
	return nil
}

// alive tells whether the process still runs.
func (d *daemon) alive() bool {
	select {
	case <-d.done:
		return false
	default:
		return true
	}
}

// StopDaemon asks the daemon to stop (SIGTERM) and waits; an error if it does not end well in 10 s.
func (l *Lab) StopDaemon() error { return l.endDaemon(syscall.SIGTERM) }

// KillDaemon kills the daemon (SIGKILL), if one runs, and waits.
func (l *Lab) KillDaemon() error { return l.endDaemon(syscall.SIGKILL) }

func (l *Lab) endDaemon(signal syscall.Signal) error {
	l.mu.Lock()
	d := l.daemon
	l.daemon = nil
	l.mu.Unlock()
	if d == nil {
		return nil
	}
	_ = d.cmd.Process.Signal(signal)
	select {
	case <-d.done:
	case <-time.After(10 * time.Second):
		_ = d.cmd.Process.Kill()
		<-d.done
		return fmt.Errorf("stop the daemon: it still ran 10 s after %s", signal)
	}
	if signal == syscall.SIGTERM && d.err != nil {
		return fmt.Errorf("stop the daemon: %w", d.err)
	}
	return nil
}

// DaemonPID returns the process of the running daemon; 0: none runs.
func (l *Lab) DaemonPID() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.daemon == nil || !l.daemon.alive() {
		return 0
	}
	return l.daemon.cmd.Process.Pid
}

// DaemonError tells whether a daemon that was started has ended by itself, and why.
func (l *Lab) DaemonError() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.daemon == nil || l.daemon.alive() {
		return nil
	}
	return fmt.Errorf("the daemon ended by itself (%w); it said:\n%s", errors.Join(l.daemon.err, errors.New(l.daemon.cmd.ProcessState.String())), l.log.Tail(20))
}

// WaitFor waits until the condition holds; an error of the condition, of the context, or a daemon
// that ended by itself ends it.
func (l *Lab) WaitFor(ctx context.Context, what string, limit time.Duration, condition func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		ok, err := condition()
		if err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if ok {
			return nil
		}
		if err := l.DaemonError(); err != nil {
			return fmt.Errorf("wait for %s: %w", what, err)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("wait for %s: not within %s; the daemon said:\n%s", what, limit, l.log.Tail(20))
		}
	}
}

// NextHop is one way of the default route that new connections are balanced over.
type NextHop struct {
	Line    int // from 0
	Gateway netip.Addr
	Weight  int
}

// Selected returns the lines that the router's balanced default route uses now; the ones that the
// kernel passes over (no carrier) are left out.
func (l *Lab) Selected() ([]NextHop, error) {
	out, err := l.Router.Output("ip", "-4", "-j", "route", "show", "table", "all", "default")
	if err != nil {
		return nil, err
	}
	return l.Plan.selected(out, strconv.Itoa(baseTable+len(l.Plan.Lines)))
}

// hop is a next hop as ip(8) prints it in JSON.
type hop struct {
	Device  string     `json:"dev"`
	Gateway netip.Addr `json:"gateway"`
	Weight  int        `json:"weight"`
	Flags   []string   `json:"flags"`
}

// selected reads the default route of lowest metric of a table from `ip -j route`.
func (p Plan) selected(text, table string) ([]NextHop, error) {
	var routes []struct {
		hop
		Table  string `json:"table"`
		Metric int    `json:"metric"`
		Hops   []hop  `json:"nexthops"`
	}
	if err := json.Unmarshal([]byte(text), &routes); err != nil {
		return nil, fmt.Errorf("read the routes of the router: %w", err)
	}
	best := -1
	for i, r := range routes {
		if r.Table == table && (best < 0 || r.Metric < routes[best].Metric) {
			best = i
		}
	}
	if best < 0 {
		return nil, nil
	}
	hops := routes[best].Hops
	if len(hops) == 0 {
		hops = []hop{routes[best].hop}
	}
	var selected []NextHop
	for _, h := range hops {
		i := slices.IndexFunc(p.Lines, func(l PlanLine) bool { return l.Interface == h.Device })
		if i >= 0 && !slices.Contains(h.Flags, "linkdown") && !slices.Contains(h.Flags, "dead") {
			selected = append(selected, NextHop{Line: i, Gateway: h.Gateway, Weight: max(1, h.Weight)})
		}
	}
	return selected, nil
}

// Uses tells whether new connections may use line i now.
func (l *Lab) Uses(i int) (bool, error) {
	hops, err := l.Selected()
	return slices.ContainsFunc(hops, func(h NextHop) bool { return h.Line == i }), err
}

// environment returns the environment for programs in the lab: this process's own, without what
// would make them believe that they were the lab.
func environment() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "FTR_") || strings.HasPrefix(v, "RUNTIME_DIRECTORY=") || strings.HasPrefix(v, "STATE_DIRECTORY=")
	})
}
