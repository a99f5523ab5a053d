package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/net/ipv4"
)

// vpnPort is the port of both ends of a tunnel.
const vpnPort = 51820

// VPN is a tunnel between the router and the internet host that behaves as WireGuard does: each end has one
// socket that is bound to no address. The router's goes on with the source address with which it was first
// answered; the far end sends to where the last packet came from.
type VPN struct {
	router, far     *os.File // the tunnel devices
	socket, farSide *ipv4.PacketConn
	server          netip.AddrPort
	client          atomic.Pointer[net.UDPAddr] // as the far end sees it
	source          atomic.Pointer[netip.Addr]  // that the router's end goes on with
	loops           atomic.Int64
	pumps           sync.WaitGroup
}

// OpenTunnel makes a tunnel device on the router with an address, another one with the peer's address on the
// internet host, and joins them over whatever way the router's packets take.
func (l *Lab) OpenTunnel(device string, own netip.Prefix, peer netip.Addr) (*VPN, error) {
	v := &VPN{server: netip.AddrPortFrom(l.Plan.Servers[0], vpnPort)}
	for _, end := range []struct {
		host    *Host
		device  **os.File
		socket  **ipv4.PacketConn
		address netip.Prefix
	}{{l.Router, &v.router, &v.socket, own}, {l.Internet, &v.far, &v.farSide, netip.PrefixFrom(peer, own.Bits())}} {
		err := end.host.Do(func() (err error) {
			if *end.device, err = openTunnel(device); err != nil {
				return err
			}
			conn, err := net.ListenUDP("udp4", &net.UDPAddr{Port: vpnPort})
			if err != nil {
				return fmt.Errorf("socket of tunnel %s: %w", device, err)
			}
			*end.socket = ipv4.NewPacketConn(conn)
			return (*end.socket).SetControlMessage(ipv4.FlagDst, true)
		})
		if err == nil {
			err = end.host.Batch(fmt.Sprintf("addr add %s dev %s", end.address, device), "link set "+device+" mtu 1400 up")
		}
		if err != nil {
			v.close()
			return nil, err
		}
	}
	for _, pump := range []func(){v.send, v.receive, v.farSend, v.farReceive} {
		v.pumps.Go(pump)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.vpns = append(l.vpns, v)
	return v, nil
}

// VPN returns the tunnel that was opened as number i, from 0.
func (l *Lab) VPN(i int) *VPN {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.vpns[i]
}

// Source is the address that the router's end sends from; invalid: it was not answered yet.
func (v *VPN) Source() netip.Addr {
	if a := v.source.Load(); a != nil {
		return *a
	}
	return netip.Addr{}
}

// Client is where the far end's packets come from.
func (v *VPN) Client() netip.Addr {
	if a := v.client.Load(); a != nil {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// Loops is how many of the tunnel's own packets were sent into it.
func (v *VPN) Loops() int { return int(v.loops.Load()) }

// send carries packets from the router's device to the far end. One that cannot be sent is lost.
func (v *VPN) send() {
	to := net.UDPAddrFromAddrPort(v.server)
	v.fromDevice(v.router, func(packet []byte) error {
		if header, err := ipv4.ParseHeader(packet); err == nil && header.Dst.Equal(to.IP) && header.Protocol == 17 && len(packet) >= header.Len+4 &&
			int(packet[header.Len+2])<<8|int(packet[header.Len+3]) == vpnPort {
			v.loops.Add(1)
		}
		var control *ipv4.ControlMessage
		if source := v.source.Load(); source != nil {
			control = &ipv4.ControlMessage{Src: source.AsSlice()}
		}
		_, err := v.socket.WriteTo(packet, control, to)
		return err
	})
}

func (v *VPN) farSend() {
	v.fromDevice(v.far, func(packet []byte) error {
		client := v.client.Load()
		if client == nil {
			return nil
		}
		_, err := v.farSide.WriteTo(packet, &ipv4.ControlMessage{Src: v.server.Addr().AsSlice()}, client)
		return err
	})
}

func (v *VPN) receive() {
	fromSocket(v.socket, v.router, func(control *ipv4.ControlMessage, _ net.Addr) {
		if a, ok := netip.AddrFromSlice(control.Dst.To4()); ok {
			v.source.CompareAndSwap(nil, &a)
		}
	})
}

func (v *VPN) farReceive() {
	fromSocket(v.farSide, v.far, func(_ *ipv4.ControlMessage, from net.Addr) {
		v.client.Store(from.(*net.UDPAddr))
	})
}

// fromDevice hands on each packet of a device until it is closed.
func (v *VPN) fromDevice(device *os.File, send func([]byte) error) {
	packet := make([]byte, 65536)
	for {
		n, err := device.Read(packet)
		if err != nil {
			return
		}
		if err := send(packet[:n]); errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

// fromSocket writes each datagram to a device until one of them is closed.
func fromSocket(socket *ipv4.PacketConn, device *os.File, note func(*ipv4.ControlMessage, net.Addr)) {
	packet := make([]byte, 65536)
	for {
		n, control, from, err := socket.ReadFrom(packet)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about what was sent before
		}
		if control != nil {
			note(control, from)
		}
		if _, err := device.Write(packet[:n]); errors.Is(err, os.ErrClosed) {
			return
		}
	}
}

// close ends both ends and waits for the pumps.
func (v *VPN) close() {
	for _, f := range []*os.File{v.router, v.far} {
		if f != nil {
			f.Close()
		}
	}
	for _, s := range []*ipv4.PacketConn{v.socket, v.farSide} {
		if s != nil {
			s.Close()
		}
	}
	v.pumps.Wait()
}
