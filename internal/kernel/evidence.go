package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"ftr/internal/config"
	"ftr/internal/firewall"
)

// ErrNoNft is wrapped by errors that mean that nft(8) is not installed.
var ErrNoNft = fmt.Errorf("%w: the program nft is not installed (package nftables)", firewall.ErrUnavailable)

// SetEvidence makes the tables that count the traffic of the interfaces, or replaces them, in one
// transaction; counters begin at zero. A table of ours in another family goes. Nothing else in the ruleset is
// touched. The error wraps ErrNoNft if nft(8) is not there; all else works without it.
func (k *Kernel) SetEvidence(ctx context.Context, families []config.Family, interfaces []string) error {
	var text strings.Builder
	text.WriteString(firewall.Evidence(families, interfaces))
	have, err := k.evidence()
	for _, f := range have {
		if !slices.Contains(families, f) {
			text.WriteString(firewall.EvidenceRemoval(f))
		}
	}
	if err == nil || errors.Is(err, ErrNoNetfilter) { // without it nft has the better words
		err = k.nft(ctx, text.String())
	}
	if err != nil {
		return fmt.Errorf("set up the tables that count traffic: %w", err)
	}
	return nil
}

// RemoveEvidence removes the tables that count traffic. That there are none is fine, and then nft(8)
// need not be there either.
func (k *Kernel) RemoveEvidence(ctx context.Context) error {
	families, err := k.evidence()
	if errors.Is(err, ErrNoNetfilter) {
		return nil
	}
	var text strings.Builder
	for _, f := range families {
		text.WriteString(firewall.EvidenceRemoval(f))
	}
	if err == nil && text.Len() > 0 {
		err = k.nft(ctx, text.String())
	}
	if err != nil {
		return fmt.Errorf("remove the tables that count traffic: %w", err)
	}
	return nil
}

// evidence returns the families that have an evidence table.
func (k *Kernel) evidence() (families []config.Family, err error) {
	tables, err := k.tables()
	for _, t := range tables {
		if f, ok := familyOf(t.family); ok && t.name == firewall.EvidenceTable {
			families = append(families, f)
		}
	}
	return families, err
}
