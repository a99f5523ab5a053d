package e2e_test

import (
	"io"
	"net/netip"
	"sync"
	"sync/atomic"

	"ftr/internal/lab"
)

// transfer is a download of the router itself.
type transfer struct{ bytes atomic.Int64 }

// Write counts.
func (d *transfer) Write(p []byte) (int, error) {
	d.bytes.Add(int64(len(p)))
	return len(p), nil
}

// ownDownload opens an endless download on the router, over whatever line it gets.
func (b *bed) ownDownload() *transfer {
	b.t.Helper()
	response, err := b.Router.Get(b.t.Context(), netip.AddrPortFrom(b.Plan.Servers[0], lab.WebPort), "/bytes?rate=102400")
	b.must(err)
	d := &transfer{}
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(d, response.Body) })
	b.t.Cleanup(func() {
		response.Body.Close()
		reading.Wait()
	})
	return d
}
