package firewall_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/netns"
)

// managed gives a configuration what config.Parse derives for a managed firewall.
func managed(cfg *config.Config) *config.Config {
	cfg.Firewall, cfg.Balance = config.FirewallManaged, config.BalanceRoundRobin
	cfg.Numbers.SteerMask = 0xff003f00
	cfg.Numbers.DefaultPriority++
	cfg.Numbers.SteerPriority = cfg.Numbers.DefaultPriority - 1
	for i := range cfg.Uplinks {
		u := &cfg.Uplinks[i]
		u.AddressPriority, u.MarkPriority = u.MarkPriority, u.AddressPriority
	}
	cfg.Steers = nil
	for i, u := range cfg.Uplinks {
		position := uint32(i) + 1
		cfg.Steers = append(cfg.Steers, config.Steer{
			Uplink: u.Index, Mark: position&0x3f<<8 | position>>6<<24, Table: config.FirstSteerTable + uint32(i),
		})
	}
	return cfg
}

// turns deals to all uplinks by their weights.
func turns(cfg *config.Config) (all []firewall.Turn) {
	for _, u := range cfg.Uplinks {
		for _, f := range u.Families() {
			all = append(all, firewall.Turn{Family: f, Uplink: u.Index, Weight: u.Weight})
		}
	}
	return all
}

// loadNft gives text to nft in a network namespace.
func loadNft(ns *netns.NS, text string) error {
	return ns.Do(func() error {
		cmd := exec.Command("nft", "-f", "-")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s\n%s", err, out, text)
		}
		return nil
	})
}

// listing is the table as nft shows it, without what changes with traffic.
func listing(t *testing.T, ns *netns.NS, table string) string {
	t.Helper()
	out, err := ns.Output("nft", "-s", "-n", "list", "table", "inet", table)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(out, "table inet "+table+" ", "table inet X ", 1)
}

func clamped(cfg *config.Config) *config.Config {
	cfg.Uplinks[2].ClampMSS = true
	return cfg
}

// sixConfig has lines with IPv6 of each kind, and one without.
func sixConfig() *config.Config {
	six := func(name string, i config.Inet6) config.Uplink {
		i.On = true
		return config.Uplink{Interface: name, Name: name, Type: config.DHCP, Inet6: i}
	}
	prefix := netip.MustParsePrefix("2001:db8:1200::/48")
	return numbered([]string{"lan0"}, nil,
		six("wan0", config.Inet6{}),
		six("wan1", config.Inet6{Address: netip.MustParseAddr("2001:db8:1::2")}),
		six("wan2", config.Inet6{NAT: config.TranslatePrefix, Prefix: prefix}),
		six("wan3", config.Inet6{NAT: config.TranslatePrefix, PrefixFile: "/run/pd"}),
		six("wan4", config.Inet6{NAT: config.KeepAddress, Prefix: prefix}),
		config.Uplink{Interface: "wan5", Name: "wan5", Type: config.DHCP})
}

// bothConfig has lines that all have both families.
func bothConfig() *config.Config {
	cfg := sixConfig()
	return numbered(cfg.LAN, nil, cfg.Uplinks[0], cfg.Uplinks[1])
}

