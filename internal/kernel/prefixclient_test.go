package kernel_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv6"

	"ftr/internal/routing"
)

// Messages and options of DHCPv6 (RFC 8415 §7.3, §21).
const (
	dhcpSolicit, dhcpAdvertise, dhcpReply  = 1, 2, 7
	optionClientID, optionServerID         = 1, 2
	optionIAPD, optionPrefix, prefixLength = 25, 26, 56
)

// delegate answers a DHCPv6 client with a prefix; nil: it is not asked for one.
func delegate(request []byte, prefix netip.Addr) []byte {
	if len(request) < 4 {
		return nil
	}
	kind := byte(dhcpReply)
	if request[0] == dhcpSolicit {
		kind = dhcpAdvertise
	}
	option := func(b []byte, code uint16, data []byte) []byte {
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, code), uint16(len(data)))
		return append(b, data...)
	}
	answer := option(append([]byte{kind}, request[1:4]...), optionServerID, []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1})
	asked := false
	for rest := request[4:]; len(rest) >= 4; {
		code, length := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if len(rest) < 4+length {
			return nil
		}
		data := rest[4 : 4+length]
		rest = rest[4+length:]
		switch {
		case code == optionClientID:
			answer = option(answer, code, data)
		case code == optionIAPD && length >= 4:
			given := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 1800), 3600) // lifetimes
			given = append(append(given, prefixLength), prefix.AsSlice()...)
			answer = option(answer, code, option(append(data[:4:4], 0, 0, 3, 0, 0, 0, 4, 0), optionPrefix, given))
			asked = true
		}
	}
	if !asked {
		return nil
	}
	return answer
}

// The real dhclient asks a provider for a prefix, and by way of the hook that is shipped it is known.
func TestPrefixOfDHClient(t *testing.T) {
	w, isp := newRealWorld(t, "requests"), newRealWorld(t, "delegates")
	if err := errors.Join(w.ip("link add wan0 type veth peer name lan0 netns delegates"), w.ip("link set wan0 addrgenmode none up"), w.ip("addr add fe80::5/64 dev wan0 nodad"),
		isp.ip("link set lan0 addrgenmode none up"), isp.ip("addr add fe80::1/64 dev lan0 nodad")); err != nil {
		t.Fatal(err)
	}
	var server net.PacketConn
	if err := isp.ns.Do(func() (err error) {
		if server, err = net.ListenPacket("udp6", "[::]:547"); err != nil {
			return err
		}
		device, err := net.InterfaceByName("lan0")
		return errors.Join(err, ipv6.NewPacketConn(server).JoinGroup(device, &net.UDPAddr{IP: net.ParseIP("ff02::1:2")}))
	}); err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		for packet := make([]byte, 1500); ; {
			n, from, err := server.ReadFrom(packet)
			if err != nil {
				return
			}
			if answer := delegate(packet[:n], netip.MustParseAddr("2001:db8:1200::")); answer != nil {
				_, _ = server.WriteTo(answer, from)
			}
		}
	}()
	defer func() { server.Close(); <-served }()

	hook, err := filepath.Abs("../../packaging/prefix-hook")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := filepath.Join(dir, "script") // as dhclient-script(8) does with its hooks
	if err := os.WriteFile(script, []byte("#!/bin/sh\n. "+hook+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client := exec.CommandContext(ctx, "/sbin/dhclient", "-6", "-P", "-d", "-v", "-cf", "/dev/null", "-sf", script, "-e", "PREFIX_DIRECTORY="+dir,
		"-lf", filepath.Join(dir, "leases"), "-pf", filepath.Join(dir, "pid"), "wan0")
	var said strings.Builder
	client.Stdout, client.Stderr = &said, &said
	if err := w.ns.Do(client.Start); err != nil {
		t.Fatal(err)
	}
	got, file := "", filepath.Join(dir, "prefix-wan0")
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	for got == "" && ctx.Err() == nil {
		select {
		case <-look.C:
		case <-ctx.Done():
		}
		obs, err := w.Observe(ctx, routing.Scope{PrefixFiles: []string{file}})
		if p, ok := obs.Prefixes[file]; err == nil && ok {
			got = p.String()
		}
	}
	cancel()
	_ = client.Wait()
	if want := fmt.Sprintf("2001:db8:1200::/%d", prefixLength); got != want {
		t.Errorf("the prefix is %q, want %s; dhclient said:\n%s", got, want, said.String())
	}
}
