package sync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/internal/imapsession"
	"imapsync/publish"
)

// pass is one pass over one provider, under its lock.
type pass struct {
	runner   *Runner
	provider *db.Provider
	ref      db.Ref
	fence    db.Fence // of the lock: every write stands behind it
	unlock   func()
	log      *slog.Logger
	started  time.Time
	limits   publish.Limits

	session    *imapsession.Session
	kept       bool // the session is that of the last pass, and may have died unseen
	reconnects int
	logins     int
	states     map[string]*db.FolderState // as they are stored, by folder
	retries    map[string][]db.Quarantine // due, by folder
	again      map[string]bool            // keys of lost events that were published again
	served     map[string]bool            // folders of which messages were handled
	idle       string                     // the folder to wait in for the next pass

	counts  db.Counts
	folders int
	bare    bool // no message is in any folder of an account that was never read
	left    int
	bytes   atomic.Int64
	partial bool // some folders were served before or after one failed
	bug     atomic.Bool

	republished int // lost events that were published again

	gaveBodies int          // the last connection on which the control's body came; -1: none
	inHand     atomic.Int64 // size of the message that is being downloaded; 0: none
	expired    atomic.Bool  // the pass has had its time
}

// Pass reads what is new in one provider: lock, load, connect, survey, serve,
// finish. What went wrong is in the result.
func (r *Runner) Pass(ctx context.Context, p *db.Provider) (res Result) {
	r.init()
	defer survive(p, &res)
	// A host that turns connections away is left alone before a lock or another
	// connection is spent on it: a ban would hit all its providers. Whoever names
	// a mailbox has it tried.
	if reason := r.hosts.closed(p); reason != "" && !r.Options.Named {
		r.Log.Info("provider_deferred", "tenant", p.Tenant, "provider_id", p.ID, "provider", p.Name, "host", p.Host, "reason", reason)
		return Result{Ref: db.Ref{Tenant: p.Tenant, ID: p.ID}, Provider: p, Deferred: reason}
	}
	ctx, end := context.WithCancelCause(ctx)

	// Lock: one run at a time has a provider, and a run that lost the lock finds
	// a higher fence before whatever it would write.
	ps, ctx, res := r.lock(ctx, p)
	if ps == nil {
		end(nil)
		r.hosts.met(res)
		return res
	}
	defer ps.unlock()
	var watch sync.WaitGroup
	watch.Go(func() { ps.watchTime(ctx, end) })
	defer watch.Wait()
	defer end(nil)

	err := recovered(func() error {
		// Load: what the database knows, before a login is spent on a pass that
		// could not be recorded.
		if err := ps.load(ctx); err != nil {
			return err
		}
		// Connect: on the connection that the last pass kept, if it still lives.
		if err := ps.connect(ctx, true); err != nil {
			return err
		}
		defer ps.release()
		for {
			// Survey: STATUS tells which folders have nothing new, so that an idle
			// mailbox costs no SELECT.
			found, err := ps.survey(ctx)
			if err != nil {
				return err
			}
			// Compare: what the stream acknowledged is still there, or is made good
			// before anything new is put behind it.
			if err := ps.compare(ctx, len(found.work) > 0); err != nil {
				return err
			}
			// Serve: folder by folder, each from search to commit. A folder that
			// fails does not stop the others.
			taken, err := ps.serve(ctx, found)
			if err != nil || taken == 0 {
				return err
			}
			if again, err := ps.drains(ctx); !again {
				return err
			}
		}
	})

	// Finish: how it ended decides when the provider is tried next. That is
	// written even when ctx is over, while the lock is still held.
	res = ps.finish(ctx, err)
	r.hosts.met(res)
	return res
}

// maxRetries is how many quarantined messages one pass tries again.
const maxRetries = 20

// load reads the cursors, and which quarantined messages are due.
func (ps *pass) load(ctx context.Context) error {
	if err := ps.loadStates(ctx); err != nil {
		return err
	}
	if err := ps.noteFolders(ctx); err != nil {
		return err
	}
	return ps.loadRetries(ctx)
}

// noteFolders notes since when the mailbox is read with the folders and the account that
// it has: a folder that is met later was not shown before.
func (ps *pass) noteFolders(ctx context.Context) error {
	p := ps.provider
	named := AccountKey(p) + " " + strings.Join(p.Folders, "\n")
	if p.FoldersNamed == named {
		return nil
	}
	now := ps.runner.now()
	p.FoldersNamed, p.FoldersAt = named, &now
	return ps.runner.Store.NoteFolders(ctx, ps.fence, named, now)
}

