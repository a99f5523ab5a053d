package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/kernel"
	"ftr/internal/routing"
)

// firewallCodes begins the codes of warnings about the firewall of this host.
const firewallCodes = "firewall-"

// inspectFirewall holds the configuration against the firewall rules of this host. Who may not read them
// is told nothing about them.
func inspectFirewall(ctx context.Context, cfg *config.Config) []routing.Warning {
	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		return nil // whoever observes says so
	}
	defer k.Close()
	if cfg.Firewall != config.FirewallManaged {
		if there, err := k.HasFirewall(); err != nil || !there {
			return nil
		}
		return []routing.Warning{{Code: firewallCodes + "left", Subject: "nft table inet " + firewall.ManagedTable,
			Text: "is left of a managed firewall, and the firewall is manual", Cure: "monitor removes it; load your own rules before"}}
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	ruleset, err := k.Ruleset(ctx)
	if errors.Is(err, kernel.ErrNoNft) {
		return []routing.Warning{{Code: firewallCodes + "no-nft", Subject: "firewall: managed", Error: true,
			Text: "the program nft is not installed", Cure: "install the package nftables, or set firewall: manual and load the rules of generate_iptables"}}
	}
	if err != nil {
		return nil
	}
	var ws []routing.Warning
	for _, c := range firewall.Conflicts(cfg, ruleset) {
		ws = append(ws, routing.Warning{Code: firewallCodes + "conflict", Subject: c.Chain, Text: c.Text, Cure: c.Cure})
	}
	return ws
}

// tellFirewall logs the warnings about the firewall; the daemon tells the others as they come and go.
func tellFirewall(warnings []routing.Warning, logger *slog.Logger) {
	for _, w := range warnings {
		if strings.HasPrefix(w.Code, firewallCodes) {
			logger.Warn(w.String())
		}
	}
}
