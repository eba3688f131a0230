// Package sync reads new mail: one pass over every provider that is due.
// Import it as mailsync.
//
// Read it in the order in which a mail goes through it. run.go takes the providers,
// hosts.go and gate.go say which not now, clock.go has the time, errors.go and bug.go say
// whose fault an error is. pass.go takes one provider: session.go connects, serve.go
// divides the budget among folders, finish.go writes how it ended. folder.go takes one
// folder: start.go where it begins, search.go what is new, count.go whether that adds up,
// cursor.go and gap.go how far it has been read, account.go and numbering.go under which
// account and numbering. One that was numbered anew goes through renumber.go, sift.go and
// match.go, or unstable.go when that never ends. pipeline.go takes the messages
// (message.go): fetch.go, known.go, publish.go, commit.go. handle.go tries again what
// failed, charge.go and control.go say whether the message is at fault, absent.go whether
// it is gone. stream.go, gone.go, heal.go and republish.go look after what the broker has
// lost. repair.go and reconcile.go are other work on the same steps, watch.go and
// watched.go runs that do not end.
//
// Goroutines stand in few places: the bounded fan-out over providers (Runner.Run) or
// one for each watched provider (Runner.Watch), the three stages of the pipeline, the
// parsers and blob writers of one chunk (parseAll, storeBlobs), the watch on the lock
// of a pass (whileHeld), and the end of a run (Runner.StopWith).
//
// Invariants: the cursor moves in the transaction that records what became of
// every UID it moves over, after the broker has acknowledged the events; flags
// are neither read nor written; a message, a folder or a provider that fails
// never stops another one; every wait on a server has a bound.
package sync

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"imapsync/db"
	"imapsync/internal/imapsession"
	"imapsync/parse"
	"imapsync/publish"
)

// Options tune a run. Zero fields take their defaults.
type Options struct {
	Workers          int   // providers at a time; 8
	MaxInFlightBytes int64 // raw mail in memory, all providers together; 64 MiB
	MaxMessageBytes  int64 // larger messages go out as headers only; 50 MB
	Timeouts         Timeouts
	MaxOldUnknown    int           // old messages that a renumbered folder publishes though nobody knows them, before it holds the others; 50. -1: none
	MaxHeaders       int           // headers that a pass reads in a folder whose numbering never holds; 2,000
	HealSpan         time.Duration // what the stream lost within so long is published again unasked; an hour, below 0 nothing
	HealEvents       int           // if it is no more than that; 1000, below 0 nothing
	Drain            bool          // repeat passes until nothing is left
	Named            bool          // a person named the providers: each is tried, whatever its host did to others
	Host             string
	Version          string
}

// Defaults of Options.
const (
	DefaultWorkers          = 8
	DefaultMaxInFlightBytes = 64 << 20
	DefaultMaxMessageBytes  = 50_000_000
	DefaultMinBodyRate      = imapsession.DefaultRate
	DefaultHealSpan         = time.Hour
	DefaultHealEvents       = 1000
	DefaultMaxOldUnknown    = 50
	DefaultMaxHeaders       = 2000
)

func (o Options) withDefaults() Options {
	o.Workers = cmp.Or(max(0, o.Workers), DefaultWorkers)
	o.MaxInFlightBytes = cmp.Or(max(0, o.MaxInFlightBytes), DefaultMaxInFlightBytes)
	o.MaxMessageBytes = cmp.Or(max(0, o.MaxMessageBytes), DefaultMaxMessageBytes)
	o.HealSpan = cmp.Or(o.HealSpan, DefaultHealSpan)
	o.HealEvents = cmp.Or(o.HealEvents, DefaultHealEvents)
	o.MaxOldUnknown = max(0, cmp.Or(o.MaxOldUnknown, DefaultMaxOldUnknown))
	o.MaxHeaders = cmp.Or(max(0, o.MaxHeaders), DefaultMaxHeaders)
	return o
}

// Runner runs passes. Its fields are set once, before Run.
type Runner struct {
	Store     *db.Store
	Locks     *db.Locks
	Publisher *publish.Publisher
	Log       *slog.Logger
	Options   Options

	// Credential returns what to log in with. A token that is renewed is stored
	// behind the fence, which is zero where no lock is held.
	Credential func(ctx context.Context, p *db.Provider, fence db.Fence) (Credential, error)

	// Stop asks for an orderly end: the chunk in hand is finished and
	// committed, nothing new is begun.
	Stop <-chan struct{}
	quit <-chan struct{} // closed when that is to be soon
	// Clock is nil for that of the machine.
	Clock Clock
	// OnProgress and OnResult may be nil. They are called one at a time.
	OnProgress func(Progress)
	OnResult   func(Result)

	once     sync.Once // init
	keep     bool      // connections are kept between passes
	watches  bool      // a provider whose connection broke is tried again soon
	report   sync.Mutex
	inFlight *semaphore.Weighted
	buffers  imapsession.Buffers
	hosts    hosts
	broker   broker
	sessions imapsession.Pool[db.Ref]
	dialer   imapsession.Dialer
	watching atomic.Pointer[watcher]                           // of Watch
	parse    func(raw []byte, lim parse.Limits) *parse.Message // parse.Parse, but for tests that have it fail
}

