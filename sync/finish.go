package sync

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"imapsync/db"
	"imapsync/internal/fault"
)

// finishPatience is how long the end of a pass may take to be written once the
// pass itself has been cancelled.
const finishPatience = 5 * time.Second

// finish records how the pass ended, and with that when the next one is due.
func (ps *pass) finish(ctx context.Context, err error) Result {
	res := ps.result(ctx, err)
	if errors.Is(res.Err, db.ErrFenced) || errors.Is(res.Err, db.ErrUnreachable) || errors.Is(res.Err, db.ErrReadOnly) {
		return res // there is nothing we may, or can, write
	}
	if res.unfinished() && res.Counts.Total() == 0 {
		return res // it says nothing about the mailbox, and did nothing to it
	}
	now := ps.runner.now()
	end := db.Pass{Run: db.Run{
		StartedAt: ps.started, EndedAt: now, Counts: res.Counts, Folders: res.Folders, Bytes: res.Bytes,
		Host: ps.runner.Options.Host, Version: ps.runner.Options.Version,
	}}
	if res.unfinished() {
		_, end.ErrorCode = Classify(res.Err)
		end.Unfinished, end.Error = true, errors.Unwrap(res.Err).Error()
	} else if res.Err != nil {
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
		Duration: ps.runner.since(ps.started), Republished: ps.republished, Missing: ps.missing(),
		Bug:    ps.bug.Load(),
		states: ps.states, logins: ps.logins, silent: ps.served[ps.idle], idle: ps.idle,
	}
	for _, st := range ps.states {
		res.HeldBack += int(st.Held)
	}
	if err != nil {
		res.Err, res.Partial = fmt.Errorf("provider %s: %w", ps.provider, ps.reason(ctx, err)), ps.partial
	}
	return res
}

// reason is why the work ended: what ended its context, unless the error is about
// what all providers need, or says as much and where.
func (ps *pass) reason(ctx context.Context, err error) error {
	if errors.Is(err, db.ErrFenced) {
		ps.log.Warn("fenced", "epoch", ps.fence.Epoch)
		return err
	}
	// A wait for the broker that a stop or the lost lock ended says nothing about it.
	if cause := context.Cause(ctx); cause != nil && (isOurs(cause) || !systemic(err)) && !(Stopped(err) && errors.Is(err, cause)) {
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
	if code == "no_bodies" {
		return backoff(failures, maxPutOff) // it goes on soon after the server is well
	}
	if r.watches && class == fault.Transient && !asksPatience(code) {
		return fullJitter(reconnectBase, reconnectMax, failures)
	}
	if code == "login_unclear" {
		return backoff(failures, maxUnclear)
	}
	return backoff(failures, maxBackoff)
}

// The longest that a provider is left alone. A login that is refused without a word
// about why never pauses it; were the password wrong, trying on would lock the account.
const (
	maxBackoff = 30 * time.Minute
	maxUnclear = 6 * time.Hour
)

// backoff grows from half a minute to most, with jitter so that the providers of one
// broken host do not come back together.
func backoff(failures int, most time.Duration) time.Duration {
	d := min(30*time.Second<<min(failures-1, 12), most)
	return d/2 + rand.N(d/2)
}

// Result is how the pass over one provider ended.
type Result struct {
	Ref      db.Ref
	Provider *db.Provider // nil when it could not be loaded
	Busy     bool         // another run holds the lock
	Deferred string       // why its host is left alone for now; "" when it is not
	Err      error        // nil when everything went well
	Partial  bool         // Err is about some folders only, the others were served
	Bug      bool         // a message met a mistake of this program's, whatever became of the others
	Counts   db.Counts
	Folders  int // looked at
	Left     int // messages known to wait for the next pass
	HeldBack int // old messages of folders that were numbered anew, for a person to decide about
	Bytes    int64
	Duration time.Duration

	Republished int   // lost events that were published again
	Missing     int64 // events that the stream has lost, and that a person decides about

	NextAttemptAt *time.Time // set when the provider failed and is left alone for a while

	states map[string]*db.FolderState // as the pass left them
	logins int                        // that the pass needed
	idle   string                     // the folder to IDLE on, as the server knows it
	silent bool                       // in the pass, it had mail
}

// bug reports whether the pass met a mistake of this program's.
func (res *Result) bug() bool { return res.Bug || res.Err != nil && IsBug(res.Err) }

// unfinished reports whether our own side ended the pass, which says nothing about
// the provider.
func (res *Result) unfinished() bool { return res.Err != nil && isOurs(res.Err) }

// Outcome is how the pass ended in a word: ok, partial, failed, unfinished (by our own
// side's doing), busy or deferred.
func (res *Result) Outcome() string {
	switch {
	case res.Busy:
		return "busy"
	case res.Deferred != "":
		return "deferred"
	case res.Err == nil:
		return "ok"
	case res.unfinished():
		return "unfinished"
	case res.Partial:
		return "partial"
	}
	return "failed"
}

// Summary counts the providers of a run.
type Summary struct {
	Providers  int       `json:"providers"`
	OK         int       `json:"ok"`
	Partial    int       `json:"partial"` // some folders failed
	Failed     int       `json:"failed"`
	Unfinished int       `json:"unfinished"` // our own side ended the pass; they are not charged with it
	Busy       int       `json:"busy"`
	Deferred   int       `json:"deferred"` // left for later: their host turned others away
	Skipped    int       `json:"skipped"`  // not begun: the run was ended
	Bugs       int       `json:"bugs"`     // of those passed over, how many met a mistake of this program's
	Counts     db.Counts `json:"counts"`
	Left       int       `json:"left"`
	HeldBack   int       `json:"held"` // old mail, for a person to decide about
	Dead       int       `json:"dead"` // messages in quarantine that wait for a person, of all these providers
	Bytes      int64     `json:"bytes"`

	Republished int   `json:"republished"` // lost events that were published again
	Missing     int64 `json:"missing"`     // events that the stream has lost, and that a person decides about
}

func (s *Summary) add(res Result) {
	s.Counts.Plus(res.Counts)
	s.Left += res.Left
	s.HeldBack += res.HeldBack
	s.Bytes += res.Bytes
	s.Republished += res.Republished
	s.Missing += res.Missing
	if res.bug() {
		s.Bugs++
	}
	switch res.Outcome() {
	case "busy":
		s.Busy++
	case "deferred":
		s.Deferred++
	case "ok":
		s.OK++
	case "unfinished":
		s.Unfinished++
	case "partial":
		s.Partial++
	default:
		s.Failed++
	}
}

// Progress is where the pass over one provider stands.
type Progress struct {
	Provider *db.Provider
	Done     int   // messages handled
	Left     int   // messages known to wait, those of this pass included
	Bytes    int64 // downloaded
	Elapsed  time.Duration
}

// progress tells whoever listens where a pass stands, one at a time.
func (r *Runner) progress(ps *pass, left int) {
	if r.OnProgress == nil {
		return
	}
	r.report.Lock()
	defer r.report.Unlock()
	r.OnProgress(Progress{Provider: ps.provider, Done: ps.counts.Total(), Left: left, Bytes: ps.bytes.Load(), Elapsed: r.since(ps.started)})
}
