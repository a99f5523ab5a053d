package probe

import (
	"crypto/x509"
	"time"
)

// SetIdle shortens the life of unused raw sockets that are opened from now on.
func (p *Prober) SetIdle(d time.Duration) { p.echoes.idle = d }

// Sockets returns how many raw sockets are open.
func (p *Prober) Sockets() int {
	p.echoes.mu.Lock()
	defer p.echoes.mu.Unlock()
	return len(p.echoes.sockets)
}

// Trust makes the certificates of authorities in the pool the only ones that are trusted.
func (p *Prober) Trust(roots *x509.CertPool) { p.roots = roots }
