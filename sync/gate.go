package sync

import (
	"context"
	"sync"
	"time"
)

// Ready returns why no pass can be made now, whatever the mailbox: the database
// takes no writes, or nothing can be published.
func (r *Runner) Ready(ctx context.Context) error {
	if err := r.Store.CheckWrites(ctx); err != nil {
		return err
	}
	return r.Publisher.Ready(ctx)
}

// gate holds the passes of a watching process back while what all of them need is
// away, so that none is made in vain.
type gate struct {
	mu    sync.Mutex
	why   error         // it is shut
	open  chan struct{} // closed when it opens again
	tries int           // looks since something was last published
}

// The looks of a shut gate at what is away.
const (
	gateBase = time.Second // before the first, doubled each time
	gateMax  = 30 * time.Second
)

// shut shuts the gate, and has it opened again once passes can be made. Said once.
func (w *watcher) shut(why error) {
	g, r, ctx := &w.gate, w.runner, w.hard
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.why != nil {
		return
	}
	g.why, g.open = why, make(chan struct{})
	class, code := Classify(why)
	r.Log.Error("watch_waits", "class", class, "code", code, "error", why.Error())
	w.wg.Go(func() {
		for {
			g.mu.Lock()
			wait := min(gateBase<<min(g.tries, 10), gateMax)
			g.tries++
			g.mu.Unlock()
			if !r.waitUntil(ctx, r.now().Add(wait)) {
				return
			}
			if r.Ready(ctx) == nil {
				break
			}
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.why = nil
		close(g.open)
		r.Log.Info("watch_goes_on", "code", code)
	})
}

// published notes that all is well: the next time that the gate is shut, it is
// looked at soon.
func (g *gate) published() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tries = 0
}

// shutBy returns what is closed when the gate opens, and why it is shut; nil when it
// is open.
func (g *gate) shutBy() (opens <-chan struct{}, why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open, g.why
}
