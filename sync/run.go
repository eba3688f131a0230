// Package sync reads new mail: one pass over every provider that is due.
// Import it as mailsync.
//
// A pass is one straight line: run → provider → folder → fetch → parse →
// publish → commit. Goroutines stand in few places: the bounded fan-out over
// providers (Runner.Run) or one for each watched account (Runner.Watch), the
// stages a chunk of messages goes through (folderPass.stages), the parsers and
// blob writers of one chunk (folderPass.prepare), the reader of a LIST
// (Session.startList), and the watch on the lock of a pass (whileHeld), whose
// connection package db keeps alive.
//
// Invariants: the cursor moves in the transaction that records what became of
// every UID it moves over, after the broker has acknowledged the events; flags
// are neither read nor written; a message, a folder or a provider that fails
// never stops another one; every wait on a server has a bound.
package sync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"imapsync/db"
	"imapsync/internal/fault"
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
	Drain            bool          // repeat passes until nothing is left
	Keep             bool          // keep connections between passes; the caller ends with CloseSessions
	Reconnect        time.Duration // first wait after a broken connection; 0: that after any failure, half a minute
	Host             string
	Version          string
}

// Defaults of Options.
const (
	DefaultWorkers          = 8
	DefaultMaxInFlightBytes = 64 << 20
	DefaultMaxMessageBytes  = 50_000_000
)

func (o Options) withDefaults() Options {
	if o.Workers <= 0 {
		o.Workers = DefaultWorkers
	}
	if o.MaxInFlightBytes <= 0 {
		o.MaxInFlightBytes = DefaultMaxInFlightBytes
	}
	if o.MaxMessageBytes <= 0 {
		o.MaxMessageBytes = DefaultMaxMessageBytes
	}
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
	Stop  <-chan struct{}
	Clock Clock // nil: the machine's
	// OnProgress and OnResult may be nil. They are called one at a time.
	OnProgress func(Progress)
	OnResult   func(Result)

	report   sync.Mutex
	inFlight *semaphore.Weighted
	buffers  imapsession.Buffers
	hosts    hosts
	sessions imapsession.Pool[db.Ref]
	dialer   imapsession.Dialer
	watching watching
	parse    func(raw []byte, lim parse.Limits) *parse.Message // parse.Parse, but for tests that have it fail
}

// Progress is where the pass over one provider stands.
type Progress struct {
	Provider *db.Provider
	Done     int   // messages handled
	Left     int   // messages known to wait, those of this pass included
	Bytes    int64 // downloaded
	Elapsed  time.Duration
}

// providerPage is how many providers' settings are loaded at a time.
const providerPage = 200

// Run passes once over every provider of refs. The error is about what all of
// them need, Postgres or NATS; a provider's own failure is in its Result.
func (r *Runner) Run(ctx context.Context, refs []db.Ref) (Summary, error) {
	r.init()
	if err := r.hosts.load(ctx, r.Store, time.Now()); err != nil {
		return Summary{Providers: len(refs), Skipped: len(refs)}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		summary  = Summary{Providers: len(refs)}
		slots    = make(chan struct{}, r.Options.Workers)
		wg       sync.WaitGroup
		finished = func(res Result) {
			r.report.Lock()
			defer r.report.Unlock()
			summary.add(res)
			if r.OnResult != nil {
				r.OnResult(res)
			}
			if res.Err != nil && systemic(res.Err) {
				cancel(res.Err)
			}
		}
	)
	begun := 0
pages:
	for page := range slices.Chunk(refs, providerPage) {
		providers, err := r.Store.Providers(ctx, page)
		if err != nil {
			cancel(err)
			break
		}
		begun += len(page) - len(providers) // removed meanwhile
		for _, p := range providers {
			select {
			case <-r.Stop:
				break pages
			case <-ctx.Done():
				break pages
			case slots <- struct{}{}:
			}
			if ctx.Err() != nil || r.stopping() {
				<-slots
				break pages
			}
			begun++
			wg.Go(func() {
				defer func() { <-slots }()
				finished(r.provider(ctx, p))
			})
		}
	}
	wg.Wait()
	summary.Skipped = len(refs) - begun
	if cause := context.Cause(ctx); cause != nil && systemic(cause) {
		return summary, cause
	}
	return summary, nil
}

// CloseSessions logs out of every connection kept between passes, all at once,
// and waits no longer than a server has for its goodbye.
func (r *Runner) CloseSessions() { r.sessions.Close() }

func (r *Runner) init() {
	r.Options = r.Options.withDefaults()
	r.inFlight = semaphore.NewWeighted(r.Options.MaxInFlightBytes)
	if r.parse == nil {
		r.parse = parse.Parse
	}
	r.buffers.Max = r.Options.MaxInFlightBytes
	r.dialer.Version, r.dialer.Buffers = r.Options.Version, &r.buffers
}

