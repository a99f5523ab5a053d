package lab

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Rate is a bandwidth in bits per second, counted as tbf(8) does: whole Ethernet frames. Zero is
// not limited.
type Rate int64

// The units of tc(8).
const (
	Kbit Rate = 1000
	Mbit Rate = 1000 * Kbit
	Gbit Rate = 1000 * Mbit
)

// Of a full frame of 1514 bytes, TCP with timestamps carries 1448 bytes of payload.
const (
	frameBytes   = 1514
	payloadBytes = 1448
)

// ParseRate reads a rate: a number of Mbit/s, or a number with kbit, mbit or gbit. Examples "10",
// "512kbit", "1.5mbit".
func ParseRate(text string) (Rate, error) {
	number, unit := strings.ToLower(strings.TrimSpace(text)), Mbit
	for suffix, u := range map[string]Rate{"kbit": Kbit, "mbit": Mbit, "gbit": Gbit} {
		if rest, ok := strings.CutSuffix(number, suffix); ok {
			number, unit = strings.TrimSpace(rest), u
			break
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	rate := Rate(f * float64(unit))
	if err != nil || math.IsNaN(f) || f < 0 || rate < 8*Kbit || rate > 100*Gbit {
		return 0, fmt.Errorf("rate %q: want Mbit/s as a number, or a number with kbit, mbit or gbit, from 8kbit to 100gbit", text)
	}
	return rate, nil
}

// Mbits returns the rate in Mbit/s.
func (r Rate) Mbits() float64 { return float64(r) / float64(Mbit) }

// Payload returns what TCP can carry of it, in Mbit/s.
func (r Rate) Payload() float64 { return r.Mbits() * payloadBytes / frameBytes }

// String returns the rate with its unit. Example "10 Mbit/s".
func (r Rate) String() string {
	if r == 0 {
		return "not limited"
	}
	return strconv.FormatFloat(r.Mbits(), 'f', -1, 64) + " Mbit/s"
}

// tbf returns the arguments of tc-tbf(8) for the rate. The bucket holds 10 ms, but enough full frames
// for the timers of a busy machine; the queue holds 100 ms, as consumer lines do.
func (r Rate) tbf() []string {
	perSecond := int64(r) / 8
	burst := max(perSecond/100, 10*frameBytes)
	limit := max(perSecond/20, 32*frameBytes) + burst
	return []string{
		"tbf", "rate", strconv.FormatInt(int64(r), 10) + "bit",
		"burst", strconv.FormatInt(burst, 10), "limit", strconv.FormatInt(limit, 10),
	}
}
