package daemon

import (
	"context"
	"time"

	"ftr/internal/config"
	"ftr/internal/health"
	"ftr/internal/routing"
)

// gatewayTimeout is how long the kernel asks for a neighbour that it knows, and then for anybody: three times
// each, a second apart (arp(7)).
const gatewayTimeout = 6 * time.Second

// askGateways has the kernel ask for the gateway of each path that fell silent, once, beside the loop. While the path
// was well its probes told the kernel that the gateway is reached, and it would believe so for up to 45 s more:
// one that was replaced, and has the same address, is found so.
func (l *loop) askGateways(ctx context.Context) {
	for i, p := range l.paths {
		line := place{p.Interface, p.Family}
		if l.monitors[i].Report(time.Now()).State != health.Down {
			delete(l.dark, line)
			continue
		}
		if l.dark[line] || !p.Usable() || !p.Gateway.IsValid() {
			continue
		}
		l.dark[line] = true
		name := l.Config.Uplinks[p.Uplink].Name + routing.Suffix(p.Family)
		l.probes.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, gatewayTimeout)
			defer cancel()
			target := config.Target{Method: config.Gateway, Address: p.Gateway}
			rtt, err := l.Prober.Probe(ctx, p.Interface, p.Source, target, false)
			l.Logger.Debug(name + ": asked because the line is down: " + outcome(target, rtt, err))
		})
	}
}
