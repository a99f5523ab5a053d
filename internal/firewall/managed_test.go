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
