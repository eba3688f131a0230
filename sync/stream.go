package sync

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"imapsync/db"
	"imapsync/publish"
)

// lookInterval is how long a process that stays goes without comparing the last
// events of a provider with the stream, while its connection holds.
const lookInterval = 10 * time.Minute

// broker is what a process knows of the stream that it publishes to.
type broker struct {
	marked  sync.Map   // by provider: its events were marked as lost
	marking sync.Mutex // held while they are

	mu       sync.Mutex // held while the broker and the database are asked: all passes wait for the same answer
	created  time.Time  // of the stream that since is about
	since    time.Time  // rows of the ledger that are older were on another stream
	lookedAt time.Time
	compared map[db.Ref]time.Time // when the last events of a provider were compared
	said     map[db.Ref]bool      // that events of a provider are missing
	bucket   time.Time            // when the bucket was created that was seen
}

// recently reports whether the last events of a provider were compared with the
// stream over this connection.
func (b *broker) recently(ref db.Ref, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.compared[ref]
	return ok && now.Sub(at) < lookInterval
}

// done notes that the last events of a provider were compared.
func (b *broker) done(ref db.Ref, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.compared == nil {
		b.compared = map[db.Ref]time.Time{}
	}
	b.compared[ref] = now
}

// takeMarked reports, once, whether this process has marked events of a provider as lost
// since its state was loaded, maybe.
func (b *broker) takeMarked(ref db.Ref) bool {
	_, ok := b.marked.LoadAndDelete(ref)
	return ok
}

// first reports whether nothing was said yet of a provider's missing events.
func (b *broker) first(ref db.Ref) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.said == nil {
		b.said = map[db.Ref]bool{}
	}
	was := b.said[ref]
	b.said[ref] = true
	return !was
}

// stream tells what the stream looks like, and since when rows of the ledger are
// about it. The broker is asked when the connection was made again, when a while has
// passed, and when what is known is older than a sequence that was acknowledged.
func (r *Runner) stream(ctx context.Context, acknowledged uint64) (state publish.StreamState, since time.Time, err error) {
	b, now := &r.broker, r.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.lookedAt.IsZero() {
		b.lookedAt = now // by NewPublisher
	}
	state, fresh := r.Publisher.State()
	if !fresh || now.Sub(b.lookedAt) >= lookInterval || acknowledged > state.Last {
		if state, err = r.Publisher.LookAgain(ctx); err != nil {
			return state, since, err
		}
		b.lookedAt = now
	}
	if !fresh {
		clear(b.compared)
	}
	if !state.Created.Equal(b.created) {
		if since, err = r.see(ctx, state); err != nil {
			return state, since, err
		}
		b.created, b.since = state.Created, since
	}
	return state, b.since, nil
}

// SeeStream writes down which stream the runner publishes to, and what the ledger
// says was on one before it.
func (r *Runner) SeeStream(ctx context.Context) error {
	r.init()
	_, _, err := r.stream(ctx, 0)
	return err
}

// see finds out since when rows of the ledger are about a stream. One that was not
// seen before has none of the older events, unless they were copied to it.
func (r *Runner) see(ctx context.Context, state publish.StreamState) (since time.Time, err error) {
	seen, err := r.Store.SeenStreams(ctx, state.Name)
	if err != nil {
		return since, err
	}
	for _, s := range seen {
		if s.CreatedAt.Equal(state.Created) {
			return s.Since, nil
		}
	}
	now := r.now()
	since = now
	if len(seen) == 0 && state.Created.Before(now) {
		since = state.Created // it may have been there for long
	}
	var from time.Time
	if state.MaxAge > 0 {
		from = now.Add(-state.MaxAge)
	}
	spans, err := r.Store.UnmarkedSpans(ctx, from, since, 0)
	if err != nil {
		return since, err
	}
	var missing []db.PublishedSpan
	for _, span := range spans {
		held, err := r.holdsLast(ctx, span, from, state.Created)
		if err != nil {
			return since, err
		}
		if !held {
			missing = append(missing, span)
		}
	}
	if len(missing) > 0 {
		r.Log.Error("stream_made_anew", extentAttrs(state, missing)...)
	}
	if err := r.markLost(ctx, missing, db.LostMissing, "stream_made_anew", state, now); err != nil {
		return since, err
	}
	return since, r.Store.SeeStream(ctx, seenStream(state, since))
}

