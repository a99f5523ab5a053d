package lab

import (
	"context"
	_ "embed"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// leaseDir is where Debian's dhclient keeps its leases, and where programs look for them.
const leaseDir = "/var/lib/dhcp"

// dhclientScript configures the interface from what dhclient(8) learned, as Debian's own does, but
// leaves /etc/resolv.conf alone: that file is the host's.
//
//go:embed dhclient-script
var dhclientScript []byte

// dhcpLine is the server and the client of a line.
type dhcpLine struct{ server, client *exec.Cmd }

// startDHCP starts a server at provider i that gives out the line's address, and a client on the
// router, and waits for the lease.
func (l *Lab) startDHCP(ctx context.Context, i int) error {
	if err := l.serveDHCP(ctx, i, l.Plan.Lines[i].Address); err != nil {
		return err
	}
	if err := l.startClient(ctx, i); err != nil {
		return err
	}
	return l.WaitFor(ctx, "a DHCP lease", 20*time.Second, func() (bool, error) {
		_, err := l.Address(i)
		return err == nil, nil
	})
}

// serveDHCP runs a server that knows only one address, renewed every few seconds. With --no-daemon it
// stays who it is: without root it could not change its user.
func (l *Lab) serveDHCP(ctx context.Context, i int, address netip.Addr) error {
	line := l.Plan.Lines[i]
	leases := filepath.Join(l.Dir, fmt.Sprintf("dnsmasq.%d.%s", line.Number, address))
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "dnsmasq", "--no-daemon", "--conf-file=/dev/null", "--port=0",
		"--interface="+customerLink, "--bind-interfaces", "--dhcp-authoritative", "--no-ping", "--pid-file", "--dhcp-leasefile="+leases,
		fmt.Sprintf("--dhcp-range=%s,%s,255.255.255.0,2m", address, address),
		"--dhcp-option=option:router,"+line.Gateway.String(), "--dhcp-option=option:T1,3", "--dhcp-option=option:T2,8")
	if err := l.Providers[i].Start(cmd); err != nil {
		return fmt.Errorf("start dnsmasq: %w", err)
	}
	l.dhcp[i].server = cmd
	return nil
}

// startClient runs dhclient on the router in the foreground.
func (l *Lab) startClient(ctx context.Context, i int) error {
	if err := hideLeases(); err != nil {
		return err
	}
	line := l.Plan.Lines[i]
	script := filepath.Join(l.Dir, "dhclient-script")
	if err := os.WriteFile(script, dhclientScript, 0o755); err != nil {
		return err
	}
	leases := filepath.Join(leaseDir, "dhclient."+line.Interface+".leases")
	cmd := exec.CommandContext(context.WithoutCancel(ctx), "dhclient", "-4", "-d", "-sf", script, "-lf", leases, "-pf", filepath.Join(l.Dir, "dhclient."+line.Interface+".pid"),
		"-cf", "/dev/null", "-e", fmt.Sprintf("IF_METRIC=%d", 100+line.Number), line.Interface)
	if err := l.Router.Start(cmd); err != nil {
		return fmt.Errorf("start dhclient: %w", err)
	}
	l.dhcp[i].client = cmd
	return nil
}

// hideLeases puts an empty file system over the host's leases, in this process's private mounts.
func hideLeases() error {
	var have unix.Statfs_t
	if err := unix.Statfs(leaseDir, &have); err != nil {
		return fmt.Errorf("find %s (install isc-dhcp-client): %w", leaseDir, err)
	}
	if have.Type == unix.TMPFS_MAGIC {
		return nil
	}
	if err := unix.Mount("tmpfs", leaseDir, "tmpfs", 0, "mode=755"); err != nil {
		return fmt.Errorf("hide %s: %w", leaseDir, err)
	}
	return nil
}

// Lease makes the provider of the DHCP line i give out another address of the line's network: the
// old one is refused at the next renewal, at most a few seconds later.
func (l *Lab) Lease(ctx context.Context, i int, address netip.Addr) error {
	if err := l.known(i); err != nil {
		return err
	}
	if l.Plan.Lines[i].Kind != DHCP || !l.Plan.Lines[i].Customer.Contains(address) {
		return fmt.Errorf("lease %s on line %d: it is %s with %s", address, i+1, l.Plan.Lines[i].Kind, l.Plan.Lines[i].Customer)
	}
	l.log.Event(i, "gets the address "+address.String())
	stopProcess(l.dhcp[i].server)
	return l.serveDHCP(ctx, i, address)
}

// stopDHCP ends the client and the server of line i.
func (l *Lab) stopDHCP(i int) {
	stopProcess(l.dhcp[i].client)
	stopProcess(l.dhcp[i].server)
	l.dhcp[i] = dhcpLine{}
}
