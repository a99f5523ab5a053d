package probe

import "time"

// SetIdle shortens the life of unused sockets that are opened from now on.
func (p *ICMP) SetIdle(d time.Duration) { p.idle = d }

// Sockets returns how many are open.
func (p *ICMP) Sockets() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sockets)
}
