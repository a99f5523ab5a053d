package probe

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// filter4 lets the kernel pass on only answers to echoes of that id and refusals that quote one, so
// that other traffic costs no wake-up. A raw IPv4 socket's filter sees the packet from its IP header.
func filter4(id uint16) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadMemShift{Off: 0}, // X: length of the IP header
		bpf.LoadIndirect{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: echoReply4, SkipFalse: 2},
		bpf.LoadIndirect{Off: 4, Size: 2},
		bpf.Jump{Skip: 10}, // compare the id
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unreachable4, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: exceeded4, SkipTrue: 10},
		bpf.LoadIndirect{Off: icmpHeader, Size: 1}, // length of the quoted IP header
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x0f},
		bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 2},
		bpf.ALUOpX{Op: bpf.ALUOpAdd},
		bpf.TAX{}, // X: both headers, without the ICMP header in between
		bpf.LoadIndirect{Off: icmpHeader, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: echoRequest4, SkipTrue: 3},
		bpf.LoadIndirect{Off: icmpHeader + 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(id), SkipTrue: 1},
		bpf.RetConstant{Val: maxPacket},
		bpf.RetConstant{Val: 0},
	}
}

// filter6 is filter4 for a raw ICMPv6 socket, whose filter sees the packet from its ICMPv6 header.
func filter6(id uint16) []bpf.Instruction {
	const quoted = icmpHeader + ip6Header
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: echoReply6, SkipFalse: 2},
		bpf.LoadAbsolute{Off: 4, Size: 2},
		bpf.Jump{Skip: 5}, // compare the id
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: unreachable6, SkipTrue: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: exceeded6, SkipTrue: 5},
		bpf.LoadAbsolute{Off: quoted, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: echoRequest6, SkipTrue: 3},
		bpf.LoadAbsolute{Off: quoted + 4, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: uint32(id), SkipTrue: 1},
		bpf.RetConstant{Val: maxPacket},
		bpf.RetConstant{Val: 0},
	}
}

// attach sets the filter of a socket.
func attach(fd int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		&unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]})
}
