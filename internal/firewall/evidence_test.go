package firewall_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/netns"
)

var bothFamilies = []config.Family{config.IPv4, config.IPv6}

// oddNames are all kinds of names that config lets pass.
var oddNames = []string{"eth0", "eth0.100", "3g", "=x", ".a", "_", "a=b-c.d_e", "fifteen-letters", "meta", "opening-eth0", "ip6-a"}

var evidenceGoldens = map[string]string{
	"evidence":          firewall.Evidence([]config.Family{config.IPv4}, []string{"eth1", "eth2.100", "ppp0"}),
	"evidence-families": firewall.Evidence(bothFamilies, oddNames),
	"evidence-none":     firewall.Evidence([]config.Family{config.IPv4}, nil),
}

func TestEvidenceGolden(t *testing.T) {
	for name, got := range evidenceGoldens {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name+".nft")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("text differs from %s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// nft gives text to nft(8) in a namespace.
func nft(ns *netns.NS, text string, args ...string) error {
	cmd := exec.Command("nft", append(args, "-f", "-")...)
	cmd.Stdin = strings.NewReader(text)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := ns.Start(cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("nft: %w: %.1000s", err, said.String())
	}
	return nil
}

// Whatever the names: it is accepted, again and again, and removed without a trace, beside a table of
// somebody else's that stays as it is.
func TestEvidenceAccepted(t *testing.T) {
	ns := namespace(t, "evidence")
	const others = "table inet filter {\n\tcounter opening-eth0 {\n\t\tpackets 1 bytes 2\n\t}\n}"
	if err := nft(ns, others); err != nil {
		t.Fatal(err)
	}
	var many []string
	for i := range config.MaxUplinks {
		many = append(many, fmt.Sprintf("eth0.%d", i))
	}
	for _, interfaces := range [][]string{nil, {"eth1"}, oddNames, many} {
		text := firewall.Evidence(bothFamilies, interfaces)
		for _, args := range [][]string{{"-c"}, nil, nil} {
			if err := nft(ns, text, args...); err != nil {
				t.Fatalf("%d interfaces, nft %v: %v", len(interfaces), args, err)
			}
		}
		listed, err := ns.Output("nft", "list", "counters", "table", "ip6", firewall.EvidenceTable)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(listed, "\tcounter "); got != 4*len(interfaces) {
			t.Errorf("%d counters for %d interfaces:\n%s", got, len(interfaces), listed)
		}
	}
	for range 2 {
		for _, f := range bothFamilies {
			if err := nft(ns, firewall.EvidenceRemoval(f)); err != nil {
				t.Fatal(err)
			}
		}
	}
	left, err := ns.Output("nft", "list", "ruleset")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(others, strings.TrimSpace(left)); diff != "" {
		t.Errorf("the ruleset of others (-before +after):\n%s", diff)
	}
}

// Every counter's name is read back as the tally and the interface that it was made for.
func TestParseCount(t *testing.T) {
	found := map[firewall.Count]int{}
	for line := range strings.SplitSeq(evidenceGoldens["evidence-families"], "\n") {
		fields := strings.Fields(line)
		if len(fields) == 0 || fields[0] != "counter" {
			continue
		}
		c, ok := firewall.ParseCount(fields[1])
		if !ok {
			t.Errorf("not understood: %s", fields[1])
		}
		found[c]++
	}
	want := map[firewall.Count]int{}
	for _, tally := range []firewall.Tally{firewall.Opening, firewall.Sending, firewall.Accepting, firewall.Replying} {
		for _, name := range oddNames {
			for _, f := range bothFamilies {
				want[firewall.Count{Family: f, Tally: tally, Interface: name}] = 1
			}
		}
	}
	if diff := cmp.Diff(want, found); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
	for _, name := range []string{"", "-", "opening", "opening-", "opening-eth0", "opening-ip-", "opening-inet-eth0", "others-ip-eth0", "Opening-ip-eth0"} {
		if c, ok := firewall.ParseCount(name); ok {
			t.Errorf("%q was read as %+v", name, c)
		}
	}
}
