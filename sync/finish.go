package sync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/internal/imapsession"
)

// finishPatience is how long the end of a pass may take to be written once the
// pass itself has been cancelled.
const finishPatience = 5 * time.Second

// finish records how the pass ended, and with that when the next one is due.
func (ps *pass) finish(ctx context.Context, err error) Result {
	res := ps.result(ctx, err)
	if errors.Is(res.Err, db.ErrFenced) || errors.Is(res.Err, db.ErrUnreachable) {
		return res // there is nothing we may, or can, write
	}
	now := ps.runner.now()
	end := db.Pass{Run: db.Run{
		StartedAt: ps.started, EndedAt: now, Counts: res.Counts, Folders: res.Folders, Bytes: res.Bytes,
		Host: ps.runner.Options.Host, Version: ps.runner.Options.Version,
	}}
	if res.Err != nil {
		ps.describeFailure(&res, &end, now)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishPatience)
	defer cancel()
	if err := ps.runner.Store.FinishPass(ctx, ps.fence, ps.provider, end); err != nil && res.Err == nil {
		res.Err = fmt.Errorf("provider %s: %w", ps.provider, err)
	}
	return res
}

// result is how work under the provider's lock ended.
func (ps *pass) result(ctx context.Context, err error) Result {
	res := Result{
		Ref: ps.ref, Provider: ps.provider, Counts: ps.counts, Folders: ps.folders, Left: ps.left, Bytes: ps.bytes.Load(),
		Duration: ps.runner.since(ps.started),
		states:   ps.states, silent: ps.served[imapsession.IdleFolder(ps.provider.Folders)],
	}
	if err != nil {
		res.Err, res.Partial = fmt.Errorf("provider %s: %w", ps.provider, ps.reason(ctx, err)), ps.partial
	}
	return res
}

// reason is why the work ended: what ended its context, unless the error is about
// what all providers need.
func (ps *pass) reason(ctx context.Context, err error) error {
	if errors.Is(err, db.ErrFenced) {
		ps.log.Warn("fenced", "epoch", ps.fence.Epoch)
		return err
	}
	// A wait for the broker that the lost lock ended says nothing about it.
	about := !errors.Is(err, errLockLost) && systemic(err)
	if cause := context.Cause(ctx); cause != nil && !about {
		return cause
	}
	return err
}

// maxAuthFailures is how many refusals of the credentials in a row pause a provider.
const maxAuthFailures = 3

// describeFailure says of a pass that failed what became of the provider, and
// when it is tried again.
func (ps *pass) describeFailure(res *Result, end *db.Pass, now time.Time) {
	class, code := Classify(res.Err)
	end.Error, end.ErrorCode = errors.Unwrap(res.Err).Error(), code
	end.AuthFailure, end.Partial = class == fault.Auth && !res.Partial, res.Partial
	if end.AuthFailure && ps.provider.AuthFailures+1 >= maxAuthFailures {
		end.PauseReason = db.PauseAuthFailure
		ps.log.Warn("provider_paused", "reason", end.PauseReason, "failures", maxAuthFailures)
	}
	if !res.Partial && !systemic(res.Err) {
		next := now.Add(max(ps.runner.retryAfter(res.Err, ps.provider.ConsecutiveFailures+1), backoffHint(res.Err)))
		end.NextAttemptAt, res.NextAttemptAt = &next, &next
	}
}

// retryAfter is how long a provider that failed so many times in a row is left
// alone. A process that watches comes back sooner to a connection that broke,
// but not to a server that refused or asked for patience.
func (r *Runner) retryAfter(err error, failures int) time.Duration {
	class, code := Classify(err)
	if r.Options.Reconnect > 0 && class == fault.Transient && !throttling(code) {
		return fullJitter(r.Options.Reconnect, reconnectMax, failures)
	}
	return backoff(failures)
}

// backoff grows from half a minute to half an hour, with jitter so that the
// providers of one broken host do not come back together.
func backoff(failures int) time.Duration {
	d := min(30*time.Second<<min(failures-1, 10), 30*time.Minute)
	return d/2 + rand.N(d/2)
}
