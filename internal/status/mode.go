package status

import "fmt"

// Mode is what people want of an uplink, whatever its health. It holds until they want something else,
// also after a restart.
type Mode uint8

// The modes.
const (
	// Auto: its health decides.
	Auto Mode = iota
	// ForcedDown: out of use, for maintenance. It is still probed.
	ForcedDown
	// ForcedUp: in use as long as the kernel can send over it, also if no target answers.
	ForcedUp
)

// String returns the word of the command line and of the API: "auto", "down" or "up".
func (m Mode) String() string { return [...]string{"auto", "down", "up"}[m] }

// MarshalText returns the word.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads the word.
func (m *Mode) UnmarshalText(text []byte) error {
	for _, known := range []Mode{Auto, ForcedDown, ForcedUp} {
		if string(text) == known.String() {
			*m = known
			return nil
		}
	}
	return fmt.Errorf("unknown mode %q: it must be down, up or auto", text)
}
