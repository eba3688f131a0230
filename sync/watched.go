package sync

import (
	"cmp"
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
	refused  int         // times in a row that the server refused IDLE, or told of nothing by it
	polls    int         // times that this had the provider polled, since IDLE last worked
	broken   int         // times in a row that the connection broke early in IDLE
	pollTill time.Time   // until then IDLE is not tried
	loggedIn time.Time   // when it did last
	hasty    int         // logins since a connection last lived for soundFor
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
	// Some servers offer IDLE and hang up on it, at once or within minutes. A
	// connection that has lived for so long says nothing against IDLE.
	soundFor = 5 * time.Minute
	// backlogMax caps the wait before a login while there is mail to take.
	backlogMax = 10 * time.Second
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
		p.countLogins(res)
		switch {
		case res.Busy:
			why = p.sleep(ctx, jitter(busyPause))
		case res.Deferred != "":
			why = p.sleep(ctx, jitter(deferPause))
		case res.Err != nil && systemic(res.Err):
			why = p.sleep(ctx, 0) // the watcher waits until passes can be made again
			continue
		case res.Err != nil && !res.Partial:
			failures++
			wait := fullJitter(reconnectBase, reconnectMax, failures)
			if res.NextAttemptAt != nil {
				wait = r.until(*res.NextAttemptAt)
			}
			why = p.sleep(ctx, max(wait, p.beforeLogin()))
			continue
		case res.Left > 0 && res.Counts.Total() > 0:
			why = p.sleep(ctx, min(p.afterLogin(res), backlogMax)) // a backlog: go on
		default:
			why = p.rest(ctx, res, raced)
			raced = why == missed
			if why == lost {
				why = p.sleep(ctx, max(fullJitter(reconnectBase, reconnectMax, 1), p.beforeLogin()))
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
		p.poll(p.polls)
		p.polls, p.refused = p.polls+1, 0
	}
}

// idleBroke counts a connection that broke in IDLE, which lasted for so long, or before
// it. Three in a row that did so early have the provider polled, and so does each after
// them: IDLE that tells of mail in between makes up for no login.
func (p *watched) idleBroke(lasted time.Duration) {
	p.sound()
	if lasted >= soundFor {
		p.broken = 0
	} else if p.broken++; p.broken >= maxIdleFailed {
		p.poll(p.broken - maxIdleFailed)
	}
}

// poll has the provider polled for a while, the longer the more often it was.
func (p *watched) poll(times int) {
	p.pollTill = p.watcher.runner.now().Add(pollFor << min(times, 4))
}

// sound forgets earlier logins once the connection, which lives or did a moment ago,
// has lived for long enough.
func (p *watched) sound() {
	if p.watcher.runner.since(p.loggedIn) >= soundFor {
		p.hasty = 0
	}
}

// countLogins counts the logins of a pass, unless the connection before them had
// lived for long.
func (p *watched) countLogins(res Result) {
	if res.logins == 0 {
		p.sound()
		return
	}
	if p.loggedIn.IsZero() {
		res.logins-- // the first of all comes after none
	}
	p.hasty, p.loggedIn = p.hasty+res.logins, p.watcher.runner.now()
}

// beforeLogin is how long to wait before the next login: whatever the server does,
// logins that follow each other become rare.
func (p *watched) beforeLogin() time.Duration {
	if p.hasty == 0 {
		return 0
	}
	wait := min(reconnectBase<<min(p.hasty-1, 20), reconnectMax)
	return wait/2 + rand.N(wait/2)
}

// afterLogin is beforeLogin where the connection may still live: it does so when the
// pass needed no login.
func (p *watched) afterLogin(res Result) time.Duration {
	if res.logins == 0 {
		return 0
	}
	return p.beforeLogin()
}

// until waits for what opens. It reports false when the provider is not to be
// watched any more before.
func (p *watched) until(ctx context.Context, opens <-chan struct{}) bool {
	select {
	case <-opens:
		return true
	case <-p.quit:
	case <-p.watcher.runner.Stop:
	case <-p.lock.Lost():
	case <-ctx.Done():
	}
	return false
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
		return p.sleep(ctx, max(jitter(w.opts.Poll), p.beforeLogin()))
	}
	if !s.CanIdle() || w.runner.now().Before(p.pollTill) {
		sessions.Put(p.ref, s)
		return p.sleep(ctx, max(jitter(w.opts.Poll), p.afterLogin(res)))
	}
	if err := s.Resume(ctx); err != nil {
		s.Close()
		p.idleBroke(0)
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
	folder := cmp.Or(res.idle, imapsession.IdleFolder(res.Provider.Folders, nil))
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
			if !s.Alive() {
				p.idleBroke(r.since(began))
				return lost, false
			}
			p.idleFailed()
			return lost, true
		}
		log.Debug("idle_start", "folder", folder)
		p.idling.Store(true)
		wait := r.until(until)
		why := p.await(ctx, min(wait, imapsession.ReIdle), s.Arrived(), s.Closed())
		p.idling.Store(false)
		if why == ended {
			return ended, false // nobody waits for the server to agree
		}
		if err = s.EndIdle(); err != nil || why == lost || ctx.Err() != nil {
			log.Info("disconnect", "host", res.Provider.Host, "error", errText(err))
			p.idleBroke(r.since(began))
			return lost, false
		}
		switch {
		case why == timer && wait > imapsession.ReIdle:
			continue
		case why == timer:
			why = unwoken
		case why == woken:
			log.Debug("idle_wake", "folder", folder, "waited_ms", r.since(began).Milliseconds())
		}
		if r.since(began) >= soundFor {
			p.broken = 0
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
