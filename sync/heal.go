package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"imapsync/db"
	"imapsync/event"
	"imapsync/publish"
)

const (
	// comparedEvents is how many of a provider's last events are compared with the
	// stream before the first publish.
	comparedEvents = 20
	// goneAfter is how long mail of a lost event is looked for on its server at least,
	// by two passes: one look is no evidence.
	goneAfter = 15 * time.Minute
)

// healBounds are how much is published again unasked: a loss that is longer or larger
// waits for a person, as a whole.
func (o Options) healsAlone(spans []db.PublishedSpan) bool {
	events, first, last := extent(spans)
	return events <= int64(o.HealEvents) && last.Sub(first) <= o.HealSpan && o.HealSpan > 0
}

// compare makes sure, before anything is published, that the stream still has what
// it has acknowledged of this provider. What it has lost is published again, or said.
// news tells that there is mail to publish: without, what is known is enough.
func (ps *pass) compare(ctx context.Context, news bool) error {
	r, p := ps.runner, ps.provider
	state, fresh := r.Publisher.State()
	if !fresh || p.StreamSeq > state.Last || news && !r.broker.recently(ps.ref, r.now()) {
		if err := ps.unlessUnanswered(ctx, ps.findLoss(ctx)); err != nil {
			return err
		}
	}
	if r.broker.takeMarked(ps.ref) {
		reloaded, err := r.Store.Provider(ctx, ps.ref)
		if err != nil {
			return err
		}
		p.Lost, p.StreamSeq = reloaded.Lost, reloaded.StreamSeq
	}
	switch {
	case p.LostState == db.LostNone:
	case state.MaxAge > 0 && r.since(*p.LostUntil) > state.MaxAge: // the stream would have forgotten them
		return ps.settleLost(ctx, Republication{}, true)
	case p.LostState == db.LostHeal:
		return ps.heal(ctx, state.MaxAge)
	case r.broker.first(ps.ref):
		ps.log.Error("events_missing", "events", p.LostEvents, "since", p.LostSince)
	}
	return nil
}

// unlessUnanswered leaves out that the broker does not answer what the stream has, or lets
// nobody ask. Whether it takes new mail, publishing it will show.
func (ps *pass) unlessUnanswered(ctx context.Context, err error) error {
	if !errors.Is(err, event.ErrUnreachable) || ctx.Err() != nil {
		return err
	}
	ps.log.Warn("stream_not_compared", "error", err.Error())
	ps.runner.broker.done(ps.ref, ps.runner.now())
	return nil
}

// findLoss compares the last events of the provider with the stream. When its end is
// lost, all providers that had events there are marked.
func (ps *pass) findLoss(ctx context.Context) error {
	r, now := ps.runner, ps.runner.now()
	state, since, err := r.stream(ctx, ps.provider.StreamSeq)
	if err != nil {
		return err
	}
	var until time.Time
	if ps.provider.LostUntil != nil {
		until = *ps.provider.LostUntil
	}
	last, err := r.Store.LastEvents(ctx, ps.ref, since, until, now.Add(time.Minute), comparedEvents)
	if err != nil {
		return err
	}
	above, lost, err := ps.lastHeld(ctx, state, last, since)
	if err != nil {
		return err
	}
	if lost {
		if err := ps.markEnd(ctx, state, since, above); err != nil {
			return err
		}
	}
	r.broker.done(ps.ref, now)
	return nil
}

// markEnd marks all providers that had events where the stream has lost its end, and
// decides whether they are published again unasked. One pass does that for all.
func (ps *pass) markEnd(ctx context.Context, state publish.StreamState, since time.Time, above uint64) error {
	r := ps.runner
	r.broker.marking.Lock()
	defer r.broker.marking.Unlock()
	r.broker.marked.Store(ps.ref, true) // it is loaded again in any case
	now, err := r.Store.Provider(ctx, ps.ref)
	if before := ps.provider.LostUntil; err != nil || now.LostUntil != nil && (before == nil || now.LostUntil.After(*before)) {
		return err // another pass was first
	}
	spans, err := r.Store.UnmarkedSpans(ctx, since, r.now().Add(time.Minute), above)
	if err != nil {
		return err
	}
	decided := db.LostMissing
	if !state.Taken && r.Options.healsAlone(spans) {
		decided = db.LostHeal
	}
	r.Log.Error("stream_lost_end", append(extentAttrs(state, spans), "republished", decided == db.LostHeal)...)
	return r.markLost(ctx, spans, decided, "stream_lost_end", state, r.now())
}

