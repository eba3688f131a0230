package sync

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"imapsync/db"
	"imapsync/internal/imapsession"
)

// watched is one provider that is being watched, by one goroutine, under its
// watch lock.
type watched struct {
	watcher *watcher
	ref     db.Ref
	lock    *db.Lock
	changed time.Time // of the settings as last seen; the supervisor's
	fail    context.CancelCauseFunc
	told    chan struct{}   // capacity 1: pass now
	quit    <-chan struct{} // closed by end
	end     context.CancelFunc

	searched atomic.Int64 // when a pass last succeeded, or the watch began; Unix time in ns
	idling   atomic.Bool
	over     atomic.Bool // its goroutine has ended, and given back its lock
	refused  int         // times that IDLE failed in a row
	polls    int         // times that this had the provider polled, since IDLE last worked
	pollTill time.Time   // until then IDLE is not tried
}

func (p *watched) tell() {
	select {
	case p.told <- struct{}{}:
	default:
	}
}

// stalled reports whether the provider sits in IDLE while no search was completed
// for too long, whatever the connection looks like.
func (p *watched) stalled(patience time.Duration) bool {
	return p.idling.Load() && p.watcher.runner.since(time.Unix(0, p.searched.Load())) > patience
}

// What may end a wait.
type reason int

const (
	timer   reason = iota // the time is over
	unwoken               // so it is, and IDLE told of nothing
	woken                 // the server told of mail
	told                  // the settings changed
	ended                 // the provider is not to be watched any more
	lost                  // the connection broke, or refused to IDLE
	missed                // mail came before IDLE began
)

const (
	reconnectBase = time.Second     // first wait of a broken connection, doubled each time, full jitter
	reconnectMax  = 5 * time.Minute // its cap
	busyPause     = 10 * time.Second
	deferPause    = time.Minute
	maxIdleFailed = 3                // failures of IDLE before a provider is polled
	pollFor       = 10 * time.Minute // and for how long, doubled each time up to 16-fold
	// Some servers offer IDLE and hang up on it. A connection that breaks later
	// says nothing about IDLE.
	shortIdle = 300 * time.Millisecond
)

// watch passes over the provider when its server tells of new mail and on a
// timer. It returns when the provider is not to be watched any more.
func (p *watched) watch(ctx context.Context, wait time.Duration) {
	r := p.watcher.runner
	failures := 0 // in a row, of Postgres or NATS
	why := p.sleep(ctx, wait)
	raced := false
	for why != ended {
		res, ok := p.watcher.pass(ctx, p)
		if !ok {
			return
		}
		if res.Err == nil || res.Partial {
			p.searched.Store(r.now().UnixNano())
		}
		p.countIdle(why, res)
		switch {
		case res.Busy:
			why = p.sleep(ctx, jitter(busyPause))
		case res.Deferred != "":
			why = p.sleep(ctx, jitter(deferPause))
		case res.Err != nil && !res.Partial:
			failures++
			wait := fullJitter(reconnectBase, reconnectMax, failures)
			if res.NextAttemptAt != nil {
				wait = r.until(*res.NextAttemptAt)
			}
			why = p.sleep(ctx, wait)
			continue
		case res.Left > 0 && res.Counts.Total() > 0:
			why = p.sleep(ctx, 0) // a backlog: go on
		default:
			why = p.rest(ctx, res, raced)
			raced = why == missed
			if why == lost {
				why = p.sleep(ctx, fullJitter(reconnectBase, reconnectMax, 1))
			}
		}
		failures = 0
	}
}

// countIdle counts an IDLE that did not tell of mail as failed: the timer found it.
func (p *watched) countIdle(why reason, res Result) {
	switch {
	case why == woken:
		p.refused, p.polls = 0, 0
	case why == unwoken && res.silent:
		p.idleFailed()
	}
}

// idleFailed counts a failure of IDLE; after three the provider is polled for a while.
func (p *watched) idleFailed() {
	if p.refused++; p.refused >= maxIdleFailed {
		p.pollTill = p.watcher.runner.now().Add(pollFor << min(p.polls, 4))
		p.polls, p.refused = p.polls+1, 0
	}
}

