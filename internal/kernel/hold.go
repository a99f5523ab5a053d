package kernel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"ftr/internal/firewall"
)

// Attributes of tables, chains and rules of nf_tables (linux/netfilter/nf_tables.h), and the flag of a table
// that belongs to the socket that made it.
const (
	nftaTableFlags  = 2
	nftaChainName   = 3
	nftaChainHook   = 4
	nftaChainType   = 7
	nftaHookNumber  = 1
	nftaHookPlace   = 2
	nftaRuleChain   = 2
	nftaRuleContent = 4
	nftaListElement = 1
	nftaExprName    = 1
	nftaExprData    = 2
	nftaCtRegister  = 1
	nftaCtKey       = 2

	nftTableOwned = 2

	nfInetLocalIn = 1 // of the hooks of nat, the one that least traffic passes
	natSource     = 100
	holdChain     = "hold"
)

// HoldTranslation makes the kernel go on translating and tracking the connections that there are while the table of
// a managed firewall is away. The kernel does both only as long as some rule needs it: when "nft flush ruleset"
// takes the last one, answers to connections from inside are taken for the router's own until the table is back, and
// refused, which ends them. So a table that only its maker can remove (NFT_TABLE_F_OWNER), and that goes when the
// program ends, needs it too. It sees the first packets of connections to the router, and does nothing with them.
//
// It lasts until RemoveFirewall or Close. Called again, it makes another table in place of the one before: where
// somebody has saved the whole ruleset in a file, the kernel would refuse to load that while there is a table of the
// same name. The error wraps ErrNoNetfilter if the kernel cannot do so: one before 5.12.
func (k *Kernel) HoldTranslation(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("hold translation: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	conn, err := k.dialNetfilter(0)
	if err == nil {
		k.holds++
		if err = makeHold(conn, fmt.Sprintf("%s%d_%d", firewall.HoldTables, os.Getpid(), k.holds)); err != nil {
			err = errors.Join(explainNetfilter(err), conn.Close())
		}
	}
	if err == nil && k.hold != nil {
		err = k.hold.Close()
	}
	if err != nil {
		return fmt.Errorf("hold translation: %w", err)
	}
	k.hold = conn
	return nil
}

// letGo ends what HoldTranslation began.
func (k *Kernel) letGo() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.hold == nil {
		return nil
	}
	conn := k.hold
	k.hold = nil
	return conn.Close()
}

// makeHold makes a table as one transaction.
func makeHold(conn *netlink.Conn, table string) error {
	const subsystem = unix.NFNL_SUBSYS_NFTABLES << 8
	var messages []netlink.Message
	for _, step := range []struct {
		kind       uint16
		flags      netlink.HeaderFlags
		header     []byte // family, version, resource id
		attributes func(*netlink.AttributeEncoder)
	}{
		{unix.NFNL_MSG_BATCH_BEGIN, 0, []byte{unix.AF_UNSPEC, 0, 0, unix.NFNL_SUBSYS_NFTABLES}, nil},
		{subsystem | unix.NFT_MSG_NEWTABLE, netlink.Create, []byte{unix.NFPROTO_INET, 0, 0, 0}, func(e *netlink.AttributeEncoder) {
			e.String(nftaTable, table)
			e.Uint32(nftaTableFlags, nftTableOwned)
		}},
		{subsystem | unix.NFT_MSG_NEWCHAIN, netlink.Create, []byte{unix.NFPROTO_INET, 0, 0, 0}, func(e *netlink.AttributeEncoder) {
			e.String(nftaTable, table)
			holdNat(e)
		}},
		{subsystem | unix.NFT_MSG_NEWRULE, netlink.Create | netlink.Append | netlink.Acknowledge, []byte{unix.NFPROTO_INET, 0, 0, 0}, func(e *netlink.AttributeEncoder) {
			e.String(nftaTable, table)
			holdTracking(e)
		}},
		{unix.NFNL_MSG_BATCH_END, 0, []byte{unix.AF_UNSPEC, 0, 0, unix.NFNL_SUBSYS_NFTABLES}, nil},
	} {
		e := netlink.NewAttributeEncoder()
		e.ByteOrder = binary.BigEndian
		if step.attributes != nil {
			step.attributes(e)
		}
		b, err := body(step.header, e)
		if err != nil {
			return err
		}
		messages = append(messages, request(step.kind, step.flags, b))
	}
	if _, err := conn.SendMessages(messages); err != nil {
		return err
	}
	_, err := conn.Receive() // the acknowledgement, or an error of any of them
	return err
}

// holdNat is a chain of nat: while there is one, the kernel translates.
func holdNat(e *netlink.AttributeEncoder) {
	e.String(nftaChainName, holdChain)
	e.Nested(nftaChainHook, func(e *netlink.AttributeEncoder) error {
		e.Uint32(nftaHookNumber, nfInetLocalIn)
		e.Uint32(nftaHookPlace, natSource)
		return nil
	})
	e.String(nftaChainType, "nat")
}

// holdTracking is a rule that reads the state of a connection, and no more: while there is one, the kernel
// tracks.
func holdTracking(e *netlink.AttributeEncoder) {
	e.String(nftaRuleChain, holdChain)
	e.Nested(nftaRuleContent, func(e *netlink.AttributeEncoder) error {
		e.Nested(nftaListElement, func(e *netlink.AttributeEncoder) error {
			e.String(nftaExprName, "ct")
			e.Nested(nftaExprData, func(e *netlink.AttributeEncoder) error {
				e.Uint32(nftaCtRegister, unix.NFT_REG_1)
				e.Uint32(nftaCtKey, unix.NFT_CT_STATE)
				return nil
			})
			return nil
		})
		return nil
	})
}
