package db

import (
	"context"
	"time"

	"github.com/lib/pq"
)

// Lost is what the stream has lost of a provider after it had acknowledged it.
type Lost struct {
	LostState   LostState  `db:"lost_state"`
	LostSince   *time.Time `db:"lost_since"`  // when the first of the lost events was published
	LostUntil   *time.Time `db:"lost_until"`  // up to here the ledger was compared with the stream
	LostEvents  int64      `db:"lost_events"` // how many, at most, are not on the stream
	Republished int64      `db:"republished"` // how many were published again, in all
}

// LostState says what is to be done about lost events.
type LostState string

// The states of lost events.
const (
	LostNone    LostState = ""        // none are known
	LostHeal    LostState = "heal"    // the next pass publishes them again
	LostMissing LostState = "missing" // a person decides
)

// PublishedEvent is an event as the ledger remembers it.
type PublishedEvent struct {
	EventKey    string    `db:"event_key"`
	StreamSeq   uint64    `db:"stream_seq"` // 0: not known
	ProcessedAt time.Time `db:"processed_at"`
}

// PublishedEvents lists what was published of a provider since a time, oldest first.
func (s *Store) PublishedEvents(ctx context.Context, ref Ref, since time.Time) ([]PublishedEvent, error) {
	return selectAll[PublishedEvent](ctx, s, "published events", `
		SELECT event_key, coalesce(stream_seq, 0) AS stream_seq, processed_at FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published' AND processed_at >= $3
		ORDER BY processed_at, stream_seq`, ref.Tenant, ref.ID, since)
}

// LastEvents lists the events of a provider that were published last before a time, the
// newest first, unless they are older than since or were looked at until a time.
func (s *Store) LastEvents(ctx context.Context, ref Ref, since, until, before time.Time, limit int) ([]PublishedEvent, error) {
	return selectAll[PublishedEvent](ctx, s, "last events", `
		SELECT event_key, stream_seq, processed_at FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published' AND stream_seq > 0
			AND processed_at >= $3 AND processed_at > $4 AND processed_at < $5
		ORDER BY processed_at DESC, stream_seq DESC LIMIT $6`, ref.Tenant, ref.ID, since, until, before, limit)
}

// EventPlace is where the mail of an event may be read again.
type EventPlace struct {
	EventKey    string  `db:"event_key"`
	Folder      string  `db:"folder"`
	UIDValidity uint64  `db:"uid_validity"` // 0: of a numbering that was put aside
	UID         uint32  `db:"uid"`
	Outcome     Outcome `db:"outcome"`
	ByHeader    bool    `db:"by_header"`
}

// EventPlaces lists where the mails of events stood, copies too, those that were
// published first.
func (s *Store) EventPlaces(ctx context.Context, ref Ref, keys []string) ([]EventPlace, error) {
	return selectAll[EventPlace](ctx, s, "places of events", `
		SELECT event_key, folder, greatest(uid_validity, 0) AS uid_validity, uid, outcome, by_header FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND event_key = ANY($3::text[])
			AND outcome IN ('published', 'duplicate')
		ORDER BY event_key, outcome DESC, folder, uid`, ref.Tenant, ref.ID, pq.StringArray(keys))
}

// PublishedSpan is how much was published of a provider, and from when to when.
type PublishedSpan struct {
	Ref
	Events int64     `db:"events"`
	First  time.Time `db:"first_at"`
	Last   time.Time `db:"last_at"`
}

// PublishedSpans tells of each provider what the ledger says was published from a time
// until before another, and acknowledged with a sequence above one. It reads the
// whole ledger: it is asked when events are lost.
func (s *Store) PublishedSpans(ctx context.Context, from, until time.Time, above uint64) ([]PublishedSpan, error) {
	return selectAll[PublishedSpan](ctx, s, "published events", `
		SELECT tenant, provider_id AS id, count(*) AS events, min(processed_at) AS first_at, max(processed_at) AS last_at
		FROM imap_messages
		WHERE outcome = 'published' AND stream_seq > $3 AND processed_at >= $1 AND processed_at < $2
		GROUP BY tenant, provider_id ORDER BY tenant, provider_id`, from, until, int64(above))
}

// UnmarkedSpans is PublishedSpans without what is known to be missing.
func (s *Store) UnmarkedSpans(ctx context.Context, from, until time.Time, above uint64) ([]PublishedSpan, error) {
	return selectAll[PublishedSpan](ctx, s, "events published and not missing", `
		SELECT m.tenant, m.provider_id AS id, count(*) AS events, min(m.processed_at) AS first_at, max(m.processed_at) AS last_at
		FROM imap_messages AS m JOIN imap_sync_state AS st ON st.tenant = m.tenant AND st.provider_id = m.provider_id
		WHERE m.outcome = 'published' AND m.stream_seq > $3 AND m.processed_at >= $1 AND m.processed_at < $2
			AND NOT (st.lost_state = 'missing' AND m.processed_at BETWEEN st.lost_since AND st.lost_until)
		GROUP BY m.tenant, m.provider_id ORDER BY m.tenant, m.provider_id`, from, until, int64(above))
}