func (r *Runner) stopping() bool {
	select {
	case <-r.Stop:
		return true
	default:
		return false
	}
}

// errLockLost ends a pass whose lock connection died.
var errLockLost = errors.New("the lock connection died; another run may have the provider by now")

// provider runs the pass over one provider under its lock.
func (r *Runner) provider(ctx context.Context, p *db.Provider) Result {
	if reason := r.hosts.closed(p); reason != "" {
		r.Log.Info("provider_deferred", "tenant", p.Tenant, "provider_id", p.ID, "provider", p.Name, "host", p.Host, "reason", reason)
		return Result{Ref: db.Ref{Tenant: p.Tenant, ID: p.ID}, Provider: p, Deferred: reason}
	}
	timeouts := r.Options.Timeouts.of(p)
	ctx, cancel := context.WithTimeoutCause(ctx, timeouts.Pass,
		transient("pass_timeout", fmt.Errorf("the pass took longer than %s", timeouts.Pass)))
	defer cancel()
	res := r.locked(ctx, p, true, (*pass).run)
	if res.Err != nil {
		_, code := Classify(res.Err)
		r.hosts.failed(p.Host, code)
	}
	return res
}

// locked takes the provider's lock and does work under it. record has its end
// written to the provider's state, as that of a pass is.
func (r *Runner) locked(ctx context.Context, p *db.Provider, record bool, work func(*pass, context.Context) error) Result {
	started := time.Now()
	res := Result{Ref: db.Ref{Tenant: p.Tenant, ID: p.ID}, Provider: p}
	runID := newRunID()
	lock, ok, err := r.Locks.TryLock(ctx, p.Tenant, p.ID, runID, started.UTC())
	if err != nil {
		res.Err = fmt.Errorf("provider %s: lock: %w", p, err)
		return res
	}
	log := r.Log.With("tenant", p.Tenant, "provider_id", p.ID, "provider", p.Name, "run_id", runID)
	if !ok {
		log.Info("provider_busy")
		res.Busy = true
		return res
	}
	defer lock.Unlock()
	ctx, unwatch := whileHeld(ctx, lock)
	defer unwatch()
	ps := &pass{runner: r, provider: p, ref: res.Ref, fence: lock.Fence, served: map[string]bool{}, log: log, started: started, limits: r.eventLimits(p)}
	err = recovered(func() error { return work(ps, ctx) })
	res.Counts, res.Folders, res.Left, res.Bytes = ps.counts, ps.folders, ps.left, ps.bytes.Load()
	res.Duration = time.Since(started)
	if err != nil {
		// A wait for the broker that the lost lock ended says nothing about it.
		about := !errors.Is(err, errLockLost) && systemic(err)
		if cause := context.Cause(ctx); cause != nil && !about && !errors.Is(err, db.ErrFenced) {
			err = cause
		}
		if errors.Is(err, db.ErrFenced) {
			log.Warn("fenced", "epoch", lock.Fence.Epoch)
		}
		res.Err = fmt.Errorf("provider %s: %w", p, err)
		res.Partial = ps.partial
	}
	res.states, res.silent = ps.states, ps.served[imapsession.IdleFolder(p.Folders)]
	if !record {
		return res
	}
	if finishErr := ps.finish(ctx, &res); finishErr != nil && res.Err == nil {
		res.Err = fmt.Errorf("provider %s: %w", p, finishErr)
	}
	return res
}

// recovered makes a panic the failure of one provider.
func recovered(work func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fault.Newf(fault.Bug, "panic", "internal error: %v", v)
		}
	}()
	return work()
}

// whileHeld derives a context that ends when the lock's connection dies.
func whileHeld(ctx context.Context, lock *db.Lock) (context.Context, func()) {
	ctx, lost := context.WithCancelCause(ctx)
	go func() {
		select {
		case <-lock.Lost():
			lost(errLockLost)
		case <-ctx.Done():
		}
	}()
	return ctx, func() { lost(nil) }
}

// eventLimits are the publisher's, narrowed by the provider's own caps.
func (r *Runner) eventLimits(p *db.Provider) publish.Limits {
	lim := r.Publisher.Limits()
	if p.MaxAttachment > 0 {
		lim.AttachmentBytes = p.MaxAttachment
	}
	if p.MaxAttachments > 0 {
		lim.AttachmentTotalBytes = p.MaxAttachments
	}
	if p.MaxAttachmentN > 0 {
		lim.AttachmentCount = p.MaxAttachmentN
	}
	return lim
}
