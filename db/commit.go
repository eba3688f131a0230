package db

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// Commit is one step of a folder: what became of some messages, and the cursor
// that says so.
type Commit struct {
	State    *FolderState
	Messages []Message    // each of another UID
	Moved    []Move       // messages known from another numbering, of UIDs not among them
	Failures []Quarantine // messages among them that go there
	Retried  []uint32     // UIDs that came out of the quarantine by this step
	Bytes    int64        // downloaded
	At       time.Time
}

// Commit writes ledger rows, cursor and counters in one transaction behind the
// fence. A message given as published whose event key is in the ledger already
// is counted as a duplicate. It returns ErrFenced, and has written nothing,
// when another run has taken over.
func (s *Store) Commit(ctx context.Context, fence Fence, c Commit) (Counts, error) {
	var counts Counts
	err := s.behind(ctx, fence, func(tx *txn) error {
		moveRows(ctx, tx, fence, c)
		var taken int
		written := c
		written.Messages, taken = takeOver(ctx, tx, fence, c)
		counts = writeMessages(ctx, tx, fence, written)
		counts.Duplicates += taken
		writeBodies(ctx, tx, fence, c)
		writeQuarantine(ctx, tx, fence, c)
		writeFolder(ctx, tx, fence, c.State)
		addCounters(ctx, tx, fence, counts, c)
		mirrorCursor(ctx, tx, fence, c)
		return tx.err
	})
	if err != nil {
		return Counts{}, fmt.Errorf("commit: %w", err)
	}
	return counts, nil
}

// writeMessages writes the ledger rows of a step and counts what they say. Rarely
// is one of them there already; then all are written by the statement that is
// ready for it.
func writeMessages(ctx context.Context, tx *txn, fence Fence, c Commit) (counts Counts) {
	if len(c.Messages) == 0 {
		return counts
	}
	outcomes := outcomesOf(c.Messages)
	rows := rowsOf(fence, c, outcomes)
	written := tx.exec(ctx, "write ledger", insertAbsent, rows...)
	if tx.err == nil && written < int64(len(outcomes)) {
		outcomes = nil
		tx.failed("write ledger", tx.SelectContext(ctx, &outcomes, insertPresent, rows...))
	}
	for _, o := range outcomes {
		counts.Add(Outcome(o))
	}
	return counts
}

// insertAbsent writes the rows that are not there yet. It asks the indexes by
// inserting, which leaves the planner no choice.
const insertAbsent = `
	INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, processed_at, uid, event_key, message_id,
		fingerprint, outcome, reason, stream_seq, size, attempts, internal_date, by_header)
	SELECT $1, $2, $3, $4, $5, uid, nullif(event_key, ''), nullif(message_id, ''),
		nullif(fingerprint, ''), outcome, nullif(reason, ''), nullif(stream_seq, 0), size, attempts,
		to_timestamp(internal_date), by_header
	FROM unnest($6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[],
		$13::bigint[], $14::bigint[], $15::bigint[], $16::boolean[])
		AS m(uid, event_key, message_id, fingerprint, outcome, reason, stream_seq, size, attempts, internal_date, by_header)
	ON CONFLICT DO NOTHING`

// insertPresent writes rows of which some are there, or are of messages published
// under another UID. Those are looked up as by knownMessages.
const insertPresent = `
	INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, processed_at, uid, event_key, message_id,
		fingerprint, outcome, reason, stream_seq, size, attempts, internal_date, by_header)
	SELECT $1, $2, $3, $4, $5, m.uid, nullif(m.event_key, ''), nullif(m.message_id, ''), nullif(m.fingerprint, ''),
		CASE WHEN m.outcome = 'published' AND other.uid IS NOT NULL THEN 'duplicate' ELSE m.outcome END,
		nullif(m.reason, ''), nullif(m.stream_seq, 0), m.size, m.attempts,
		to_timestamp(m.internal_date), m.by_header
	FROM unnest($6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[],
		$13::bigint[], $14::bigint[], $15::bigint[], $16::boolean[])
		AS m(uid, event_key, message_id, fingerprint, outcome, reason, stream_seq, size, attempts, internal_date, by_header)
	LEFT JOIN LATERAL (
		SELECT uid, generate_series(1, 1000) FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published'
			AND event_key BETWEEN m.event_key AND m.event_key AND (folder, uid_validity, uid) <> ($3, $4, m.uid)
		ORDER BY event_key LIMIT 1
	) AS other ON true
	ON CONFLICT (tenant, provider_id, folder, uid_validity, uid) DO UPDATE SET
		processed_at = EXCLUDED.processed_at, event_key = EXCLUDED.event_key, message_id = EXCLUDED.message_id,
		fingerprint = EXCLUDED.fingerprint, outcome = EXCLUDED.outcome, reason = EXCLUDED.reason,
		stream_seq = EXCLUDED.stream_seq, size = EXCLUDED.size, attempts = EXCLUDED.attempts,
		internal_date = EXCLUDED.internal_date, by_header = EXCLUDED.by_header
	RETURNING outcome`