// lastHeld looks for evidence that the stream has lost its end: it ends before where
// it acknowledged an event, or has another one there. Nothing there is none: the event
// expired or was purged. It returns the sequence above which events are lost.
func (ps *pass) lastHeld(ctx context.Context, state publish.StreamState, last []db.PublishedEvent, since time.Time) (above uint64, lost bool, err error) {
	first, err := ps.firstLost(ctx, state, last)
	if err != nil || first == 0 {
		return 0, false, err
	}
	// Not every server that answers has what the others have.
	state, agreed, err := ps.runner.Publisher.Agreed(ctx)
	if err != nil || !agreed {
		return 0, false, err
	}
	if first, err = ps.firstLost(ctx, state, last); err != nil || first == 0 {
		return 0, false, err
	}
	if first > state.Last {
		return state.Last, true, nil
	}
	// Others have published since: go back to the last event that is in its place.
	all, err := ps.runner.Store.PublishedEvents(ctx, ps.ref, since)
	if err != nil {
		return 0, false, err
	}
	slices.SortFunc(all, func(a, b db.PublishedEvent) int { return cmp.Compare(a.StreamSeq, b.StreamSeq) })
	all = slices.DeleteFunc(all, func(e db.PublishedEvent) bool { return e.StreamSeq == 0 || e.StreamSeq >= first })
	for len(all) > 0 {
		window := all[max(0, len(all)-comparedEvents):]
		all = all[:len(all)-len(window)]
		earlier, err := ps.firstLost(ctx, state, window)
		if err != nil {
			return 0, false, err
		}
		if earlier == 0 {
			return window[len(window)-1].StreamSeq, true, nil
		}
		first = earlier
	}
	return first - 1, true, nil
}

// firstLost is the lowest sequence at which the stream has something else than the
// event that it acknowledged, though it goes as far; 0 when there is none.
func (ps *pass) firstLost(ctx context.Context, state publish.StreamState, events []db.PublishedEvent) (first uint64, err error) {
	asked := make([]publish.Acknowledged, len(events))
	for i, e := range events {
		asked[i] = publish.Acknowledged{Key: e.EventKey, Seq: e.StreamSeq}
	}
	places, err := ps.runner.Publisher.Places(ctx, state, ps.ref.Tenant, ps.ref.ID, asked)
	if err != nil {
		return 0, err
	}
	var doubtful []db.PublishedEvent
	for i, place := range places {
		if place == publish.PlaceBeyond || place == publish.PlaceOther {
			doubtful = append(doubtful, events[i])
		}
	}
	absent, err := ps.runner.absent(ctx, ps.ref, doubtful) // it may have been copied, and numbered anew
	for _, e := range absent {
		if first == 0 || e.StreamSeq < first {
			first = e.StreamSeq
		}
	}
	return first, err
}

// heal publishes again what the stream has lost of the provider: not what it would have
// forgotten by now, nor what came after the loss was found. New mail does not wait for
// it: what fails here is tried by the next pass.
func (ps *pass) heal(ctx context.Context, maxAge time.Duration) error {
	p, r := ps.provider, ps.runner
	since := *p.LostSince
	if kept := r.now().Add(-maxAge); maxAge > 0 && kept.After(since) {
		since = kept
	}
	events, err := r.Store.PublishedEvents(ctx, ps.ref, since)
	if err != nil {
		return err
	}
	events = slices.DeleteFunc(events, func(e db.PublishedEvent) bool { return e.ProcessedAt.After(*p.LostUntil) })
	lost, err := r.absent(ctx, ps.ref, events)
	if err != nil {
		return ps.unlessUnanswered(ctx, err)
	}
	age := r.since(*p.LostUntil)
	rep, err := ps.republish(ctx, lost, age < shrunkPatience)
	if err != nil {
		if ps.endsPass(ctx, err) {
			return err
		}
		ps.log.Warn("republish_failed", "lost", len(lost), "republished", rep.Published, "error", err.Error())
		if !ps.session.Alive() {
			return ps.reconnect(ctx)
		}
		return nil
	}
	if ps.mustEnd() {
		return nil
	}
	looked := p.LastSuccessAt != nil && p.LastSuccessAt.After(*p.LostUntil) // by a pass before this one
	return ps.settleLost(ctx, rep, looked && age >= goneAfter && !rep.unsure)
}

// settleLost writes down what came of lost events. As long as it is not final, mail
// that was not found or not given is looked for again.
func (ps *pass) settleLost(ctx context.Context, rep Republication, final bool) error {
	before := ps.provider.Lost
	after := before
	after.LostEvents = int64(len(rep.Gone) + len(rep.Failed))
	switch {
	case after.LostEvents == 0, final && len(rep.Failed) == 0:
		after.LostState, after.LostSince, after.LostEvents = db.LostNone, nil, 0
	case final:
		after.LostState, after.LostEvents = db.LostMissing, int64(len(rep.Failed))
	}
	if ps.provider.Lost = after; after.LostState == before.LostState && after.LostEvents == before.LostEvents {
		return nil
	}
	return ps.runner.Store.SetLost(ctx, ps.fence, after, db.Audit{
		Tenant: ps.ref.Tenant, ProviderID: ps.ref.ID, At: ps.runner.now(), Actor: auditJob, Action: "events_republished",
		Detail: db.Detail{"republished": fmt.Sprint(rep.Published), "left": fmt.Sprint(after.LostEvents), "gone": strings.Join(rep.Gone[:min(len(rep.Gone), maxNamed)], " ")},
	})
}

// missing is how many events of the provider wait for a person's decision.
func (ps *pass) missing() int64 {
	if ps.provider.LostState != db.LostMissing {
		return 0
	}
	return ps.provider.LostEvents
}
