package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ftr/internal/config"
	"ftr/internal/firewall"
	"ftr/internal/kernel"
	"ftr/internal/routing"
)

func generateConfigCommand(f *flags) *cobra.Command {
	var example bool
	c := action("generate_config", "Write a commented configuration, with the lines found on this machine", func(cmd *cobra.Command, _ []string) error {
		text, found := config.Example(), ""
		if !example {
			var err error
			if text, found, err = fitting(cmd.Context()); err != nil {
				return err
			}
		}
		if err := writeNew(f.config, text); err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%sWrote %s. Edit it, then run: %s\n", found, f.config, calling(f.config, "check"))
		return nil
	})
	c.Long = `generate_config writes a commented configuration to the path that --config names. It never overwrites a
file. It fills in the uplinks that it finds on this machine (interfaces with a default route, with an address
from DHCP, or with a peer) and says what it guessed; --example writes the fixed example instead.`
	c.Flags().BoolVar(&example, "example", false, "write the fixed example, whatever this machine has")
	return c
}

// fitting returns a configuration for this machine, and a few lines that say what was found.
func fitting(ctx context.Context) (text, found string, err error) {
	obs, err := survey(ctx)
	if err != nil {
		return "", "", err
	}
	uplinks, lan := routing.Detect(&obs)
	var b strings.Builder
	if len(uplinks) == 0 {
		b.WriteString("No uplink was found on this machine (no interface has a default route, an address from DHCP, or a peer).\n")
	}
	for i, u := range uplinks {
		fmt.Fprintf(&b, "Found uplink %s: %s\n", u.Interface, u.Guess)
		if u.Address6.IsValid() {
			fmt.Fprintf(&b, "It has IPv6 too (%s), which the file proposes in a comment\n", u.Address6)
		}
		uplinks[i].Guess = "Guessed: " + u.Guess + "."
	}
	for _, name := range lan {
		fmt.Fprintf(&b, "Took %s for an inside interface: it has a private address and no way out\n", name)
	}
	return config.Generate(uplinks, lan), b.String(), nil
}

// survey observes all interfaces of this machine.
func survey(ctx context.Context) (routing.Observation, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return routing.Observation{}, fmt.Errorf("list interfaces: %w", err)
	}
	scope := routing.Scope{Families: []config.Family{config.IPv4, config.IPv6}}
	for _, i := range interfaces {
		scope.Interfaces = append(scope.Interfaces, i.Name)
	}
	k, err := kernel.Open(kernel.Options{})
	if err != nil {
		return routing.Observation{}, err
	}
	defer k.Close()
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	obs, err := k.Observe(ctx, scope)
	if err != nil { // there are kernels without IPv6
		scope.Families = scope.Families[:1]
		obs, err = k.Observe(ctx, scope)
	}
	return obs, err
}

// writeNew writes a file that must not exist yet. What could not be written whole is removed.
func writeNew(path, text string) error {
	if path == "" {
		return &exitError{exitConfig, errors.New("write configuration: --config names no file")}
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already and is left as it is; name another file with --config, or move it away", path)
	}
	if err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	_, err = io.WriteString(file, text)
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("write configuration: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

func generateIptablesCommand(f *flags) *cobra.Command {
	var six bool
	c := action("generate_iptables", "Print firewall rules for the configuration, in the format of iptables-save", func(cmd *cobra.Command, _ []string) error {
		cfg, err := f.load(cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		text := firewall.Iptables(cfg)
		if six {
			text = firewall.Iptables6(cfg)
		}
		_, err = io.WriteString(cmd.OutOrStdout(), text)
		return err
	})
	c.Flags().BoolVar(&six, "ipv6", false, "print the rules for ip6tables-restore")
	c.Long = `generate_iptables prints rules for iptables-restore on standard output, with comments and examples: marks
that keep connections on their line, source NAT, and a basic filter. Merge them into your own rules; nothing is
loaded by this command. With --ipv6 they are those for ip6tables-restore: marks and addresses, no filter.`
	return c
}

func generateNftablesCommand(f *flags) *cobra.Command {
	c := action("generate_nftables", "Print firewall rules for the configuration, in the format of nft", func(cmd *cobra.Command, _ []string) error {
		cfg, err := f.load(cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		_, err = io.WriteString(cmd.OutOrStdout(), firewall.Nftables(cfg.WithCgroups(kernel.Cgroups(cfg.Cgroups()))))
		return err
	})
	c.Long = `generate_nftables prints rules for nft -f on standard output, in one table of their own: marks that keep
connections on their line, and source NAT. They filter nothing. It is for those who keep their firewall themselves
(firewall: manual); nothing is loaded by this command.`
	return c
}

func schemaCommand() *cobra.Command {
	return action("schema", "Print the JSON Schema of the configuration, for editors", func(cmd *cobra.Command, _ []string) error {
		_, err := cmd.OutOrStdout().Write(config.Schema())
		return err
	})
}