// sleep waits for a time, unless something else comes first.
func (p *watched) sleep(ctx context.Context, wait time.Duration) reason {
	return p.await(ctx, wait, nil, nil)
}

// await waits for a time, unless something else comes first: mail, or the end of
// the connection.
func (p *watched) await(ctx context.Context, wait time.Duration, arrived, closed <-chan struct{}) reason {
	select {
	case <-arrived:
		return woken
	case <-closed:
		return lost
	case <-p.watcher.runner.clock().After(wait):
		return timer
	case <-p.told:
		return told
	case <-p.quit:
	case <-p.watcher.runner.Stop:
	case <-p.lock.Lost():
	case <-ctx.Done():
	}
	return ended
}

// rest waits for the next pass: in IDLE where the server offers it and keeps
// its word, else for the shorter interval.
func (p *watched) rest(ctx context.Context, res Result, raced bool) reason {
	w := p.watcher
	sessions := &w.runner.sessions
	s := sessions.Get(p.ref, w.runner.account(res.Provider))
	if s == nil {
		return p.sleep(ctx, jitter(w.opts.Poll))
	}
	if !s.CanIdle() || w.runner.now().Before(p.pollTill) {
		sessions.Put(p.ref, s)
		return p.sleep(ctx, jitter(w.opts.Poll))
	}
	if err := s.Resume(ctx); err != nil {
		s.Close()
		return lost
	}
	why, sound := p.idle(ctx, s, res, raced)
	if !sound {
		s.Close()
		return why
	}
	sessions.Put(p.ref, s)
	if why == lost {
		return p.sleep(ctx, jitter(w.opts.Poll))
	}
	return why
}

// idle waits in IDLE until the interval is over, unless something else comes
// first. sound says that the connection may be used again; one that is sound and
// lost refuses to IDLE.
func (p *watched) idle(ctx context.Context, s *imapsession.Session, res Result, raced bool) (why reason, sound bool) {
	r := p.watcher.runner
	log := r.Log.With("tenant", p.ref.Tenant, "provider_id", p.ref.ID, "provider", res.Provider.Name)
	folder := imapsession.IdleFolder(res.Provider.Folders)
	var searched uint32
	if st := res.states[folder]; st != nil && !raced {
		searched = st.UIDNext // once: a server whose UIDNEXT lies would have us pass without end
	}
	began := r.now()
	for until := began.Add(jitter(p.watcher.opts.Interval)); ; searched = 0 {
		behind, err := s.Idle(folder, searched)
		if behind {
			return missed, true
		}
		if err != nil {
			log.Warn("idle_failed", "folder", folder, "error", err.Error())
			p.idleFailed()
			return lost, s.Alive()
		}
		log.Debug("idle_start", "folder", folder)
		p.idling.Store(true)
		wait := r.until(until)
		why := p.await(ctx, min(wait, imapsession.ReIdle), s.Arrived(), s.Closed())
		p.idling.Store(false)
		err = s.EndIdle()
		if broken := why == lost || ctx.Err() != nil; broken || err != nil {
			log.Info("disconnect", "host", res.Provider.Host, "error", errText(err))
			switch {
			case broken && why != ended && r.since(began) < shortIdle:
				p.idleFailed()
			case !broken && why != ended:
				why = lost
			}
			return why, false
		}
		switch {
		case why == timer && wait > imapsession.ReIdle:
			continue
		case why == timer:
			why = unwoken
		case why == woken:
			log.Debug("idle_wake", "folder", folder, "waited_ms", r.since(began).Milliseconds())
		}
		return why, true
	}
}

// fullJitter is a random time up to base, doubled with every failure after the
// first, and never above limit.
func fullJitter(base, limit time.Duration, failures int) time.Duration {
	return rand.N(min(base<<min(max(failures-1, 0), 20), limit)) + time.Millisecond
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
