package lab

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// incoming opens connections from the internet to the address of each line, to the router itself
// and to the server in the DMZ.
func (s *Scenario) incoming(ctx context.Context) error {
	return s.incomingOn(ctx, "answers on the line that was called", s.all())
}

// all returns the numbers of all lines.
func (s *Scenario) all() []int {
	list := make([]int, len(s.lines))
	for i := range list {
		list[i] = i
	}
	return list
}

// incomingOn judges incoming connections to the addresses of some lines.
func (s *Scenario) incomingOn(ctx context.Context, what string, lines []int) error {
	before, err := s.foreign()
	if err != nil {
		return err
	}
	total := s.extent.incoming * len(lines)
	for _, to := range []struct {
		name string
		dmz  bool
	}{{"router", false}, {"DMZ server", true}} {
		answered, first := 0, error(nil)
		for _, i := range lines {
			s.Board.say(fmt.Sprintf("to the %s by line %d", to.name, i+1))
			n, err := s.Lab.Incoming(ctx, i, s.extent.incoming, to.dmz, openTimeout)
			if err := ctx.Err(); err != nil {
				return err
			}
			answered += n
			if first == nil {
				first = err
			}
			s.lines[i].Incoming = fmt.Sprintf("%d of %d", n, s.extent.incoming)
		}
		row := Row{What: to.name + " " + what, Expected: fmt.Sprintf("%d of %d", total, total), Measured: fmt.Sprintf("%d of %d", answered, total), OK: answered == total}
		if first != nil {
			row.Measured += ": " + first.Error()
		}
		s.Board.expect(row)
	}
	after, err := s.foreign()
	if err != nil {
		return err
	}
	s.Board.expect(Row{What: "packets that leave through a wrong line", Expected: "0", Measured: strconv.Itoa(after - before), OK: after == before})
	return nil
}

// foreign sums what the providers dropped because its source was not their customer's.
func (s *Scenario) foreign() (int, error) {
	sum := 0
	for i := range s.lines {
		n, err := s.Lab.Foreign(i)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// bounced takes interfaces down and up on the router and opens incoming connections again.
func (s *Scenario) bounced(ctx context.Context) error {
	lines := s.all()[len(s.lines)-s.extent.bounced:]
	var slowest time.Duration
	back := true
	for _, i := range lines {
		s.Board.say(fmt.Sprintf("line %d", i+1))
		if err := s.Lab.Bounce(i); err != nil {
			return err
		}
		took, ok, err := s.waited(ctx, s.back(), func() (bool, error) { return s.answers(ctx, i) })
		if err != nil {
			return err
		}
		slowest, back = max(slowest, took), back && ok
	}
	s.Board.expect(Row{What: "the lines are in use and answer again", Expected: "within " + inSeconds(s.back()), Measured: measured(slowest, back), OK: back})
	return s.incomingOn(ctx, "answers on it", lines)
}

// answers tells whether line i is in use and both servers answer through it.
func (s *Scenario) answers(ctx context.Context, i int) (bool, error) {
	used, err := s.Lab.Uses(i)
	if err != nil || !used {
		return false, err
	}
	for _, dmz := range []bool{false, true} {
		// No answer is what is being waited for, not an error.
		if n, _ := s.Lab.Incoming(ctx, i, 1, dmz, 300*time.Millisecond); n == 0 {
			return false, nil
		}
	}
	return true, nil
}

// measured says how long something took; "not within" where the limit came first.
func measured(took time.Duration, ok bool) string {
	if !ok {
		return fmt.Sprintf("not within %.0f s", took.Seconds())
	}
	return fmt.Sprintf("%.2f s", took.Seconds())
}

func yesNo(ok bool) string { return map[bool]string{true: "yes", false: "no"}[ok] }

// orError returns the text, or the error's where there is one.
func orError(text string, err error) string {
	if err != nil {
		return err.Error()
	}
	return text
}

// inSeconds writes a time for people. Example "2.5 s".
func inSeconds(d time.Duration) string { return fmt.Sprintf("%g s", d.Seconds()) }