// MarkLost writes down that the stream has lost events of a provider, as was found at
// a time, with an entry in the audit log, and makes it due. What another process has
// looked at meanwhile stays; and so does that a person decides, where more is lost.
func (s *Store) MarkLost(ctx context.Context, span PublishedSpan, state LostState, at time.Time, a Audit) error {
	return s.inTx(ctx, func(tx *txn) error {
		marked := tx.exec(ctx, "mark lost", `
			UPDATE imap_sync_state SET stream_seq = 0, lost_until = $6, lost_since = least(lost_since, $4),
				lost_events = CASE WHEN lost_state = '' THEN $5::bigint ELSE lost_events + $5::bigint END,
				lost_state = CASE WHEN lost_state = 'missing' THEN 'missing' ELSE $3::text END,
				next_attempt_at = CASE WHEN consecutive_failures = 0 THEN NULL ELSE next_attempt_at END
			WHERE tenant = $1 AND provider_id = $2 AND (lost_until IS NULL OR lost_until < $7)`,
			span.Tenant, span.ID, string(state), span.First, span.Events, at, span.Last)
		if marked > 0 {
			tx.audit(ctx, a)
		}
		return tx.err
	})
}

// PublishAgain writes down, behind the fence, that events stand on the stream once
// more, at which sequences, and how many bytes were downloaded for that.
func (s *Store) PublishAgain(ctx context.Context, fence Fence, events []PublishedEvent, bytes int64, at time.Time) error {
	keys, seqs := make(pq.StringArray, len(events)), make(pq.Int64Array, len(events))
	last := int64(0)
	for i, e := range events {
		keys[i], seqs[i] = e.EventKey, int64(e.StreamSeq)
		last = max(last, seqs[i])
	}
	return s.behind(ctx, fence, func(tx *txn) error {
		tx.exec(ctx, "publish again", `
			UPDATE imap_messages AS m SET stream_seq = again.seq, processed_at = $5
			FROM unnest($3::text[], $4::bigint[]) AS again(event_key, seq)
			WHERE m.tenant = $1 AND m.provider_id = $2 AND m.outcome = 'published' AND m.event_key = again.event_key`,
			fence.Tenant, fence.ProviderID, keys, seqs, at)
		tx.exec(ctx, "count what was published again", `
			UPDATE imap_sync_state SET republished = republished + $3, stream_seq = $4, bytes_fetched = bytes_fetched + $5::bigint,
				bytes_today = CASE WHEN bytes_day = $6::date THEN bytes_today ELSE 0 END + $5::bigint, bytes_day = $6::date
			WHERE tenant = $1 AND provider_id = $2`,
			fence.Tenant, fence.ProviderID, len(events), last, bytes, at.UTC().Format(time.DateOnly))
		return tx.err
	})
}

// SetLost writes down, behind the fence, what is still lost of a provider, with an
// entry in the audit log.
func (s *Store) SetLost(ctx context.Context, fence Fence, lost Lost, a Audit) error {
	return s.behind(ctx, fence, func(tx *txn) error {
		tx.exec(ctx, "set lost", `
			UPDATE imap_sync_state SET lost_state = $3, lost_since = $4, lost_until = $5, lost_events = $6
			WHERE tenant = $1 AND provider_id = $2`,
			fence.Tenant, fence.ProviderID, string(lost.LostState), lost.LostSince, lost.LostUntil, lost.LostEvents)
		tx.audit(ctx, a)
		return tx.err
	})
}

// SettleLost writes down that a person had the ledger compared with the stream, and
// how many events are lost still, with an entry in the audit log.
func (s *Store) SettleLost(ctx context.Context, ref Ref, left int64, a Audit) error {
	return s.inTx(ctx, func(tx *txn) error {
		tx.exec(ctx, "settle lost", `
			UPDATE imap_sync_state SET lost_events = $3::bigint, lost_state = CASE WHEN $3::bigint = 0 THEN '' ELSE lost_state END,
				lost_since = CASE WHEN $3::bigint = 0 THEN NULL ELSE lost_since END
			WHERE tenant = $1 AND provider_id = $2 AND lost_state <> ''`, ref.Tenant, ref.ID, left)
		tx.audit(ctx, a)
		return tx.err
	})
}

// SeenStream is a stream, or that of a bucket, which events or blobs were seen on.
type SeenStream struct {
	Name      string    `db:"name"`
	CreatedAt time.Time `db:"created_at"` // by the broker's clock
	Since     time.Time `db:"since"`      // by ours: what is older was on another one
	MaxAgeMS  int64     `db:"max_age_ms"` // how long it keeps what it holds; 0: for ever
	Replicas  int       `db:"replicas"`
}

// MaxAge is how long the stream keeps what it holds; 0 is for ever.
func (s SeenStream) MaxAge() time.Duration { return time.Duration(s.MaxAgeMS) * time.Millisecond }

// SeenStreams lists the streams of a name that were seen, the newest first.
func (s *Store) SeenStreams(ctx context.Context, name string) ([]SeenStream, error) {
	return selectAll[SeenStream](ctx, s, "streams seen", `
		SELECT name, created_at, since, max_age_ms, replicas FROM imap_streams
		WHERE name = $1 ORDER BY since DESC, created_at DESC`, name)
}

// SeeStream writes down that a stream was seen.
func (s *Store) SeeStream(ctx context.Context, seen SeenStream) error {
	return s.inTx(ctx, func(tx *txn) error {
		tx.named(ctx, "see stream", `
			INSERT INTO imap_streams (name, created_at, since, max_age_ms, replicas)
			VALUES (:name, :created_at, :since, :max_age_ms, :replicas)
			ON CONFLICT (name, created_at) DO UPDATE SET max_age_ms = EXCLUDED.max_age_ms, replicas = EXCLUDED.replicas`, seen)
		return tx.err
	})
}
