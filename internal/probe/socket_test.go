package probe

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The kernel stamps what it receives: the time that an answer lies in the socket is no round-trip time.
func TestKernelTimestamps(t *testing.T) {
	for _, source := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")} {
		s, err := open(line{"lo", source, 0}, func(uint16) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.send(source, false); err != nil {
			t.Fatal(err)
		}
		if err := s.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			t.Fatal(err)
		}
		control := make([]byte, 128)
		_, n, _, _, err := s.conn.ReadMsgIP(make([]byte, maxPacket), control)
		if err != nil {
			t.Fatal(err)
		}
		if lay := queued(control[:n], time.Now().Add(time.Second)); lay < time.Second || lay > 5*time.Second {
			t.Errorf("%v: read a second late, the answer lay %v in the socket", source, lay)
		}
		if err := s.conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestQueued(t *testing.T) {
	control := func(kind int32, size int) []byte {
		b := make([]byte, unix.CmsgSpace(size))
		binary.NativeEndian.PutUint64(b, uint64(unix.CmsgLen(size)))
		binary.NativeEndian.PutUint32(b[8:], unix.SOL_SOCKET)
		binary.NativeEndian.PutUint32(b[12:], uint32(kind))
		binary.NativeEndian.PutUint64(b[16:], 100)
		return b
	}
	for name, tt := range map[string]struct {
		control []byte
		want    time.Duration
	}{
		"stamp":           {control(unix.SCM_TIMESTAMPNS, 16), 2 * time.Second},
		"nothing":         {nil, 0},
		"something else":  {control(unix.SCM_RIGHTS, 16), 0},
		"of another size": {control(unix.SCM_TIMESTAMPNS, 8), 0},
		"cut":             {control(unix.SCM_TIMESTAMPNS, 16)[:20], 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := queued(tt.control, time.Unix(102, 0)); got != tt.want {
				t.Errorf("queued = %v, want %v", got, tt.want)
			}
		})
	}
}

// Sequence numbers in use are not given twice, and there is an end to them.
func TestSequenceNumbers(t *testing.T) {
	s := &socket{line: line{device: "eth1"}, seq: 65534, waiting: map[uint16]*waiter{}}
	first := &waiter{}
	for range 1<<15 + 1 {
		w := &waiter{}
		if err := s.enter(w); err != nil {
			t.Fatal(err)
		}
		if first.echo.seq == 0 {
			first = w
		}
	}
	if len(s.waiting) != 1<<15+1 || s.waiting[65535] != first {
		t.Errorf("%d wait, the first under %d", len(s.waiting), first.echo.seq)
	}
	if err := s.enter(&waiter{}); err == nil || err.Error() != "too many probes at once through eth1" {
		t.Errorf("one too many: %v", err)
	}
	s.leave(first)
	s.seq = 65534
	w := &waiter{}
	if err := s.enter(w); err != nil || w.echo.seq != 65535 {
		t.Errorf("after one left: %d, %v", w.echo.seq, err)
	}
}

// Two lines with the same address must not share an id, or connection tracking takes their echoes for one
// connection.
func TestSocketsHaveTheirOwnIDs(t *testing.T) {
	var refused []uint16
	s, err := open(line{"lo", netip.MustParseAddr("127.0.0.1"), 0}, func(id uint16) bool {
		if len(refused) < 3 {
			refused = append(refused, id)
			return true
		}
		return false
	})
	if err != nil {
		t.Fatal(err)
	}
	defer s.conn.Close()
	if len(refused) != 3 || s.id == refused[2] && refused[1] == refused[2] {
		t.Errorf("id %d, after %v were taken", s.id, refused)
	}
}
