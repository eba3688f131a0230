package sync

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/internal/fault"
)

// errLockLost ends a pass whose lock connection died.
var errLockLost = errors.New("the lock connection died; another run may have the provider by now")

// lock takes the provider's lock and begins a pass under it, whose context ends
// when the lock's connection dies. The pass is nil when there is none: the
// result says why.
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
		served: map[string]bool{},
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

// recovered makes a panic the failure of one provider.
func recovered(work func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fault.Newf(fault.Bug, "panic", "internal error: %v", v)
		}
	}()
	return work()
}
