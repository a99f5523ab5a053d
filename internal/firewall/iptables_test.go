package firewall_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/netns"
)

func TestMain(m *testing.M) { os.Exit(netns.Private(m.Run)) }

var update = flag.Bool("update", false, "write the golden files anew")

// variants are the two implementations of iptables, as named in /usr/sbin.
var variants = []string{"nft", "legacy"}

// numbered gives uplinks their numbers as config.Parse does: the original's example with a mask.
func numbered(lan, dmz []string, uplinks ...config.Uplink) *config.Config {
	cfg := &config.Config{LAN: lan, DMZ: dmz, Uplinks: uplinks}
	n := uint32(len(uplinks))
	cfg.Numbers = config.Numbers{
		BaseTable: 1, BasePriority: 20000, BaseMark: 1, Mask: 0xff,
		DefaultTable: 1 + n, DefaultPriority: 20000 + 2*n, SuppressPriority: 19999,
	}
	for i := range cfg.Uplinks {
		u, at := &cfg.Uplinks[i], uint32(i)
		u.Index, u.Weight, u.Grouped = i, max(u.Weight, 1), true
		u.Table, u.Mark, u.AddressPriority, u.MarkPriority = 1+at, 1+at, 20000+at, 20000+n+at
	}
	return cfg
}

func static(iface, address, name string) config.Uplink {
	return config.Uplink{Interface: iface, Name: name, Address: netip.MustParseAddr(address)}
}

func many(n int) *config.Config {
	var uplinks []config.Uplink
	for i := range n {
		uplinks = append(uplinks, static(fmt.Sprintf("eth0.%d", 100+i), fmt.Sprintf("100.64.%d.2", i), fmt.Sprintf("Line %d", i)))
	}
	return numbered([]string{"eth1"}, []string{"eth2"}, uplinks...)
}

func highMarks() *config.Config {
	cfg := numbered([]string{"eth0"}, nil, static("eth1", "203.0.113.2", "A"), static("eth2", "198.51.100.2", "B"))
	cfg.Numbers.BaseMark, cfg.Numbers.Mask = 0xfffffffe, 0xffffffff
	cfg.Uplinks[0].Mark, cfg.Uplinks[1].Mark = 0xfffffffe, 0xffffffff
	return cfg
}

var goldens = map[string]func() *config.Config{
	"mix-dmz": func() *config.Config {
		return numbered([]string{"eth0"}, []string{"eth4"},
			static("eth1", "203.0.113.2", "Fibre"),
			config.Uplink{Interface: "ppp0", Name: "DSL", Type: config.PPP},
			config.Uplink{Interface: "eth3", Name: "Cable", Type: config.DHCP},
			config.Uplink{Interface: "eth5", Name: "eth5"})
	},
	"lans": func() *config.Config {
		return numbered([]string{"br0", "eth0.20", "eth0.30"}, nil,
			static("eth1", "203.0.113.2", "Fibre"), static("eth2", "198.51.100.2", "Radio"))
	},
	"dmzs": func() *config.Config {
		return numbered([]string{"lan"}, []string{"dmz0", "dmz1"}, static("wan", "203.0.113.2", "wan"))
	},
	"uplinks-64": func() *config.Config { return many(64) },
	"names":      func() *config.Config { return numbered([]string{`l"a\n`, "-lan"}, []string{"#dmz"}, odd()...) },
	"marks-high": highMarks,
	"marks-wide": func() *config.Config {
		cfg := many(3)
		cfg.Numbers.BaseMark, cfg.Numbers.Mask = 0x12300, 0x1ffff
		for i := range cfg.Uplinks {
			cfg.Uplinks[i].Mark = 0x12300 + uint32(i)
		}
		return cfg
	},
	"description": func() *config.Config { return numbered([]string{"eth0"}, nil, hostile()...) },
	"no-inside":   func() *config.Config { return numbered(nil, nil, static("eth1", "203.0.113.2", "Fibre")) },
}

// odd are interface names that the kernel allows.
func odd() []config.Uplink {
	var uplinks []config.Uplink
	for i, name := range []string{"wan+", `q"uote`, "a'b", "$(id)", "`id`;", "büro0", "-x", "%s%n", "a,b", "COMMIT", "*nat"} {
		uplinks = append(uplinks, static(name, fmt.Sprintf("100.64.%d.2", i), name))
	}
	return uplinks
}