func seenStream(state publish.StreamState, since time.Time) db.SeenStream {
	return db.SeenStream{Name: state.Name, CreatedAt: state.Created, Since: since, MaxAgeMS: state.MaxAge.Milliseconds(), Replicas: state.Replicas}
}

// holdsLast reports whether the stream has the last events from before it was created,
// wherever they stand: it is a copy of the one before.
func (r *Runner) holdsLast(ctx context.Context, span db.PublishedSpan, from, created time.Time) (bool, error) {
	last, err := r.Store.LastEvents(ctx, span.Ref, from, time.Time{}, created, comparedEvents)
	if err == nil && len(last) == 0 { // by our clock there are none
		last, err = r.Store.LastEvents(ctx, span.Ref, from, time.Time{}, span.Last.Add(time.Second), comparedEvents)
	}
	if err != nil {
		return false, err
	}
	absent, err := r.absent(ctx, span.Ref, last)
	return len(absent) == 0, err
}

// absent are those of a provider's events that the stream does not have.
func (r *Runner) absent(ctx context.Context, ref db.Ref, events []db.PublishedEvent) (absent []db.PublishedEvent, err error) {
	keys := make([]string, len(events))
	for i, e := range events {
		keys[i] = e.EventKey
	}
	found, err := r.Publisher.Held(ctx, ref.Tenant, ref.ID, keys)
	if err != nil {
		return nil, err
	}
	for i, e := range events {
		if !found[i] {
			absent = append(absent, e)
		}
	}
	return absent, nil
}

// extentAttrs say in the log how much is lost.
func extentAttrs(stream publish.StreamState, spans []db.PublishedSpan) []any {
	total, first, last := extent(spans)
	return []any{"stream", stream.Name, "events", total, "providers", len(spans), "since", first, "until", last}
}

// markLost writes down which providers events are lost of; what is the alarm's name.
func (r *Runner) markLost(ctx context.Context, spans []db.PublishedSpan, state db.LostState, what string, stream publish.StreamState, now time.Time) error {
	for _, span := range spans {
		err := r.Store.MarkLost(ctx, span, state, now, db.Audit{
			Tenant: span.Tenant, ProviderID: span.ID, At: now, Actor: auditJob, Action: "events_lost",
			Detail: db.Detail{"stream": stream.Name, "code": what, "events": fmt.Sprint(span.Events), "state": string(state),
				"since": span.First.UTC().Format(time.RFC3339), "until": span.Last.UTC().Format(time.RFC3339)},
		})
		if err != nil {
			return err
		}
		r.broker.marked.Store(span.Ref, true)
	}
	return nil
}

// auditJob is the actor of what a run does by itself.
const auditJob = "imapsync"

// extent is how many events spans have together, and from when to when.
func extent(spans []db.PublishedSpan) (events int64, first, last time.Time) {
	for i, s := range spans {
		events += s.Events
		if i == 0 || s.First.Before(first) {
			first = s.First
		}
		if s.Last.After(last) {
			last = s.Last
		}
	}
	return events, first, last
}

// seeBucket writes down which bucket blobs stand in, so that its loss is noticed.
func (r *Runner) seeBucket(ctx context.Context) error {
	blobs, err := r.Publisher.Blobs(ctx)
	if err != nil {
		return err
	}
	state, b := blobs.State(), &r.broker
	b.mu.Lock()
	defer b.mu.Unlock()
	if state.Created.Equal(b.bucket) {
		return nil
	}
	seen, err := r.Store.SeenStreams(ctx, state.Name)
	if err != nil {
		return err
	}
	known := false
	for _, s := range seen {
		known = known || s.CreatedAt.Equal(state.Created)
	}
	if !known {
		if len(seen) > 0 {
			r.Log.Error("bucket_made_anew", "bucket", bucketOf(state.Name), "since", seen[0].Since)
		}
		if err := r.Store.SeeStream(ctx, seenStream(state, r.now())); err != nil {
			return err
		}
	}
	b.bucket = state.Created
	return nil
}

// bucketOf is the name of the bucket that a stream is of; "" for another stream.
func bucketOf(stream string) string {
	bucket, ok := strings.CutPrefix(stream, "OBJ_")
	if !ok {
		return ""
	}
	return bucket
}
