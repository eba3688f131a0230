package sync

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"imapsync/db"
)

// WatchOptions tune Watch. Zero fields take their defaults.
type WatchOptions struct {
	Filter      db.DueFilter  // Now is not used
	Only        []db.Ref      // of those, these; nil: all
	Interval    time.Duration // a pass without being woken; 5 min
	Poll        time.Duration // the same where IDLE is missing or fails; 30 s
	Refresh     time.Duration // how often the database is asked who is to be watched; 10 s
	MaxAccounts int           // 5000; each takes a lock, and 12,857 of them fill the table of a Postgres server
}

// Defaults of WatchOptions.
const (
	DefaultWatchInterval = 5 * time.Minute
	DefaultWatchPoll     = 30 * time.Second
	DefaultMaxWatched    = 5000
	defaultWatchRefresh  = 10 * time.Second
)

func (o WatchOptions) withDefaults() WatchOptions {
	o.Interval = cmp.Or(max(0, o.Interval), DefaultWatchInterval)
	o.Poll = cmp.Or(max(0, o.Poll), DefaultWatchPoll)
	o.Refresh = cmp.Or(max(0, o.Refresh), defaultWatchRefresh)
	o.MaxAccounts = cmp.Or(max(0, o.MaxAccounts), DefaultMaxWatched)
	return o
}

// WatchState is what a watching process does at the moment.
type WatchState struct {
	Accounts  int       // watched by this process
	Idling    int       // of these, waiting in IDLE
	Elsewhere int       // to be watched, but not by this process
	RoundAt   time.Time // when the database was last asked, with success
	TriedAt   time.Time // when it was last asked, whatever came of it
	Waits     error     // why no passes are made, whatever the mailbox; nil when they are
}

// watcher is the supervisor: it alone starts and ends the goroutines of providers, one
// each, and forgets those that are over.
type watcher struct {
	runner  *Runner
	opts    WatchOptions
	slots   chan struct{} // passes at a time
	hard    context.Context
	wg      sync.WaitGroup
	summary Summary
	watched map[db.Ref]*watched
	gate    gate
	state   atomic.Pointer[WatchState] // as the last round left it
}

// Watch passes over every provider whenever its server tells of new mail, and
// on a timer, until the runner is told to stop. Several processes share the
// providers by their watch locks. Whatever fails is tried again; the error is
// nil, or the reason why ctx ended.
func (r *Runner) Watch(ctx context.Context, opts WatchOptions) (Summary, error) {
	r.keep, r.watches = true, true
	r.init()
	opts = opts.withDefaults()
	r.sessions.Max = opts.MaxAccounts
	w := &watcher{runner: r, opts: opts, slots: make(chan struct{}, r.Options.Workers), hard: ctx, watched: map[db.Ref]*watched{}}
	w.state.Store(&WatchState{})
	r.watching.Store(w)
	defer r.sessions.Close()
	for {
		w.round(ctx)
		select {
		case <-r.clock().After(jitter(opts.Refresh)):
			continue
		case <-r.Stop:
		case <-ctx.Done():
		}
		w.wg.Wait() // all of them have seen the same signal
		s := w.summary
		s.Providers = s.OK + s.Partial + s.Failed + s.Unfinished + s.Busy + s.Deferred
		s.Missing = 0 // each pass has counted them, and said it
		if ctx.Err() != nil && !r.Stopping() {
			return s, context.Cause(ctx)
		}
		return s, nil
	}
}

// WatchState tells what Watch does at the moment; it is zero before the first round.
func (r *Runner) WatchState() WatchState {
	w := r.watching.Load()
	if w == nil {
		return WatchState{}
	}
	s := *w.state.Load()
	_, s.Waits = w.gate.shutBy()
	return s
}

// round brings what is watched in line with the database: providers added are
// begun, those removed or paused are ended, those changed are told.
func (w *watcher) round(ctx context.Context) {
	r := w.runner
	state := *w.state.Load()
	state.TriedAt = r.now()
	w.state.Store(&state)
	if err := r.Publisher.Connected(); err != nil {
		w.shut(err) // before a pass finds out
	}
	due, err := w.due(ctx)
	if err == nil {
		err = r.hosts.load(ctx, r.Store, r.now())
	}
	if err != nil {
		w.roundFailed(err)
		return
	}
	missing, idling := w.compare(due)
	elsewhere, err := w.take(ctx, missing, due)
	if err != nil {
		w.roundFailed(err)
		return
	}
	w.state.Store(&WatchState{Accounts: len(w.watched), Idling: idling, Elsewhere: elsewhere, RoundAt: r.now(), TriedAt: state.TriedAt})
}

func (w *watcher) roundFailed(err error) {
	switch {
	case Stopped(err):
	case systemic(err):
		w.shut(err)
	default:
		w.runner.Log.Warn("watch_refresh_failed", "error", err.Error())
	}
}

// due asks the database which providers are to be watched.
func (w *watcher) due(ctx context.Context) (map[db.Ref]db.Watchable, error) {
	list, err := w.runner.Store.ProvidersWatchable(ctx, w.opts.Filter)
	if err != nil {
		return nil, err
	}
	due := make(map[db.Ref]db.Watchable, len(list))
	for _, p := range list {
		if w.opts.Only == nil || slices.Contains(w.opts.Only, p.Ref) {
			due[p.Ref] = p
		}
	}
	return due, nil
}

