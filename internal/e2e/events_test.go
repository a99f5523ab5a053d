package e2e_test

import (
	"bufio"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"ftr/internal/firewall"
)

// events collects what the kernel tells of changes to nf_tables on the router, by anyone.
type events struct {
	*bed
	reading sync.WaitGroup
	mu      sync.Mutex
	lines   []string
	marks   int
}

// monitor begins to listen.
func (b *bed) monitor() *events {
	b.t.Helper()
	e := &events{bed: b}
	cmd := exec.CommandContext(b.t.Context(), "nft", "monitor")
	out, err := cmd.StdoutPipe()
	b.must(err)
	b.must(b.Router.Do(cmd.Start))
	e.reading.Go(func() { e.read(out) })
	b.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		e.reading.Wait()
		_ = cmd.Wait() // it was killed
	})
	e.all()
	return e
}

func (e *events) read(out io.Reader) {
	for s := bufio.NewScanner(out); s.Scan(); {
		e.mu.Lock()
		e.lines = append(e.lines, s.Text())
		e.mu.Unlock()
	}
}

// all returns what was told since the last call. That it is all is known from a change made for it: once
// that is told, so is what was before.
func (e *events) all() (told string) {
	e.t.Helper()
	e.wait("what nft monitor tells", soon, func() bool {
		e.marks++
		mark := fmt.Sprintf("table ip heard%d", e.marks)
		e.must(e.Router.Run("nft", "add "+mark+"; delete "+mark))
		e.mu.Lock()
		defer e.mu.Unlock()
		if !slices.Contains(e.lines, "delete "+mark) {
			return false // it has only just begun to listen
		}
		told = strings.Join(slices.DeleteFunc(e.lines, func(line string) bool {
			return strings.Contains(line, "table ip heard") || strings.HasPrefix(line, "# new generation") ||
				strings.Contains(line, firewall.HoldTables) // which is made anew now and then, whatever happens
		}), "\n")
		e.lines = nil
		return true
	})
	return told
}
