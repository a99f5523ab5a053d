package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/firewall"
)

// scratchTable is where nft(8) is asked for its own words for what is wanted. It is dormant, and gone
// after a moment.
const scratchTable = "ftr_scratch"

// SetFirewall makes the table of a managed firewall what is wanted, by the smallest change and in one
// transaction, and returns what it was otherwise. Objects that are as wanted go on with their counters, and
// what traffic has added to sets stays. Nothing else in the ruleset is touched. Where it fails midway, what it found
// is returned too.
//
// The kernel itself is asked what is there, so it may be called at any time; where nothing is to be done,
// that costs one listing. The error wraps ErrNoNft if nft(8) is not there.
func (k *Kernel) SetFirewall(ctx context.Context, want firewall.Table) (firewall.Drift, error) {
	drift, err := k.setFirewall(ctx, want)
	if err != nil {
		return drift, fmt.Errorf("set up the firewall table: %w", err)
	}
	return drift, nil
}

func (k *Kernel) setFirewall(ctx context.Context, want firewall.Table) (firewall.Drift, error) {
	there, err := k.HasFirewall()
	if err != nil {
		return firewall.Drift{}, err
	}
	if !there {
		// To ask for nft's own words takes as long again, in which nothing would be translated.
		if err := k.nft(ctx, want.String()); err != nil {
			return firewall.Drift{Missing: true}, err // it may be there all the same
		}
	}
	drift, err := k.mendFirewall(ctx, want)
	drift.Missing = drift.Missing || !there
	return drift, err
}

// mendFirewall changes in the table what is not as wanted.
func (k *Kernel) mendFirewall(ctx context.Context, want firewall.Table) (firewall.Drift, error) {
	normal, err := k.normal(ctx, want)
	if err != nil {
		return firewall.Drift{}, err
	}
	have, drift, err := k.firewallDrift(ctx, normal, want)
	if err != nil || drift.None() {
		return drift, err
	}
	// What somebody else did to the table may stand in the way of the smallest change: then all is made anew.
	for _, text := range []string{firewall.Update(have, want), want.String()} {
		if err = k.nft(ctx, text); err != nil {
			continue
		}
		_, left, err := k.firewallDrift(ctx, normal, want)
		if err != nil || left.None() {
			return drift, err
		}
	}
	if err == nil {
		err = errors.New("another program changes it at the same time")
	}
	return drift, err
}

// firewallDrift compares the table that is there with what is wanted.
func (k *Kernel) firewallDrift(ctx context.Context, normal firewall.Listing, want firewall.Table) (firewall.Table, firewall.Drift, error) {
	there, err := k.hasTable(firewall.ManagedTable)
	if err != nil {
		return firewall.Table{}, firewall.Drift{}, err
	}
	missing := firewall.Drift{Missing: true}
	if !there {
		return firewall.Table{}, missing, nil
	}
	live, err := k.listTable(ctx, firewall.ManagedTable)
	if err != nil {
		if there, again := k.hasTable(firewall.ManagedTable); again == nil && !there {
			return firewall.Table{}, missing, nil // it went between the two questions
		}
		return firewall.Table{}, firewall.Drift{}, err
	}
	have, drift := want.Have(normal, live)
	return have, drift, nil
}

// normal returns what is wanted as nft(8) lists it. The last answer is kept.
func (k *Kernel) normal(ctx context.Context, want firewall.Table) (firewall.Listing, error) {
	k.normalMu.Lock()
	defer k.normalMu.Unlock()
	if k.normalOf.Equal(want) && len(want.Objects) > 0 {
		return k.normalForm, nil
	}
	if err := k.nft(ctx, want.Dormant(scratchTable)); err != nil {
		return firewall.Listing{}, err
	}
	listing, err := k.listTable(ctx, scratchTable)
	// It goes even if ctx has just ended.
	if err := errors.Join(err, k.nft(context.WithoutCancel(ctx), firewall.Removal(scratchTable))); err != nil {
		return firewall.Listing{}, err
	}
	k.normalOf, k.normalForm = want, listing.Awake()
	filled := map[string]bool{}
	for _, o := range want.Objects {
		filled[o.Name] = o.Dynamic
	}
	k.filled.Store(&filled)
	return k.normalForm, nil
}

// listTable asks nft(8) for a table of family inet.
func (k *Kernel) listTable(ctx context.Context, name string) (firewall.Listing, error) {
	out, err := k.runNft(ctx, "", "-s", "-n", "list", "table", "inet", name)
	if err != nil {
		return firewall.Listing{}, err
	}
	return firewall.ParseListing(out), nil
}

// RemoveFirewall removes the table of a managed firewall, and tells whether there was one. Where there is
// none, nft(8) need not be there either.
func (k *Kernel) RemoveFirewall(ctx context.Context) (removed bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("remove the firewall table: %w", err)
		}
	}()
	if err := k.letGo(); err != nil {
		return false, err
	}
	for _, name := range []string{scratchTable, firewall.ManagedTable} {
		there, err := k.hasTable(name)
		if errors.Is(err, ErrNoNetfilter) {
			return false, nil
		}
		if err == nil && there {
			err = k.nft(ctx, firewall.Removal(name))
			removed = removed || name == firewall.ManagedTable
		}
		if err != nil {
			return false, err
		}
	}
	return removed, nil
}

// HasFirewall tells whether there is a table of a managed firewall, whoever made it.
func (k *Kernel) HasFirewall() (bool, error) {
	there, err := k.hasTable(firewall.ManagedTable)
	if errors.Is(err, ErrNoNetfilter) {
		return false, nil
	}
	return there, err
}

// hasTable tells whether there is an nft table of family inet.
func (k *Kernel) hasTable(name string) (bool, error) {
	tables, err := k.tables()
	return slices.Contains(tables, table{unix.NFPROTO_INET, name}), err
}

// table is an nft table by its family (NFPROTO_) and name.
type table struct {
	family byte
	name   string
}

// tables returns all nft tables.
func (k *Kernel) tables() (all []table, err error) {
	messages, err := k.netfilterDump(nftGetTable, make([]byte, nfgenmsg))
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		var t table
		err := attributes(m.Data, nfgenmsg, func(d *netlink.AttributeDecoder) {
			if d.Type() == nftaTable {
				t.name = d.String()
			}
		})
		if err != nil {
			return nil, fmt.Errorf("decode a table: %w", err)
		}
		t.family = m.Data[0]
		all = append(all, t)
	}
	return all, nil
}

// Ruleset returns all of nf_tables as nft(8) lists it, iptables-nft's tables too, without the elements of
// sets. The error wraps ErrNoNft if nft(8) is not there.
func (k *Kernel) Ruleset(ctx context.Context) (string, error) {
	out, err := k.runNft(ctx, "", "-s", "-n", "-t", "list", "ruleset")
	if err != nil {
		return "", fmt.Errorf("list the firewall rules of this host: %w", err)
	}
	return out, nil
}

// nft gives text to nft(8). The kernel takes all of it or nothing.
func (k *Kernel) nft(ctx context.Context, text string) error {
	_, err := k.runNft(ctx, text, "-f", "-")
	return err
}

// runNft runs nft(8) in the namespace of k and returns what it prints.
func (k *Kernel) runNft(ctx context.Context, input string, args ...string) (string, error) {
	path := findProgram(k.nftPaths)
	if path == "" {
		return "", ErrNoNft
	}
	return k.run(ctx, input, path, args...)
}
