package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
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
// learns that from unseen.
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
	have, err := k.NftVersion(ctx)
	if errors.Is(err, kernel.ErrNoNft) {
		return []routing.Warning{{Code: firewallCodes + "no-nft", Subject: "firewall: managed", Error: true,
			Text: "the program nft is not installed", Cure: "install the package nftables, or set firewall: manual and load the rules of generate_iptables"}}
	}
	var ws []routing.Warning
	if err == nil && firewall.Outdated(have) {
		ws = append(ws, routing.Warning{Code: firewallCodes + "old-nft", Subject: "the program nft",
			Text: fmt.Sprintf("is version %s, and the oldest that a managed firewall is tested with is %s", have, firewall.OldestNft), Cure: "use a newer one, or set firewall: manual"})
	}
	return append(ws, inspectRules(ctx, cfg, k)...)
}

// inspectRules holds the configuration against the rules of others, in nf_tables and in iptables-legacy.
func inspectRules(ctx context.Context, cfg *config.Config, k *kernel.Kernel) []routing.Warning {
	ruleset, err := k.Ruleset(ctx)
	legacy, legacyErr := k.LegacyRules(ctx)
	var ws []routing.Warning
	for _, c := range append(firewall.Conflicts(cfg, ruleset), firewall.LegacyConflicts(cfg, legacy)...) {
		ws = append(ws, routing.Warning{Code: firewallCodes + "conflict", Subject: c.Chain, Text: c.Text, Cure: c.Cure})
	}
	// Who has no privileges is told so once, instead of what each of them is needed for.
	if err := errors.Join(err, legacyErr); err != nil && os.Geteuid() == 0 {
		ws = append(ws, routing.Warning{Code: firewallCodes + "unseen", Subject: "firewall: managed",
			Text: "not all rules of others could be looked at for conflicts", Cure: err.Error()})
	}
	return ws
}

// unseen says what of this host's firewall check leaves out for somebody without privileges; "": nothing.
func unseen(cfg *config.Config) string {
	if cfg.Firewall != config.FirewallManaged || os.Geteuid() == 0 {
		return ""
	}
	return "the firewall rules of others were not looked at for conflicts with the managed table: only root may read them all (sudo ftr check)"
}

// tellFirewall logs the warnings about the firewall; the daemon tells the others as they come and go.
func tellFirewall(warnings []routing.Warning, logger *slog.Logger) {
	for _, w := range warnings {
		if strings.HasPrefix(w.Code, firewallCodes) {
			logger.Warn(w.String())
		}
	}
}
