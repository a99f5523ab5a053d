package lab

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Direction is seen from the customer.
type Direction uint8

// The directions of traffic.
const (
	Both Direction = iota
	Up             // from the router to the internet
	Down
)

// ParseDirection reads "both", "up" or "down".
func ParseDirection(text string) (Direction, error) {
	if i := slices.Index([]string{"both", "up", "down"}, text); i >= 0 {
		return Direction(i), nil
	}
	return Both, fmt.Errorf("direction %q: want both, up or down", text)
}

// lineState is what was done to a line.
type lineState struct {
	cut, unplugged   bool
	lossUp, lossDown int // percent
	rate             Rate
}

// String says it in words. Example "2 Mbit/s, cut, loses 5 % up and 0 % down".
func (s lineState) String() string {
	return strings.Join(append([]string{s.rate.String()}, s.troubles()...), ", ")
}

// troubles says in words what was done beside the rate.
func (s lineState) troubles() []string {
	var words []string
	if s.unplugged {
		words = append(words, "unplugged")
	}
	if s.cut {
		words = append(words, "cut")
	}
	switch {
	case s.lossUp > 0 && s.lossUp == s.lossDown:
		words = append(words, fmt.Sprintf("loses %d %%", s.lossUp))
	case s.lossUp > 0 || s.lossDown > 0:
		words = append(words, fmt.Sprintf("loses %d %% up and %d %% down", s.lossUp, s.lossDown))
	}
	return words
}

// rules returns the provider's ruleset for the state.
func (s lineState) rules() []string {
	rules := []string{"flush chain inet lab impair"}
	if s.cut {
		rules = append(rules, "add rule inet lab impair drop")
	}
	for link, percent := range map[string]int{customerLink: s.lossUp, coreLink: s.lossDown} {
		share := fmt.Sprintf("numgen random mod 100 < %d ", percent)
		if percent == 100 {
			share = "" // nft refuses a comparison that always holds
		}
		if percent > 0 {
			rules = append(rules, fmt.Sprintf(`add rule inet lab impair iifname "%s" %sdrop`, link, share))
		}
	}
	slices.Sort(rules[1:])
	return rules
}

// Cut drops everything that the provider of line i (from 0) would forward, both ways. The line keeps
// its carrier and its gateway answers: only what lies behind is gone.
func (l *Lab) Cut(i int) error {
	return l.impair(i, "is cut silently upstream", func(s *lineState) { s.cut = true })
}

// CutCarrier takes the provider's end of line i down: the router's interface loses its carrier.
func (l *Lab) CutCarrier(i int) error {
	return l.impair(i, "loses its carrier", func(s *lineState) { s.unplugged = true })
}

// Slow changes the bandwidth of line i, both ways.
func (l *Lab) Slow(i int, rate Rate) error {
	return l.impair(i, "runs at "+rate.String(), func(s *lineState) { s.rate = rate })
}

// Lose drops a share of the packets of line i at random, 0 to 100 percent.
func (l *Lab) Lose(i, percent int, direction Direction) error {
	if percent < 0 || percent > 100 {
		return fmt.Errorf("lose %d %%: want 0 to 100", percent)
	}
	return l.impair(i, fmt.Sprintf("loses %d %% of its packets", percent), func(s *lineState) {
		if direction != Down {
			s.lossUp = percent
		}
		if direction != Up {
			s.lossDown = percent
		}
	})
}

// Restore undoes everything that was done to line i.
func (l *Lab) Restore(i int) error {
	return l.impair(i, "is restored", func(s *lineState) { *s = lineState{rate: l.Plan.Lines[i].Rate} })
}

// Bounce takes the router's own interface of line i down and up again. The kernel drops all routes
// over it on the way.
func (l *Lab) Bounce(i int) error {
	if err := l.known(i); err != nil {
		return err
	}
	name := l.Plan.Lines[i].Interface
	l.log.Event(i, "goes down and up again on the router")
	return l.Router.Batch("link set "+name+" down", "link set "+name+" up")
}

// State says in words what was done to line i.
func (l *Lab) State(i int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.state[i].String()
}

// known refuses a line that does not exist.
func (l *Lab) known(i int) error {
	if i < 0 || i >= len(l.Plan.Lines) {
		return fmt.Errorf("line %d: there are lines 1 to %d", i+1, len(l.Plan.Lines))
	}
	return nil
}

// impair changes the state of a line and makes the network follow.
func (l *Lab) impair(i int, event string, change func(*lineState)) error {
	if err := l.known(i); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.state[i]
	change(&l.state[i])
	l.log.Event(i, event)
	if err := l.follow(i, old, l.state[i]); err != nil {
		return fmt.Errorf("line %d: %w", i+1, err)
	}
	return nil
}

// follow makes the provider of line i what the state says.
func (l *Lab) follow(i int, old, now lineState) error {
	provider := l.Providers[i]
	if err := provider.nft(now.rules()...); err != nil {
		return err
	}
	if now.unplugged != old.unplugged {
		if err := l.setCarrier(i, !now.unplugged); err != nil {
			return err
		}
	}
	if now.rate == old.rate {
		return nil
	}
	if err := l.shape(i, coreLink); err != nil {
		return err
	}
	if l.Plan.Lines[i].Kind == PPP && l.ppp[i] == nil {
		return nil // Connect does it
	}
	return l.shape(i, customerLink)
}

// setCarrier plugs or unplugs the wire of line i.
func (l *Lab) setCarrier(i int, on bool) error {
	if link := l.ppp[i]; link != nil {
		return link.setCarrier(on)
	}
	if err := l.Providers[i].Run("ip", "link", "set", customerLink, map[bool]string{true: "up", false: "down"}[on]); err != nil || !on {
		return err
	}
	return l.ServeInet6(i)
}

// shape limits an interface of provider i to the line's rate. The old queue goes with what is in it:
// a packet larger than a new, smaller bucket would block it for ever.
func (l *Lab) shape(i int, link string) error {
	provider, rate := l.Providers[i], l.state[i].rate
	if err := provider.Run("tc", "qdisc", "replace", "dev", link, "root", "noqueue"); err != nil || rate == 0 {
		return err
	}
	return provider.Run("tc", append([]string{"qdisc", "replace", "dev", link, "root"}, rate.tbf()...)...)
}

// Foreign returns how many packets with sources that are not the customer's provider i has dropped:
// whatever left through a line that it does not belong to.
func (l *Lab) Foreign(i int) (int, error) {
	out, err := l.Providers[i].Output("nft", "-j", "list", "counter", "inet", "lab", "foreign")
	if err != nil {
		return 0, err
	}
	var listing struct {
		NFTables []struct {
			Counter *struct{ Packets int } `json:"counter"`
		} `json:"nftables"`
	}
	if err := json.Unmarshal([]byte(out), &listing); err != nil {
		return 0, fmt.Errorf("read the counter of provider %d: %w", i+1, err)
	}
	for _, object := range listing.NFTables {
		if object.Counter != nil {
			return object.Counter.Packets, nil
		}
	}
	return 0, fmt.Errorf("read the counter of provider %d: it is not there", i+1)
}
