package sync

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"imapsync/db"
	"imapsync/internal/fault"
)

// finishPatience is how long the end of a pass may take to be written once the
// pass itself has been cancelled.
const finishPatience = 5 * time.Second

// finish records how the pass ended.
func (ps *pass) finish(ctx context.Context, res *Result) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishPatience)
	defer cancel()
	now := time.Now().UTC()
	end := db.Pass{
		StartedAt: ps.started.UTC(), EndedAt: now, Counts: ps.counts, Folders: ps.folders, Bytes: ps.bytes.Load(),
		Host: ps.runner.Options.Host, Version: ps.runner.Options.Version,
	}
	if res.Err != nil {
		if errors.Is(res.Err, db.ErrFenced) || errors.Is(res.Err, db.ErrUnreachable) {
			return nil // there is nothing we may, or can, write
		}
		var class fault.Class
		class, end.ErrorCode = Classify(res.Err)
		end.Error = errors.Unwrap(res.Err).Error()
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
	return ps.runner.Store.FinishPass(ctx, ps.fence, ps.provider, end)
}

// maxAuthFailures is how many refusals of the credentials in a row pause a provider.
const maxAuthFailures = 3

// retryAfter is how long a provider that failed so many times in a row is left
// alone. A process that watches comes back sooner to a connection that broke,
// but not to a server that refused or asked for patience.
func (r *Runner) retryAfter(err error, failures int) time.Duration {
	if r.Options.Reconnect > 0 {
		switch class, code := Classify(err); {
		case class != fault.Transient || throttling(code):
		default:
			return fullJitter(r.Options.Reconnect, reconnectMax, failures)
		}
	}
	return backoff(failures)
}

// backoff grows from half a minute to half an hour, with jitter so that the
// providers of one broken host do not come back together.
func backoff(failures int) time.Duration {
	d := min(30*time.Second<<min(failures-1, 10), 30*time.Minute)
	return d/2 + rand.N(d/2)
}
