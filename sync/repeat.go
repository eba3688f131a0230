package sync

import (
	"context"
	"errors"
	"time"

	"imapsync/db"
)

// grace is how long the work in hand may take once the runner was asked to end.
const grace = 8 * time.Second

// errAskedToEnd ends the work that takes longer than grace.
var errAskedToEnd = errors.New("the run was asked to end")

// StopWith gives the runner its two ends: Stop asks for an orderly one when ctx
// ends or, unless it is 0, the deadline is over; the context of the work, which
// is returned, ends a little later. cancel frees both.
func (r *Runner) StopWith(ctx context.Context, deadline time.Duration) (work context.Context, cancel context.CancelFunc) {
	orderly, stop := context.WithCancel(ctx)
	work, end := context.WithCancelCause(context.WithoutCancel(ctx))
	r.Stop = orderly.Done()
	go func() {
		var over <-chan time.Time
		if deadline > 0 {
			over = r.clock().After(deadline)
		}
		select {
		case <-over:
		case <-orderly.Done():
		}
		stop()
		select {
		case <-r.clock().After(grace):
			end(errAskedToEnd)
		case <-work.Done():
		}
	}()
	return work, func() {
		end(nil)
		stop()
	}
}

// Repeat runs over the providers of refs, and then, each interval after the run
// before began, over those that next names, until the runner is asked to end. A
// run that takes longer is not made up for. Connections are kept between runs.
func (r *Runner) Repeat(ctx context.Context, interval time.Duration, refs []db.Ref, next func(context.Context) ([]db.Ref, error)) (Summary, error) {
	r.Options.Keep = true
	defer r.CloseSessions()
	began := r.now()
	total, err := r.Run(ctx, refs)
	for err == nil && r.waitUntil(ctx, began.Add(interval)) {
		began = r.now()
		if refs, err = next(ctx); err != nil {
			break
		}
		var summary Summary
		summary, err = r.Run(ctx, refs)
		total.Plus(summary)
	}
	return total, err
}

// waitUntil waits for a time. It reports false when the runner is asked to end
// before, or ctx ends.
func (r *Runner) waitUntil(ctx context.Context, t time.Time) bool {
	select {
	case <-r.Stop:
		return false
	case <-ctx.Done():
		return false
	case <-r.clock().After(r.until(t)):
		return true
	}
}