// The texts are as the golden files have them, and the real nft and kernel accept them.
func TestManagedText(t *testing.T) {
	for name, cfg := range map[string]*config.Config{
		"one":   managed(numbered([]string{"lan0"}, nil, static("wan0", "100.64.0.2", `the "one"`))),
		"three": managed(clamped(bedConfig())),
		"marks": managed(highMarks()),
		"six":   managed(sixConfig()),
		"both":  managed(bothConfig()),
		"250":   managed(many(250)),
	} {
		t.Run(name, func(t *testing.T) {
			text := firewall.Managed(cfg, turns(cfg)).String()
			if name != "250" {
				golden(t, filepath.Join("testdata", "managed-"+name+".nft"), text)
			}
			ns := namespace(t, "load")
			for range 2 { // made, and replaced
				if err := loadNft(ns, text); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func golden(t *testing.T, file, text string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// What the kernel lists of the dormant table is what it lists of the live one, whatever it was before.
func TestManagedUpdate(t *testing.T) {
	base := managed(bedConfig())
	other := managed(clamped(bedConfig()))
	other.Uplinks[1].Address, other.Uplinks[1].Type = netip.MustParseAddr("203.0.113.7"), config.Static
	tables := map[string]firewall.Table{
		"none":    {},
		"all":     firewall.Managed(base, turns(base)),
		"two":     firewall.Managed(base, turns(base)[:2]),
		"no turn": firewall.Managed(base, nil),
		"other":   firewall.Managed(other, turns(other)),
		"fewer":   firewall.Managed(managed(many(2)), turns(managed(many(2)))),
	}
	ns := namespace(t, "update")
	for from, have := range tables {
		for to, want := range tables {
			if err := loadNft(ns, have.String()); err != nil {
				t.Fatal(err)
			}
			update := firewall.Update(have, want)
			if (update == "") != (from == to) {
				t.Errorf("%s to %s: %q", from, to, update)
			}
			if err := loadNft(ns, update); err != nil {
				t.Fatalf("%s to %s: %v", from, to, err)
			}
			if to == "none" {
				continue
			}
			if err := loadNft(ns, want.Dormant("ftr_scratch")); err != nil {
				t.Fatal(err)
			}
			dormant := strings.Replace(listing(t, ns, "ftr_scratch"), "\tflags dormant\n", "", 1)
			if diff := cmp.Diff(sorted(dormant), sorted(listing(t, ns, "ftr"))); diff != "" {
				t.Errorf("%s to %s (-want +got):\n%s", from, to, diff)
			}
			if err := loadNft(ns, firewall.Removal("ftr_scratch")); err != nil {
				t.Fatal(err)
			}
		}
	}
	if update := firewall.Update(tables["all"], tables["two"]); strings.Contains(update, "leave") || strings.Contains(update, "line") {
		t.Errorf("another deal touches more than the deal:\n%s", update)
	}
}

// sorted brings the objects of a listing into an order: nft lists them in that of their making.
func sorted(listing string) []string {
	objects := strings.Split(listing, "\n\t}\n")
	for i := range objects {
		objects[i] = strings.TrimPrefix(strings.Trim(objects[i], "\n}"), "table inet X {")
		objects[i] = strings.Trim(objects[i], "\n")
	}
	slices.Sort(objects)
	return objects
}

// No name that nft takes for one of its own words passes as the name of a set: the whole table would be refused.
func TestSetNames(t *testing.T) {
	candidates, err := os.ReadFile(filepath.Join("testdata", "nft-words"))
	if err != nil {
		t.Fatal(err)
	}
	ns := namespace(t, "words")
	refused := func(words []string) bool {
		var b strings.Builder
		b.WriteString("table inet ftr {\n")
		for _, w := range words {
			b.WriteString("\tset " + w + " {\n\t\ttype ipv4_addr; flags interval;\n\t}\n")
		}
		b.WriteString("\tchain c {\n")
		for _, w := range words {
			b.WriteString("\t\tip saddr @" + w + " accept\n")
		}
		b.WriteString("\t}\n}\n")
		return nft(ns, b.String(), "-c") != nil
	}
	accepts := func(word string) bool {
		cfg, _ := config.Parse("test.conf", []byte("uplinks: [{interface: eth1, type: dhcp, priority_group: 1}]\ndownlinks: {lan: eth0}\ntests: {ips: [198.18.0.1]}\nfirewall: managed\nsets: [{name: "+word+", external: yes}]\n"))
		return cfg != nil
	}
	var bad []string
	var search func(words []string)
	search = func(words []string) {
		switch {
		case !refused(words):
		case len(words) == 1:
			bad = append(bad, words[0])
		default:
			search(words[:len(words)/2])
			search(words[len(words)/2:])
		}
	}
	all := strings.Fields(string(candidates))
	for part := range slices.Chunk(all, 16) {
		search(part)
	}
	if len(bad) < 100 {
		t.Errorf("nft refuses only %v", bad)
	}
	for _, word := range bad {
		if accepts(word) {
			t.Errorf("%s is accepted as the name of a set, and nft refuses it", word)
		}
	}
	if !accepts("video") {
		t.Error("no name is accepted")
	}
}

// A set that becomes another kind of thing is made anew alone, with the rules that name it: what others have put
// into other sets stays.
func TestManagedSetChanges(t *testing.T) {
	of := func(extra string) firewall.Table {
		cfg, problems := config.Parse("test.conf", []byte(`uplinks: [{interface: eth1, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, priority_group: 1}, {interface: eth2, type: static, ip: 198.51.100.2, gateway: 198.51.100.1, priority_group: 1}]
downlinks: {lan: eth0}
tests: {ips: [198.18.0.1]}
firewall: managed
`+extra))
		if cfg == nil {
			t.Fatal(problems)
		}
		return firewall.Managed(cfg, turns(cfg))
	}
	const policies = `
policies:
  - {name: a, destination: "@video", uplinks: eth2}
  - {name: b, destination: "@other", uplinks: [eth1, eth2], sticky: source, sticky_timeout: %s}
`
	before := of("sets: [{name: video, external: yes}, {name: other, prefixes: [203.0.113.0/24]}]" + fmt.Sprintf(policies, "1h"))
	ns := namespace(t, "sets")
	if err := loadNft(ns, before.String()); err != nil {
		t.Fatal(err)
	}
	if err := loadNft(ns, "add element inet ftr video { 203.0.113.55 }\n"); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what, extra, video string
	}{
		{"another time-out", "sets: [{name: video, external: yes}, {name: other, prefixes: [203.0.113.0/24]}]" + fmt.Sprintf(policies, "2h"), "203.0.113.55"},
		{"another family of another set", "sets: [{name: video, external: yes}, {name: other, family: ipv6, prefixes: [\"2001:db8::/32\"]}]" + fmt.Sprintf(policies, "2h"), "203.0.113.55"},
		{"another family", "sets: [{name: video, external: yes, family: ipv6}, {name: other, family: ipv6, prefixes: [\"2001:db8::/32\"]}]" + fmt.Sprintf(policies, "2h"), ""},
	} {
		want := of(step.extra)
		if err := loadNft(ns, want.Dormant("scratch")); err != nil {
			t.Fatal(err)
		}
		normal := firewall.ParseListing(listing(t, ns, "scratch")).Awake()
		if err := loadNft(ns, firewall.Removal("scratch")); err != nil {
			t.Fatal(err)
		}
		have, drift := want.Have(normal, firewall.ParseListing(listing(t, ns, firewall.ManagedTable)))
		if drift.None() {
			t.Errorf("%s: no drift", step.what)
		}
		for _, text := range []string{firewall.Update(before, want), firewall.Update(have, want)} {
			if strings.Contains(text, "delete table") {
				t.Errorf("%s: the table is made anew:\n%s", step.what, text)
			}
		}
		if err := loadNft(ns, firewall.Update(have, want)); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		live := listing(t, ns, firewall.ManagedTable)
		if _, drift := want.Have(normal, firewall.ParseListing(live)); !drift.None() {
			t.Errorf("%s: left otherwise: %s", step.what, drift)
		}
		if step.video != "" && !strings.Contains(live, "elements = { "+step.video+" }") {
			t.Errorf("%s: what others put into a set is lost:\n%s", step.what, live)
		}
		before = want
	}
}

// Hosts inside reach a forward by the lines' own addresses of its family, where the file has them, and by no other
// address of the router.
func TestHairpinAddresses(t *testing.T) {
	const text = `uplinks:
- {interface: eth1, type: static, ip: 192.0.2.2, gateway: 192.0.2.1, priority_group: 1, ipv6: {ip: "2001:db8:1::2", gateway: "2001:db8:1::1"}}
- {interface: eth2, type: static, ip: 198.51.100.2, gateway: 198.51.100.1, priority_group: 1}
- {interface: eth3, type: static, ip: 203.0.113.2, gateway: 203.0.113.1, priority_group: 1, ipv6: %s}
downlinks: {lan: eth0}
tests: {ips: [198.18.0.1, "2001:db8:9::1"]}
firewall: managed
forwards: [{name: six, port: 80, to: "fd00::10"}, {name: four, port: 80, to: 192.168.1.10}]
`
	for six, want := range map[string]string{
		`{ip: "2001:db8:3::2", gateway: "2001:db8:3::1"}`: `iifname "eth0" ip6 daddr { 2001:db8:1::2, 2001:db8:3::2 } meta nfproto ipv6`,
		`auto`: `iifname "eth0" fib daddr type local fib daddr . iif type != local meta nfproto ipv6`,
	} {
		cfg, problems := config.Parse("test.conf", fmt.Appendf(nil, text, six))
		if cfg == nil {
			t.Fatal(problems)
		}
		got := firewall.Managed(cfg, turns(cfg)).String()
		for _, rule := range []string{want, `iifname "eth0" ip daddr { 192.0.2.2, 198.51.100.2, 203.0.113.2 } meta nfproto ipv4`} {
			if !strings.Contains(got, rule) {
				t.Errorf("ipv6: %s: no rule %s in\n%s", six, rule, got)
			}
		}
	}
}