// writeBodies notes at the messages published by their headers which mail each is
// the header of: it is so of one.
func writeBodies(ctx context.Context, tx *txn, fence Fence, c Commit) {
	for _, m := range c.Messages {
		if m.BodyOf != "" {
			tx.exec(ctx, "write ledger", `
				UPDATE imap_messages SET body_key = $4
				WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published' AND event_key = $3 AND by_header`,
				fence.Tenant, fence.ProviderID, m.BodyOf, m.EventKey)
		}
	}
}

// outcomesOf gives the outcome of each message: of two copies in one step, the
// second is a duplicate.
func outcomesOf(messages []Message) pq.StringArray {
	list := make(pq.StringArray, len(messages))
	published := make(map[string]bool, len(messages))
	for i, m := range messages {
		if m.Outcome == Published && published[m.EventKey] {
			m.Outcome = Duplicate
		}
		published[m.EventKey] = published[m.EventKey] || m.Outcome == Published
		list[i] = string(m.Outcome)
	}
	return list
}

// rowsOf gives the messages of a step as the parameters of insertAbsent and
// insertPresent: the folder's, then a list for each column.
func rowsOf(fence Fence, c Commit, outcomes pq.StringArray) []any {
	n := len(c.Messages)
	uids, seqs, sizes, attempts := make(pq.Int64Array, n), make(pq.Int64Array, n), make(pq.Int64Array, n), make(pq.Int64Array, n)
	dates, byHeader := make([]sql.NullInt64, n), make(pq.BoolArray, n)
	keys, ids, fingerprints, reasons := make(pq.StringArray, n), make(pq.StringArray, n), make(pq.StringArray, n), make(pq.StringArray, n)
	for i, m := range c.Messages {
		uids[i], seqs[i], sizes[i], attempts[i] = int64(m.UID), int64(m.StreamSeq), m.Size, int64(max(m.Attempts, 1))
		keys[i], ids[i], fingerprints[i], reasons[i] = m.EventKey, Clean(m.MessageID), m.Fingerprint, Clean(m.Reason)
		if byHeader[i] = m.ByHeader; m.InternalDate != nil {
			dates[i] = sql.NullInt64{Int64: m.InternalDate.Unix(), Valid: true}
		}
	}
	return []any{fence.Tenant, fence.ProviderID, c.State.Folder, c.State.UIDValidity, c.At,
		uids, keys, ids, fingerprints, outcomes, reasons, seqs, sizes, attempts, pq.Array(dates), byHeader}
}

func addCounters(ctx context.Context, tx *txn, fence Fence, n Counts, c Commit) {
	tx.exec(ctx, "add counters", `
		UPDATE imap_sync_state SET published = published + $3, duplicates = duplicates + $4, skipped = skipped + $5,
			expunged = expunged + $6, quarantined = quarantined + $7, bytes_fetched = bytes_fetched + $8,
			bytes_today = CASE WHEN bytes_day = $9::date THEN bytes_today ELSE 0 END + $8, bytes_day = $9::date,
			stream_seq = CASE WHEN $10::bigint > 0 THEN $10::bigint ELSE stream_seq END
		WHERE tenant = $1 AND provider_id = $2`,
		fence.Tenant, fence.ProviderID, n.Published, n.Duplicates, n.Skipped, n.Expunged, n.Quarantined,
		c.Bytes, c.At.UTC().Format(time.DateOnly), lastSeq(c.Messages))
}

// lastSeq is the highest sequence at which a message of a step was acknowledged.
func lastSeq(messages []Message) (last int64) {
	for _, m := range messages {
		last = max(last, int64(m.StreamSeq))
	}
	return last
}

// mirrorCursor keeps the display columns of the shared tables up to date.
func mirrorCursor(ctx context.Context, tx *txn, fence Fence, c Commit) {
	tx.exec(ctx, "mirror cursor", `
		WITH provider AS (
			UPDATE email_providers SET last_sync_at = $3 WHERE tenant = $1 AND id = $2
		)
		UPDATE imap_email_provider_config SET uid_validity = $4, last_uid = $5, last_seen_at = $3, last_sync_at = $3,
			folder_state = coalesce(folder_state, '{}') || jsonb_build_object($6::text,
				jsonb_build_object('uid_validity', $4::text, 'last_uid', $5::bigint, 'last_seen_at', $7::text))
		WHERE tenant = $1 AND email_provider_id = $2`,
		fence.Tenant, fence.ProviderID, c.At, fmt.Sprint(c.State.UIDValidity), c.State.LastUID, c.State.Folder,
		c.At.UTC().Format(time.RFC3339))
}