// compare tells those that are watched what is due of them. It returns those that
// are not watched yet, and how many wait in IDLE.
func (w *watcher) compare(due map[db.Ref]db.Watchable) (missing []db.Ref, idling int) {
	maps.DeleteFunc(w.watched, func(_ db.Ref, one *watched) bool { return one.over.Load() })
	for ref := range due {
		if w.watched[ref] == nil {
			missing = append(missing, ref)
		}
	}
	for ref, one := range w.watched {
		p, wanted := due[ref]
		switch {
		case !wanted:
			one.end()
		case one.stalled(2 * w.opts.Interval):
			w.runner.Log.Warn("idle_stalled", "tenant", ref.Tenant, "provider_id", ref.ID)
			one.fail(errStalled)
		case !p.ChangedAt.Equal(one.changed):
			one.changed = p.ChangedAt
			one.tell()
		}
		if one.idling.Load() {
			idling++
		}
	}
	return missing, idling
}

var errStalled = transient("idle_stalled", errors.New("no search was completed for two timers"))

// takeAtOnce is how many accounts are locked in one go, takePause how long the
// next go waits: replicas that start together share the providers.
const (
	takeAtOnce = 50
	takePause  = 100 * time.Millisecond
)

// take begins to watch those of missing that no other process watches, as many
// as there is room for. It returns how many are left to others.
func (w *watcher) take(ctx context.Context, missing []db.Ref, due map[db.Ref]db.Watchable) (elsewhere int, err error) {
	room := w.opts.MaxAccounts - len(w.watched)
	rand.Shuffle(len(missing), func(i, j int) { missing[i], missing[j] = missing[j], missing[i] })
	started := 0
	for len(missing) > 0 {
		if room <= 0 {
			w.runner.Log.Warn("watch_full", "accounts", w.opts.MaxAccounts, "left_out", len(missing))
			return elsewhere + len(missing), nil
		}
		some := missing[:min(takeAtOnce, room, len(missing))]
		missing = missing[len(some):]
		locks, err := w.runner.Locks.TryWatch(ctx, some)
		if err != nil {
			return elsewhere, err
		}
		elsewhere += len(some) - len(locks)
		room -= len(locks)
		for ref, lock := range locks {
			w.begin(due[ref], lock)
			started++
		}
		if len(missing) > 0 && len(locks) > 0 && !w.runner.waitUntil(ctx, w.runner.now().Add(takePause)) {
			return elsewhere, nil
		}
	}
	if started > 0 {
		w.runner.Log.Info("watch_taken", "accounts", started, "elsewhere", elsewhere)
	}
	return elsewhere, nil
}

// begin watches one provider. Its first pass is a little late, so that not all
// begin at once, and not before the provider's next attempt is due.
func (w *watcher) begin(p db.Watchable, lock *db.Lock) {
	one := &watched{
		watcher: w, ref: p.Ref, lock: lock, changed: p.ChangedAt,
		told: make(chan struct{}, 1),
	}
	quit, end := context.WithCancel(context.Background())
	one.quit, one.end = quit.Done(), end
	first := rand.N(time.Second + time.Duration(len(w.watched))*10*time.Millisecond)
	if p.NextAttemptAt != nil {
		first = max(first, w.runner.until(*p.NextAttemptAt))
	}
	var ctx context.Context
	ctx, one.fail = context.WithCancelCause(w.hard)
	one.searched.Store(w.runner.now().UnixNano())
	w.watched[p.Ref] = one
	w.wg.Go(func() {
		if err := recovered(func() error { one.watch(ctx, first); return nil }); err != nil {
			w.runner.tell(&w.summary, Result{Ref: one.ref, Provider: &db.Provider{Settings: db.Settings{Tenant: one.ref.Tenant, ID: one.ref.ID}}, Err: err})
		}
		one.fail(nil)
		w.runner.sessions.Drop(one.ref)
		lock.Unlock()
		one.over.Store(true)
	})
}

// pass waits for a slot and runs the pass of a run. ok is false when there was
// none: the provider is not to be watched any more, or the process ends.
func (w *watcher) pass(ctx context.Context, one *watched) (res Result, ok bool) {
	r := w.runner
	if err := r.Publisher.Connected(); err != nil {
		w.shut(err)
	}
	if opens, why := w.gate.shutBy(); why != nil && !one.until(ctx, opens) {
		return res, false
	}
	select {
	case w.slots <- struct{}{}:
		defer func() { <-w.slots }()
	case <-one.quit:
		return res, false
	case <-r.Stop:
		return res, false
	case <-one.lock.Lost():
		return res, false
	case <-ctx.Done():
		return res, false
	}
	list, err := r.Store.Providers(ctx, []db.Ref{one.ref})
	if err != nil {
		if systemic(err) {
			w.shut(err)
		}
		return Result{Ref: one.ref, Err: err}, true
	}
	if len(list) == 0 || !list[0].Active || !list[0].AutoProcess || list[0].PausedAt != nil {
		return res, false
	}
	res = r.Pass(ctx, list[0])
	r.tell(&w.summary, res)
	switch {
	case res.Err != nil && systemic(res.Err):
		w.shut(res.Err)
	case res.Counts.Published > 0:
		w.gate.published()
	}
	return res, true
}

// jitter spreads a time by a tenth to either side.
func jitter(d time.Duration) time.Duration {
	return d - d/10 + rand.N(d/5+1)
}
