package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"log"
	"mime/quotedprintable"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	gosmtp "github.com/emersion/go-smtp"
)

// post is a mail server on the internet host.
type post struct {
	mu    sync.Mutex
	mails []string // subject, and body after a line
}

// postOffice starts a mail server, reachable only through the lines.
func (b *bed) postOffice(address string) *post {
	b.t.Helper()
	p := &post{}
	server := gosmtp.NewServer(gosmtp.BackendFunc(func(*gosmtp.Conn) (gosmtp.Session, error) { return &delivery{p}, nil }))
	server.Domain = "mail.test"
	server.ErrorLog = log.New(io.Discard, "", 0)
	listener, err := b.Internet.Listen(b.t.Context(), "tcp4", address)
	b.must(err)
	var serving sync.WaitGroup
	serving.Go(func() { _ = server.Serve(listener) })
	b.t.Cleanup(func() {
		server.Close()
		serving.Wait()
	})
	return p
}

func (p *post) got() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.mails...)
}

// delivery is one session.
type delivery struct{ post *post }

func (d *delivery) Mail(string, *gosmtp.MailOptions) error { return nil }
func (d *delivery) Rcpt(string, *gosmtp.RcptOptions) error { return nil }
func (d *delivery) Reset()                                 {}
func (d *delivery) Logout() error                          { return nil }

func (d *delivery) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(quotedprintable.NewReader(message.Body))
	if err != nil {
		return err
	}
	d.post.mu.Lock()
	defer d.post.mu.Unlock()
	d.post.mails = append(d.post.mails, message.Header.Get("Subject")+"\n"+strings.ReplaceAll(string(body), "\r\n", "\n"))
	return nil
}

// With all lines cut, what happened waits on disk; it arrives when one line is back, in order; and a
// line that flaps ten times makes one mail more, not twenty.
func TestMail(t *testing.T) {
	t.Parallel()
	b := newBed(t, three())
	address := b.Plan.Servers[0].String()
	office := b.postOffice(address + ":25")
	b.start(edit(t, b.Config(), "send: false", "send: true", "address: smtp.example.com", "address: "+address,
		"    authentication: :login\n", "", "    user_name: router\n", "", "    password: secret\n", "",
		"  interval: 1\n", "  interval: 1\n  max_hold_down: 1\n  flap_memory: 1\n")) // the flaps are to be told, not damped
	b.uses(10*time.Second, 0, 1, 2)
	b.pause(time.Second) // the first round has judged the lines

	b.must(b.CutCarrier(0))
	b.uses(10*time.Second, 1, 2)
	b.wait("the mail of the first change", 10*time.Second, func() bool { return len(office.got()) == 1 })
	if first := office.got()[0]; !strings.HasPrefix(first, "Uplinks status change\n") ||
		!strings.Contains(first, "Uplink Provider 1 (wan1): ip 100.64.1.2, gateway 100.64.1.1, up --> down, routing --> standby (no carrier)") ||
		!strings.Contains(first, "Uplink Provider 2 (wan2): ip 100.64.2.2, gateway 100.64.2.1, up, routing") {
		t.Errorf("the mail of the first change:\n%s", first)
	}

	since := time.Now()
	b.must(b.Cut(1))
	b.says("Uplink Provider 2 (wan2): ip 100.64.2.2, gateway 100.64.2.1, up --> down", since, 20*time.Second)
	b.must(b.Cut(2))
	b.says("No uplink is well", since, 20*time.Second)
	b.wait("two messages in the queue on disk", 10*time.Second, func() bool { return strings.Count(b.queue(), "Uplinks status change") >= 2 })
	// What waits survives the daemon.
	b.must(b.KillDaemon())
	if len(office.got()) != 1 {
		t.Fatalf("%d mails have arrived over cut lines", len(office.got())-1)
	}
	b.must(b.StartDaemon(t.Context()))

	b.must(b.Restore(1))
	b.uses(20*time.Second, 1)
	for range 10 {
		b.flap(2)
	}
	b.must(b.Restore(0))
	b.must(b.Restore(2))
	b.uses(20*time.Second, 0, 1, 2)
	b.wait("all mails", 70*time.Second, func() bool { return b.queue() == "" && len(office.got()) > 1 })

	mails := office.got()
	if len(mails) > 4 {
		t.Errorf("%d mails, want at most 4:\n%s", len(mails), strings.Join(mails, "\n---\n"))
	}
	logged := changes(b.Log().Tail(1000))
	if len(logged) < 24 {
		t.Errorf("%d changes were logged, want at least 24: three lines cut and restored, ten flaps", len(logged))
	}
	if diff := cmp.Diff(logged, changes(strings.Join(mails, "\n"))); diff != "" {
		t.Errorf("changes in the log and in the mails (-log +mails):\n%s", diff)
	}
}

// flap restores a line, waits until it is up, and unplugs it again.
func (b *bed) flap(line int) {
	b.t.Helper()
	b.must(b.Restore(line))
	b.wait("the line is up", 15*time.Second, func() bool { ok, err := b.Uses(line); b.must(err); return ok })
	b.says(fmt.Sprintf("Uplink Provider %d", line+1), time.Now().Add(-5*time.Second), soon)
	b.must(b.CutCarrier(line))
	b.wait("the line is down", 15*time.Second, func() bool { ok, err := b.Uses(line); b.must(err); return !ok })
}

// queue returns what waits on disk.
func (b *bed) queue() string {
	b.t.Helper()
	files, err := filepath.Glob(filepath.Join(b.Dir, "state", "mail", "*"))
	b.must(err)
	var all strings.Builder
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil && !os.IsNotExist(err) {
			b.t.Fatal(err)
		}
		all.Write(data)
	}
	return all.String()
}

// changes returns the lines of a text that tell a change.
func changes(text string) []string {
	var list []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, " --> ") {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return list
}
