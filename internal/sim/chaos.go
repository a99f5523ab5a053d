package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"ftr/internal/config"
	"ftr/internal/routing"
)

// Chaos breaks and mends the lines of a Kernel and a Network at random. It belongs to one goroutine.
type Chaos struct {
	kernel  *Kernel
	network *Network
	dice    *rand.Rand
	lines   []*line
}

// line is an uplink with what is wrong with it now.
type line struct {
	uplink  config.Uplink
	address routing.Address
	normal  Condition
	trouble trouble
	left    int // steps until it is mended
	renewed int // how many addresses it has had before
}

// trouble is what can be wrong with a line.
type trouble uint8

const (
	none trouble = iota
	silent
	lossy
	slow
	unplugged
	disconnected
)

// Step is one moment: what has been broken long enough is mended, and most of the time something else
// happens to a line. It returns what happened, in words; nothing is an empty list. At most half of the
// lines are broken at a time, rounded up, except that now and then a storm hits all of them.
func (c *Chaos) Step() ([]string, error) {
	told, err := c.mendAll()
	if err != nil || len(c.lines) == 0 || c.dice.Float64() < 0.3 {
		return told, err
	}
	hit := []*line{c.lines[c.dice.IntN(len(c.lines))]}
	if c.dice.IntN(40) == 0 {
		hit = c.lines
	} else if c.broken() >= (len(c.lines)+1)/2 {
		return told, nil
	}
	for _, l := range hit {
		if l.trouble != none {
			continue
		}
		text, err := c.spoil(l)
		if err != nil {
			return told, fmt.Errorf("break uplink %s: %w", l.uplink.Name, err)
		}
		told = append(told, l.uplink.Name+": "+text)
	}
	return told, nil
}

// mendAll mends the lines whose time has come.
func (c *Chaos) mendAll() (told []string, err error) {
	for _, l := range c.lines {
		if l.trouble == none {
			continue
		}
		if l.left--; l.left > 0 {
			continue
		}
		text, err := c.mend(l)
		if err != nil {
			return told, fmt.Errorf("mend uplink %s: %w", l.uplink.Name, err)
		}
		told = append(told, l.uplink.Name+": "+text)
	}
	return told, nil
}

func (c *Chaos) broken() int {
	count := 0
	for _, l := range c.lines {
		if l.trouble != none {
			count++
		}
	}
	return count
}

// spoil does one of the things that happen to lines.
func (c *Chaos) spoil(l *line) (string, error) {
	l.left = 1 + c.dice.IntN(5)
	ill := l.normal
	kinds := []trouble{silent, silent, lossy, slow, unplugged}
	if l.uplink.Type != config.Static {
		kinds = append(kinds, disconnected, disconnected)
	}
	switch l.trouble = kinds[c.dice.IntN(len(kinds))]; l.trouble {
	case silent:
		ill.Silent = true
		c.network.Set(l.uplink.Interface, ill)
		return "goes silent: the provider drops everything", nil
	case lossy:
		ill.Loss = 0.2 + 0.6*c.dice.Float64()
		c.network.Set(l.uplink.Interface, ill)
		return fmt.Sprintf("loses %.0f %% of the packets", 100*ill.Loss), nil
	case slow:
		ill.RTT += time.Duration(100+c.dice.IntN(600)) * time.Millisecond
		ill.Jitter *= 10
		c.network.Set(l.uplink.Interface, ill)
		return fmt.Sprintf("slows down to %v", ill.RTT), nil
	case unplugged:
		return "loses carrier: somebody pulled the cable", c.kernel.SetCarrier(l.uplink.Interface, false)
	default:
		return fmt.Sprintf("loses its address %s", l.address.Prefix.Addr()),
			c.kernel.RemoveAddress(l.uplink.Interface, l.address.Prefix.Addr())
	}
}

// mend puts a line right again. One that was disconnected comes back with another address.
func (c *Chaos) mend(l *line) (string, error) {
	was := l.trouble
	l.trouble = none
	switch was {
	case unplugged:
		return "has its carrier back", c.kernel.SetCarrier(l.uplink.Interface, true)
	case disconnected:
		l.renewed++
		l.address = address(l.uplink, l.renewed)
		if err := c.kernel.AddAddress(l.uplink.Interface, l.address); err != nil {
			return "", err
		}
		if l.uplink.Type == config.DHCP {
			if err := announce(c.kernel, l); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("is back with the address %s", l.address.Prefix.Addr()), nil
	default:
		c.network.Set(l.uplink.Interface, l.normal)
		return "works again", nil
	}
}
