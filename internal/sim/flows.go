package sim

import (
	"context"
	"fmt"
	"maps"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/health"
	"ftr/internal/routing"
)

// flow is a kind of tracked connection.
type flow struct {
	family config.Family
	mark   uint32
}

// AddFlows lets the kernel track so many more connections with a mark.
func (k *Kernel) AddFlows(f config.Family, mark uint32, count int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.flows[flow{f, mark}] += count
}

// Flows returns how many connections with a mark are tracked.
func (k *Kernel) Flows(f config.Family, mark uint32) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.flows[flow{f, mark}]
}

// Release forgets the connections with mark under mask, as kernel.Kernel does.
func (k *Kernel) Release(ctx context.Context, family config.Family, mark, mask uint32) (released int, err error) {
	if mark == 0 || mask == 0 || mark&^mask != 0 {
		return 0, fmt.Errorf("release %s connections: mark %#x/%#x would select connections that are not an uplink's", family, mark, mask)
	}
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("release %s connections with mark %#x/%#x: %w", family, mark, mask, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for f, count := range k.flows {
		if f.family == family && f.mark&mask == mark {
			released += count
			delete(k.flows, f)
		}
	}
	return released, nil
}

// SetEvidence makes the tables that count traffic, as kernel.Kernel does.
func (k *Kernel) SetEvidence(ctx context.Context, families []config.Family, interfaces []string) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("set up the tables that count traffic: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.evidence = map[config.Family]map[string]health.Packets{}
	for _, f := range families {
		k.evidence[f] = map[string]health.Packets{}
		for _, name := range interfaces {
			k.evidence[f][name] = health.Packets{}
		}
	}
	k.tell(routing.Hint{Ruleset: true})
	return nil
}

// RemoveEvidence removes the tables that count traffic, as kernel.Kernel does.
func (k *Kernel) RemoveEvidence(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("remove the tables that count traffic: %w", err)
	}
	k.dropEvidence()
	return nil
}

// FlushRuleset does what "nft flush ruleset" does: the tables that count traffic and that of a managed
// firewall are gone.
func (k *Kernel) FlushRuleset() {
	k.ChangeFirewall(func(*firewall.Table) {}, true)
	k.dropEvidence()
}

func (k *Kernel) dropEvidence() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.evidence != nil {
		k.evidence = nil
		k.tell(routing.Hint{Ruleset: true})
	}
}

// Count adds packets to those of an interface, if its traffic is counted.
func (k *Kernel) Count(f config.Family, name string, p health.Packets) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, counts := range []map[config.Family]map[string]health.Packets{k.evidence, k.counted} {
		if sum, ok := counts[f][name]; ok {
			counts[f][name] = health.Packets{
				Sent: sum.Sent + p.Sent, Replied: sum.Replied + p.Replied,
				Opened: sum.Opened + p.Opened, Accepted: sum.Accepted + p.Accepted,
			}
		}
	}
}

// recount has the table of a managed firewall count what it has counters for. Those that it had go on.
func (k *Kernel) recount() {
	before := k.counted
	k.counted = map[config.Family]map[string]health.Packets{}
	for _, o := range k.firewall.Objects {
		c, ok := firewall.ParseCount(o.Name)
		if o.Kind != firewall.Counter || !ok {
			continue
		}
		if k.counted[c.Family] == nil {
			k.counted[c.Family] = map[string]health.Packets{}
		}
		k.counted[c.Family][c.Interface] = before[c.Family][c.Interface]
	}
}

// Counters returns what is counted, as kernel.Kernel does.
func (k *Kernel) Counters(ctx context.Context, table string, families []config.Family) (map[config.Family]map[string]health.Packets, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read traffic counters: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	of := k.evidence
	if table == firewall.ManagedTable {
		of = k.counted
	}
	counts := map[config.Family]map[string]health.Packets{}
	for f, lines := range of {
		if len(lines) > 0 {
			counts[f] = maps.Clone(lines)
		}
	}
	for _, f := range families {
		if counts[f] == nil {
			return nil, fmt.Errorf("read traffic counters of %s: %w", f, firewall.ErrNoEvidence)
		}
	}
	return counts, nil
}
