package publish

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

// Result says where an event is.
type Result struct {
	Seq       uint64 // its sequence on the stream
	Duplicate bool   // the stream had it before this publish, or before its repetition
	Attempts  int    // how often it was sent; with Duplicate, more than 1 may mean that it was this one
}

// Ack is an event on its way. Wait is for one goroutine.
type Ack struct {
	p        *Publisher
	msg      *nats.Msg
	future   jetstream.PubAckFuture
	attempts int
	began    time.Time
	late     bool // the last try failed, and the broker had been silent for too long

	done   bool
	result Result
	err    error
}

// Wait returns once the event is stored, publishing it again while the broker
// does not answer, until ctx ends or Patience does. Errors wrap ErrStreamFull,
// ErrStream, ErrNoJetStream, ErrTooLarge, ErrUnreachable or ErrTimeout; after
// each of them the event may be published again without harm.
func (a *Ack) Wait(ctx context.Context) (Result, error) {
	if !a.done {
		result, err := a.wait(ctx)
		if err != nil && ctx.Err() != nil {
			return Result{}, err // not final: it may be asked for again
		}
		a.result, a.err, a.done = result, err, true
		a.msg, a.future = nil, nil
	}
	return a.result, a.err
}

func (a *Ack) wait(ctx context.Context) (Result, error) {
	var lost time.Time // since when nothing listens on the subject
	for {
		if a.future == nil {
			if err := a.send(ctx); err != nil {
				return Result{}, fmt.Errorf("publish: %w", err)
			}
		}
		ack, err := answer(ctx, a.future)
		if err == nil {
			return Result{Seq: ack.Sequence, Duplicate: ack.Duplicate, Attempts: a.attempts}, nil
		}
		if ctx.Err() != nil {
			return Result{}, fmt.Errorf("publish: %w: %w", event.ErrTimeout, context.Cause(ctx))
		}
		a.future = nil
		verdict, named := a.p.verdictOf(err)
		if verdict == duplicate {
			if seq := a.storedAt(ctx, err); seq > 0 {
				return Result{Seq: seq, Duplicate: true, Attempts: a.attempts}, nil
			}
			verdict, named = again, fmt.Errorf("%w: %w", event.ErrTimeout, err) // it was there a moment ago
		}
		if verdict == failed {
			return Result{}, fmt.Errorf("publish: %w", named)
		}
		if a.overdue() {
			return Result{}, fmt.Errorf("publish: no answer for %s: %w", a.p.patience, named)
		}
		switch {
		case !errors.Is(named, event.ErrStream):
			lost = time.Time{}
		case lost.IsZero():
			lost = time.Now()
		case time.Since(lost) > a.p.grace:
			return Result{}, fmt.Errorf("publish: %w", a.p.goneOr(ctx, named))
		}
		if a.attempts == 1 {
			continue // a whole window may have failed at once, long before each is asked for
		}
		if err := sleep(ctx, backoff(a.attempts-1)); err != nil {
			return Result{}, fmt.Errorf("publish: %w: %w", named, err)
		}
	}
}

// overdue is asked after a try that failed. It reports whether the broker has
// answered no publish at all for longer than may be; one that is slow has. It
// takes two such tries: a process that was stopped, or whose node slept, has
// given the broker no time.
func (a *Ack) overdue() bool {
	was, silent := a.late, time.Since(time.Unix(0, a.p.heard.Load()))
	a.late = min(time.Since(a.began), silent) > a.p.patience
	return was && a.late
}

// verdictOf is the package's, and tells a broker that does not answer from one that
// forbids: that one says so on the connection only.
func (p *Publisher) verdictOf(err error) (verdict, error) {
	if errors.Is(err, jetstream.ErrAsyncPublishTimeout) && errors.Is(p.nc.LastError(), nats.ErrPermissionViolation) {
		return failed, fmt.Errorf("%w: %w", event.ErrConfig, p.nc.LastError())
	}
	return verdictOf(err)
}

// answer waits for what the broker says to a publish.
func answer(ctx context.Context, future jetstream.PubAckFuture) (*jetstream.PubAck, error) {
	select {
	case ack := <-future.Ok():
		return ack, nil
	case err := <-future.Err():
		return nil, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// send puts the event on its way, as soon as there is room in the window and a
// connection.
func (a *Ack) send(ctx context.Context) error {
	p, weight := a.p, a.p.weight(a.msg)
	if err := p.window.Acquire(ctx, weight); err != nil {
		return fmt.Errorf("%w: %w", event.ErrTimeout, context.Cause(ctx))
	}
	// Each send has a Msg of its own: the handlers of an earlier one may still
	// be on their way.
	if a.attempts > 0 {
		a.msg = &nats.Msg{Subject: a.msg.Subject, Header: a.msg.Header, Data: a.msg.Data}
	}
	p.sending.Lock()
	p.onWay[a.msg] = weight
	p.sending.Unlock()
	for try := 1; ; try++ {
		future, err := p.js.PublishMsgAsync(a.msg)
		if err == nil {
			a.future = future
			a.attempts++
			return nil
		}
		verdict, named := verdictOf(err)
		overdue := verdict == again && a.overdue()
		if verdict == again && !overdue && sleep(ctx, backoff(try)) == nil {
			continue
		}
		p.arrived(a.msg)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("%w: %w", named, context.Cause(ctx))
		case overdue:
			return fmt.Errorf("no answer for %s: %w", p.patience, named)
		}
		return named
	}
}

// storedAt returns the sequence at which the stream has the event, 0 when it
// has not. The broker names it in the text of its refusal.
func (a *Ack) storedAt(ctx context.Context, refusal error) uint64 {
	if api, ok := errors.AsType[*jetstream.APIError](refusal); ok {
		if _, number, found := strings.Cut(api.Description, ": "); found {
			if seq, err := strconv.ParseUint(number, 10, 64); err == nil && seq > 0 {
				return seq
			}
		}
	}
	m, err := lastOn(ctx, a.p.stream, a.msg.Subject)
	if err != nil {
		return 0
	}
	return m.Sequence
}