// providerPage is how many providers' settings are loaded at a time.
const providerPage = 200

// Run passes once over every provider of refs. The error is about what all of
// them need, Postgres or NATS; a provider's own failure is in its Result.
func (r *Runner) Run(ctx context.Context, refs []db.Ref) (summary Summary, err error) {
	err = r.round(ctx, refs, &summary)
	return summary, err
}

// round adds one pass over every provider of refs to the summary of a run. Messages
// left are those of the last round.
func (r *Runner) round(ctx context.Context, refs []db.Ref, summary *Summary) error {
	r.init()
	summary.Providers += len(refs)
	summary.Left, summary.HeldBack, summary.Missing = 0, 0, 0
	if err := r.hosts.load(ctx, r.Store, r.now()); err != nil {
		summary.Skipped += len(refs)
		return err
	}
	told := ctx
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slots := make(chan struct{}, r.Options.Workers)
	var wg sync.WaitGroup
	var unread error // why settings were not loaded
	begun := 0
pages:
	for page := range slices.Chunk(refs, providerPage) {
		providers, err := r.Store.Providers(ctx, page)
		if err != nil {
			if told.Err() == nil {
				unread = err
			}
			cancel(err)
			break
		}
		begun += len(page) - len(providers) // removed meanwhile
		for _, p := range providers {
			if !r.takeSlot(ctx, slots) {
				break pages
			}
			begun++
			wg.Go(func() {
				defer func() { <-slots }()
				res := r.Pass(ctx, p)
				r.tell(summary, res)
				if res.Err != nil && systemic(res.Err) {
					cancel(res.Err)
				}
			})
		}
	}
	wg.Wait()
	summary.Skipped += len(refs) - begun
	summary.Dead = r.countDead(ctx, refs)
	if cause := context.Cause(ctx); cause != nil && systemic(cause) {
		return r.lossOf(ctx, cause)
	}
	return unread
}

// countDead counts the messages that wait for a person: no pass brings them up again.
func (r *Runner) countDead(ctx context.Context, refs []db.Ref) int {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishPatience)
	defer cancel()
	n, err := r.Store.CountDead(ctx, refs)
	if err != nil {
		r.Log.Warn("dead_not_counted", "error", err.Error())
	}
	return n
}

// Repeat runs over the providers of refs, and then, each interval after the run
// before began, over those that next names, until the runner is asked to end. A
// run that takes longer is not made up for. Connections are kept between runs.
func (r *Runner) Repeat(ctx context.Context, interval time.Duration, refs []db.Ref, next func(context.Context) ([]db.Ref, error)) (total Summary, err error) {
	r.keep = true
	defer r.sessions.Close()
	began := r.now()
	err = r.round(ctx, refs, &total)
	for err == nil && r.waitUntil(ctx, began.Add(interval)) {
		began = r.now()
		if refs, err = next(ctx); err == nil && len(refs) > 0 {
			err = r.Ready(ctx) // before anybody is touched
		}
		if err == nil {
			err = r.round(ctx, refs, &total)
		}
	}
	return total, err
}

// takeSlot waits until one more pass may begin. It reports false when nothing
// new is begun any more.
func (r *Runner) takeSlot(ctx context.Context, slots chan struct{}) bool {
	select {
	case <-r.Stop:
		return false
	case <-ctx.Done():
		return false
	case slots <- struct{}{}:
	}
	if ctx.Err() != nil || r.Stopping() {
		<-slots
		return false
	}
	return true
}

// tell counts how a pass ended and tells whoever listens, one at a time.
func (r *Runner) tell(summary *Summary, res Result) {
	r.report.Lock()
	defer r.report.Unlock()
	summary.add(res)
	if res.Err != nil && IsBug(res.Err) {
		r.reportBug(res)
	}
	if r.OnResult != nil {
		r.OnResult(res)
	}
}

// init fills in what was left out, once.
func (r *Runner) init() {
	r.once.Do(func() {
		r.Options = r.Options.withDefaults()
		r.inFlight = semaphore.NewWeighted(r.Options.MaxInFlightBytes)
		if r.parse == nil {
			r.parse = parse.Parse
		}
		r.buffers.Max = r.Options.MaxInFlightBytes
		r.dialer.Version, r.dialer.Buffers, r.dialer.Now = r.Options.Version, &r.buffers, r.clock().Now
	})
}

// Stopping reports whether the runner was asked to end: nothing new is begun.
func (r *Runner) Stopping() bool {
	select {
	case <-r.Stop:
		return true
	default:
		return false
	}
}
