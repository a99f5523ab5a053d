package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"

	"ftr/internal/config"
)

// legacyFamilies are the files that name the tables which iptables-legacy has made in a network namespace, and the
// programs that print them, where distributions have them.
var legacyFamilies = []struct {
	family config.Family
	names  string
	save   []string
}{
	{config.IPv4, "/proc/thread-self/net/ip_tables_names", []string{"iptables-legacy-save", "/usr/sbin/iptables-legacy-save", "iptables-save", "/usr/sbin/iptables-save"}},
	{config.IPv6, "/proc/thread-self/net/ip6_tables_names", []string{"ip6tables-legacy-save", "/usr/sbin/ip6tables-legacy-save", "ip6tables-save", "/usr/sbin/ip6tables-save"}},
}

// LegacyRules returns the rules of iptables-legacy as iptables-save(8) prints them, by family; they are not part of
// nf_tables. Looking makes no table and loads no module: where the kernel has no such tables, no program is run.
func (k *Kernel) LegacyRules(ctx context.Context) (map[config.Family]string, error) {
	rules := map[config.Family]string{}
	for _, l := range legacyFamilies {
		var names []byte
		err := k.inside(func() (err error) {
			names, err = os.ReadFile(l.names)
			return err
		})
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(names) == 0 {
			continue
		}
		path := findProgram(l.save)
		switch {
		case err != nil:
		case path == "":
			err = fmt.Errorf("the program %s is not installed (package iptables)", l.save[0])
		default:
			rules[l.family], err = k.run(ctx, "", path)
		}
		if err != nil {
			return rules, fmt.Errorf("list the rules of iptables-legacy: %w", err)
		}
	}
	return rules, nil
}

var nftVersion = regexp.MustCompile(`\bv([0-9]+(?:\.[0-9]+)+)\b`)

// NftVersion returns the version of nft(8), example "1.0.6". The error wraps ErrNoNft if it is not there.
func (k *Kernel) NftVersion(ctx context.Context) (string, error) {
	out, err := k.runNft(ctx, "", "--version")
	if err != nil {
		return "", err
	}
	m := nftVersion.FindStringSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("nft --version is not understood: %s", firstLines(out))
	}
	return m[1], nil
}
