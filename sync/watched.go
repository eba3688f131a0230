package sync

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"imapsync/db"
	"imapsync/internal/imapsession"
)

// account is one provider that is being watched, by one goroutine, under its
// watch lock.
type account struct {
	watcher *watcher
	ref     db.Ref
	lock    *db.Lock
	changed time.Time // of the settings as last seen; the supervisor's
	fail    context.CancelCauseFunc
	told    chan struct{} // capacity 1: pass now
	quit    chan struct{}
	ending  sync.Once

	searched atomic.Int64 // when a pass last succeeded, or the watch began; Unix time in ns
	idling   atomic.Bool
	refused  int       // times that IDLE failed in a row
	polls    int       // times that this had the account polled, since IDLE last worked
	pollTill time.Time // until then IDLE is not tried
}

func (a *account) end() { a.ending.Do(func() { close(a.quit) }) }

func (a *account) tell() {
	select {
	case a.told <- struct{}{}:
	default:
	}
}

// stalled reports whether the account sits in IDLE while no search was completed
// for too long, whatever the connection looks like.
func (a *account) stalled(patience time.Duration) bool {
	return a.idling.Load() && time.Since(time.Unix(0, a.searched.Load())) > patience
}

// What may end a wait.
type reason int

const (
	timer   reason = iota // the time is over
	unwoken               // so it is, and IDLE told of nothing
	woken                 // the server told of mail
	told                  // the settings changed
	ended                 // the account is not to be watched any more
	lost                  // the connection broke, or refused to IDLE
	missed                // mail came before IDLE began
)

const (
	reconnectBase = time.Second     // first wait of a broken connection, doubled each time, full jitter
	reconnectMax  = 5 * time.Minute // its cap
	busyPause     = 10 * time.Second
	deferPause    = time.Minute
	maxIdleFailed = 3                // failures of IDLE before an account is polled
	pollFor       = 10 * time.Minute // and for how long, doubled each time up to 16-fold
	// Some servers offer IDLE and hang up on it. A connection that breaks later
	// says nothing about IDLE.
	shortIdle = 300 * time.Millisecond
)

// watch passes over the provider when its server tells of new mail and on a
// timer. It returns when the account is not to be watched any more.
func (a *account) watch(ctx context.Context, wait time.Duration) {
	failures := 0 // in a row, of Postgres or NATS
	why := a.sleep(ctx, wait)
	raced := false
	for why != ended {
		res, ok := a.watcher.pass(ctx, a)
		if !ok {
			return
		}
		if res.Err == nil || res.Partial {
			a.searched.Store(time.Now().UnixNano())
		}
		a.judge(why, res)
		switch {
		case res.Busy:
			why = a.sleep(ctx, jitter(busyPause))
		case res.Deferred != "":
			why = a.sleep(ctx, jitter(deferPause))
		case res.Err != nil && !res.Partial:
			failures++
			wait := fullJitter(reconnectBase, reconnectMax, failures)
			if res.NextAttemptAt != nil {
				wait = time.Until(*res.NextAttemptAt)
			}
			why = a.sleep(ctx, wait)
			continue
		case res.Left > 0 && res.Counts.Total() > 0:
			why = a.sleep(ctx, 0) // a backlog: go on
		default:
			why = a.rest(ctx, res, raced)
			raced = why == missed
			if why == lost {
				why = a.sleep(ctx, fullJitter(reconnectBase, reconnectMax, 1))
			}
		}
		failures = 0
	}
}

// judge counts an IDLE that did not tell of mail as failed: the timer found it.
func (a *account) judge(why reason, res Result) {
	switch {
	case why == woken:
		a.refused, a.polls = 0, 0
	case why == unwoken && res.silent:
		a.refuse()
	}
}

// refuse counts a failure of IDLE; after three the account is polled for a while.
func (a *account) refuse() {
	if a.refused++; a.refused >= maxIdleFailed {
		a.pollTill = time.Now().Add(pollFor << min(a.polls, 4))
		a.polls, a.refused = a.polls+1, 0
	}
}

// sleep waits for a time, unless something else comes first.
func (a *account) sleep(ctx context.Context, wait time.Duration) reason {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return timer
	case <-a.told:
		return told
	case <-a.quit:
	case <-a.watcher.runner.Stop:
	case <-a.lock.Lost():
	case <-ctx.Done():
	}
	return ended
}

// rest waits for the next pass: in IDLE where the server offers it and keeps
// its word, else for the shorter interval.
func (a *account) rest(ctx context.Context, res Result, raced bool) reason {
	w := a.watcher
	sessions := &w.runner.sessions
	s := sessions.Get(a.ref, accountOf(res.Provider, w.runner.sessionOptions(res.Provider)))
	if s == nil {
		return a.sleep(ctx, jitter(w.opts.Poll))
	}
	if !s.CanIdle() || time.Now().Before(a.pollTill) {
		sessions.Put(a.ref, s)
		return a.sleep(ctx, jitter(w.opts.Poll))
	}
	if err := s.Resume(ctx); err != nil {
		s.Close()
		return lost
	}
	log := w.runner.Log.With("tenant", a.ref.Tenant, "provider_id", a.ref.ID, "provider", res.Provider.Name)
	folder := imapsession.IdleFolder(res.Provider.Folders)
	var searched uint32
	if st := res.states[folder]; st != nil && !raced {
		searched = st.UIDNext // once: a server whose UIDNEXT lies would have us pass without end
	}
	began := time.Now()
	for until := began.Add(jitter(w.opts.Interval)); ; {
		behind, err := s.Idle(folder, searched)
		searched = 0
		if behind {
			sessions.Put(a.ref, s)
			return missed
		}
		if err != nil {
			log.Warn("idle_failed", "folder", folder, "error", err.Error())
			a.refuse()
			if !s.Alive() {
				s.Close()
				return lost
			}
			sessions.Put(a.ref, s)
			return a.sleep(ctx, jitter(w.opts.Poll))
		}
		log.Debug("idle_start", "folder", folder)
		a.idling.Store(true)
		wait := time.Until(until)
		why := a.idle(ctx, s, min(wait, imapsession.ReIdle))
		a.idling.Store(false)
		if why == lost || ctx.Err() != nil {
			log.Info("disconnect", "host", res.Provider.Host, "error", errText(s.EndIdle()))
			s.Close()
			if why != ended && time.Since(began) < shortIdle {
				a.refuse()
			}
			return why
		}
		if err := s.EndIdle(); err != nil {
			log.Info("disconnect", "host", res.Provider.Host, "error", err.Error())
			s.Close()
			if why == ended {
				return ended
			}
			return lost
		}
		switch {
		case why == timer && wait > imapsession.ReIdle:
			continue
		case why == timer:
			why = unwoken
		case why == woken:
			log.Debug("idle_wake", "folder", folder, "waited_ms", time.Since(began).Milliseconds())
		}
		sessions.Put(a.ref, s)
		return why
	}
}

// idle waits in IDLE.
func (a *account) idle(ctx context.Context, s *imapsession.Session, wait time.Duration) reason {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-s.Arrived():
		return woken
	case <-s.Closed():
		return lost
	case <-t.C:
		return timer
	case <-a.told:
		return told
	case <-a.quit:
	case <-a.watcher.runner.Stop:
	case <-a.lock.Lost():
	case <-ctx.Done():
	}
	return ended
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