// hostile are names that try to get out of their comment.
func hostile() []config.Uplink {
	var uplinks []config.Uplink
	for i, name := range []string{
		"line\n-P INPUT ACCEPT\nCOMMIT", "return\r-P INPUT ACCEPT", "separator\u2028\u2029\u0085-A INPUT -j ACCEPT",
		"$(reboot) `reboot` ; reboot #", "\x00\x1b[2J\x07", "bad \xff\xfe bytes", "\u202eright to left",
		strings.Repeat("long ", 4000) + "\n-A INPUT -j ACCEPT", `quote " \ '`, "",
	} {
		uplinks = append(uplinks, static(fmt.Sprintf("eth%d", 1+i), fmt.Sprintf("100.64.%d.2", i), name))
	}
	return uplinks
}

func TestIptablesGolden(t *testing.T) {
	for name, build := range goldens {
		t.Run(name, func(t *testing.T) {
			got := firewall.Iptables(build())
			file := filepath.Join("testdata", name+".rules")
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
				t.Errorf("rules differ from %s (-want +got):\n%s", file, diff)
			}
		})
	}
}

// Both variants take every text, as it is and with every example made a rule.
func TestIptablesAccepted(t *testing.T) {
	for name, build := range goldens {
		text := firewall.Iptables(build())
		examples := strings.Count(text, "\n#-A")
		if len(build().LAN) > 0 && examples < 4*len(build().Uplinks) {
			t.Errorf("%s: %d examples for %d uplinks", name, examples, len(build().Uplinks))
		}
		for _, variant := range variants {
			for kind, rules := range map[string]string{"plain": text, "examples": strings.ReplaceAll(text, "\n#-A", "\n-A")} {
				t.Run(fmt.Sprintf("%s/%s/%s", name, variant, kind), func(t *testing.T) {
					if err := restore(variant, rules, "--test"); err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

// restore gives rules to iptables-restore in the current namespace.
func restore(variant, rules string, args ...string) error {
	return restoreBy("iptables-"+variant, rules, args...)
}

func restoreBy(program, rules string, args ...string) error {
	cmd := exec.Command("/usr/sbin/"+program+"-restore", args...)
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s-restore %v: %w: %s", program, args, err, out)
	}
	return nil
}

// What the kernel holds after loading is what the text says, for names that need quoting too.
func TestIptablesNamesReachTheKernel(t *testing.T) {
	cfg := goldens["names"]()
	for _, variant := range variants {
		t.Run(variant, func(t *testing.T) {
			ns := namespace(t, "names")
			err := ns.Do(func() error { return restore(variant, firewall.Iptables(cfg)) })
			if err != nil {
				t.Fatal(err)
			}
			for _, u := range cfg.Uplinks {
				check := []string{"-t", "mangle", "-C", "ftr-outgoing", "-o", u.Interface, "-j", "CONNMARK",
					"--set-xmark", fmt.Sprintf("%#x/0xff", u.Mark)}
				if err := ns.Run("/usr/sbin/iptables-"+variant, check...); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Whatever a description holds, the lines that are not comments are the same.
func TestIptablesDescriptionsChangeNoRule(t *testing.T) {
	cfg := numbered([]string{"eth0"}, nil, hostile()...)
	got := rulesOf(firewall.Iptables(cfg))
	for i := range cfg.Uplinks {
		cfg.Uplinks[i].Name = "harmless"
	}
	if diff := cmp.Diff(rulesOf(firewall.Iptables(cfg)), got); diff != "" {
		t.Errorf("descriptions changed rules (-want +got):\n%s", diff)
	}
}

// rulesOf returns the lines that are not comments.
func rulesOf(text string) []string {
	var lines []string
	for line := range strings.SplitSeq(text, "\n") {
		if !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

// No mark is ever set, restored or matched without the mask.
func TestIptablesMasksEverywhere(t *testing.T) {
	marks := regexp.MustCompile(`--(set-xmark|mark) \S+`)
	for name, build := range goldens {
		mask := fmt.Sprintf("%#x", build().Numbers.Mask)
		for line := range strings.SplitSeq(firewall.Iptables(build()), "\n") {
			for _, m := range marks.FindAllString(line, -1) {
				if !strings.HasSuffix(m, "/"+mask) {
					t.Errorf("%s: a mark without the mask: %s", name, line)
				}
			}
			if strings.Contains(line, "--restore-mark") && !strings.HasSuffix(line, "--restore-mark --nfmask "+mask+" --ctmask "+mask) {
				t.Errorf("%s: restored without the mask: %s", name, line)
			}
			if strings.Contains(line, "-j MARK") || strings.Contains(line, "--set-mark") {
				t.Errorf("%s: a whole mark is written: %s", name, line)
			}
		}
	}
}
