package sync

import (
	"context"
	"errors"
	"time"
)

// Clock tells the time and waits. Another one than the machine's lets tests run
// hours of waiting in milliseconds.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// machineClock is the clock unless a Runner is given another.
type machineClock struct{}

func (machineClock) Now() time.Time                         { return time.Now() }
func (machineClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

func (r *Runner) clock() Clock {
	if r.Clock == nil {
		return machineClock{}
	}
	return r.Clock
}

// now is the time in UTC, as everything is stored.
func (r *Runner) now() time.Time { return r.clock().Now().UTC() }

// since is how long ago t was.
func (r *Runner) since(t time.Time) time.Duration { return r.clock().Now().Sub(t) }

// until is how long it is to t.
func (r *Runner) until(t time.Time) time.Duration { return t.Sub(r.clock().Now()) }

// grace is how long the work in hand may take once the runner was asked to end.
const grace = 8 * time.Second

// ErrStopped ends work that was told to stop before it was done: a signal, or a
// deadline. It says nothing about a mailbox.
var ErrStopped = errors.New("told to stop")

// stopCause is why ctx ended: told to stop, unless somebody gave another reason.
func stopCause(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		return cause
	}
	return ErrStopped
}

// lastWords is how long it may take, behind the message in hand, to find out whose
// fault it is that it did not come, to publish and to commit.
const lastWords = time.Minute

// StopWith gives the runner its ends. When the deadline is over, unless it is 0, the
// runner begins nothing new and each pass finishes the message in hand (pass.watchTime).
// When ctx ends it does so too, and what takes longer than grace is cut off by the end
// of the context of the work, which is returned. cancel frees all of it.
func (r *Runner) StopWith(ctx context.Context, deadline time.Duration) (work context.Context, cancel context.CancelFunc) {
	orderly, stop := context.WithCancel(ctx)
	work, end := context.WithCancelCause(context.WithoutCancel(ctx))
	r.Stop, r.quit = orderly.Done(), ctx.Done()
	go func() {
		var over <-chan time.Time
		if deadline > 0 {
			over = r.clock().After(deadline)
		}
		select {
		case <-over:
			stop()
		case <-orderly.Done():
		}
		select {
		case <-ctx.Done():
		case <-work.Done():
			return
		}
		select {
		case <-r.clock().After(grace):
			end(ErrStopped)
		case <-work.Done():
		}
	}()
	return work, func() {
		end(nil)
		stop()
	}
}

// told reports whether the runner was told to end, and has little time left.
func (r *Runner) told() bool {
	select {
	case <-r.quit:
		return true
	default:
		return false
	}
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