// loadRetries reads which quarantined messages are due for their next attempt.
func (ps *pass) loadRetries(ctx context.Context) error {
	due, err := ps.runner.Store.QuarantineDue(ctx, ps.ref, ps.runner.now(), maxRetries)
	if err != nil {
		return err
	}
	ps.retries = map[string][]db.Quarantine{}
	ps.retry(due)
	return nil
}

// retry has messages of a folder tried by this pass, unless its retries have had their turn.
func (ps *pass) retry(due []db.Quarantine) {
	for _, q := range due {
		if ps.retries != nil {
			ps.retries[q.Folder] = append(ps.retries[q.Folder], q)
		}
	}
}

func (ps *pass) loadStates(ctx context.Context) (err error) {
	ps.states, err = ps.runner.Store.FolderStates(ctx, ps.ref)
	return err
}

// drains reports whether the pass goes round once more: for what was left, or for
// quarantined messages whose next attempt became due meanwhile.
func (ps *pass) drains(ctx context.Context) (bool, error) {
	if !ps.runner.Options.Drain || ps.mustEnd() {
		return false, nil
	}
	err := ps.loadRetries(ctx)
	return ps.left > 0 || len(ps.retries) > 0, err
}

// mustEnd reports whether nothing new is begun: the pass is ending, or the provider has
// had its bytes of the day.
func (ps *pass) mustEnd() bool { return ps.ending() || ps.quotaLeft() <= 0 }

// ending reports whether the runner was asked to end, or the pass has had its time.
func (ps *pass) ending() bool { return ps.runner.Stopping() || ps.expired.Load() }

// watchTime ends the pass when it has had its time, or the runner is to end: nothing new
// is begun, the message in hand has as long as any has, and what hangs then is cut off.
func (ps *pass) watchTime(ctx context.Context, end context.CancelCauseFunc) {
	timeouts, clock := ps.runner.Options.Timeouts.of(ps.provider), ps.runner.clock()
	cause := ErrStopped
	select {
	case <-ctx.Done():
		return
	case <-ps.runner.Stop:
	case <-clock.After(timeouts.Pass):
		ps.expired.Store(true)
		cause = transient("pass_timeout", fmt.Errorf("the pass took longer than %s", timeouts.Pass))
	}
	select {
	case <-ctx.Done():
	case <-clock.After(timeouts.body(ps.inHand.Load()) + lastWords):
		end(cause)
	}
}

// quotaLeft is what is left of the provider's bytes of the day.
func (ps *pass) quotaLeft() int64 {
	if ps.provider.MaxBytesPerDay <= 0 {
		return math.MaxInt64
	}
	return ps.provider.MaxBytesPerDay - ps.provider.BytesToday(ps.started) - ps.bytes.Load()
}

// errLockLost ends a pass whose lock connection died.
var errLockLost = errors.New("the lock connection died; another run may have the provider by now")

// lock takes the provider's lock and begins a pass under it, whose context ends when
// the lock's connection dies. The pass is nil when there is none: the result says why.
func (r *Runner) lock(ctx context.Context, p *db.Provider) (*pass, context.Context, Result) {
	started := r.now()
	ref := db.Ref{Tenant: p.Tenant, ID: p.ID}
	runID := uuid.NewString()
	lock, ok, err := r.Locks.TryLock(ctx, p.Tenant, p.ID, runID, started)
	if err != nil {
		return nil, ctx, Result{Ref: ref, Provider: p, Err: fmt.Errorf("provider %s: lock: %w", p, err)}
	}
	log := r.Log.With("tenant", p.Tenant, "provider_id", p.ID, "provider", p.Name, "run_id", runID)
	if !ok {
		log.Info("provider_busy")
		return nil, ctx, Result{Ref: ref, Provider: p, Busy: true}
	}
	ctx, unwatch := whileHeld(ctx, lock)
	return &pass{
		runner: r, provider: p, ref: ref, log: log, started: started, limits: r.publishLimits(p),
		fence: lock.Fence, unlock: func() {
			unwatch()
			lock.Unlock()
		},
		served: map[string]bool{}, gaveBodies: -1,
	}, ctx, Result{}
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
