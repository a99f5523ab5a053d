package kernel

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// parseDhclient reads the leases of ISC's client (dhclient.leases(5)): blocks "lease { ... }" of
// statements that end with a semicolon, appended one after another. The last one for the interface
// that has not expired counts.
func parseDhclient(data []byte, device string, _, now time.Time) (netip.Addr, bool) {
	found, ok := netip.Addr{}, false
	var lease []statement
	for s := range statements(string(data)) {
		switch {
		case s.opens:
			lease = nil
		case s.closes:
			if r, usable := leaseRouter(lease, device, now); usable {
				found, ok = r, true
			}
			lease = nil
		default:
			lease = append(lease, s)
		}
	}
	return found, ok
}

// statement is a list of words up to a semicolon or a brace, strings without their quotes.
type statement struct {
	words         []string
	opens, closes bool
}

// statements splits a file. Strings may hold semicolons, braces and escaped quotes; "#" begins a
// comment.
func statements(s string) func(yield func(statement) bool) {
	return func(yield func(statement) bool) {
		var words []string
		for {
			var word string
			var delimiter byte
			word, delimiter, s = nextWord(s)
			if word != "" {
				words = append(words, word)
			}
			if delimiter == 0 && s == "" {
				return
			}
			if delimiter == ';' || delimiter == '{' || delimiter == '}' {
				if !yield(statement{words, delimiter == '{', delimiter == '}'}) {
					return
				}
				words = nil
			}
		}
	}
}

// nextWord returns a word, the character that ended it (0 for a space, a quote or the end), and the
// rest.
func nextWord(s string) (word string, delimiter byte, rest string) {
	s = strings.TrimLeft(s, " \t\r\n")
	switch {
	case s == "":
		return "", 0, ""
	case s[0] == '#':
		_, rest, _ = strings.Cut(s, "\n")
		return "", 0, rest
	case s[0] == '"':
		return quoted(s[1:])
	}
	i := strings.IndexAny(s, " \t\r\n;{}\"#")
	switch {
	case i < 0:
		return s, 0, ""
	case s[i] == '"' || s[i] == '#':
		return s[:i], 0, s[i:]
	case s[i] == ';' || s[i] == '{' || s[i] == '}':
		return s[:i], s[i], s[i+1:]
	default:
		return s[:i], 0, s[i+1:]
	}
}

// quoted reads a string up to its closing quote.
func quoted(s string) (word string, delimiter byte, rest string) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return s[:i], 0, s[i+1:]
		}
	}
	return "", 0, ""
}

// leaseRouter returns the router of one lease if it is for the interface and has not expired. A lease
// without an interface is for any: older clients have one file for each.
func leaseRouter(lease []statement, device string, now time.Time) (found netip.Addr, ok bool) {
	for _, s := range lease {
		w := s.words
		switch {
		case len(w) == 2 && w[0] == "interface" && w[1] != device:
			return netip.Addr{}, false
		case len(w) >= 2 && w[0] == "expire" && expired(w[1:], now):
			return netip.Addr{}, false
		case len(w) >= 3 && w[0] == "option" && w[1] == "routers":
			found, ok = router(strings.Join(w[2:], " "))
		}
	}
	return found, ok
}

// expired reads "never", "epoch SECONDS" or "WEEKDAY YYYY/MM/DD HH:MM:SS" in UTC; what is none of these
// has expired.
func expired(words []string, now time.Time) bool {
	var end time.Time
	var err error
	switch {
	case words[0] == "never":
		return false
	case len(words) == 2 && words[0] == "epoch":
		end, err = parseEpoch(words[1])
	case len(words) == 3:
		end, err = time.Parse("2006/1/2 15:04:05", words[1]+" "+words[2])
	default:
		return true
	}
	return err != nil || !end.After(now)
}

func parseEpoch(s string) (time.Time, error) {
	seconds, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	return time.Unix(seconds, 0), err
}
