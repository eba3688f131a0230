package db

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// columns are the rows of a step as the statements below are given them.
type columns struct {
	uids, seqs, sizes, attempts          bigints
	keys, ids, prints, outcomes, reasons texts
}

func columnsOf(messages []Message) columns {
	n := len(messages)
	c := columns{
		uids: make(bigints, n), seqs: make(bigints, n), sizes: make(bigints, n), attempts: make(bigints, n),
		keys: make(texts, n), ids: make(texts, n), prints: make(texts, n), outcomes: make(texts, n), reasons: make(texts, n),
	}
	seen := make(map[string]bool, n)
	for i, m := range messages {
		if m.Outcome == Published && seen[m.EventKey] {
			m.Outcome = Duplicate // two copies in one step
		}
		seen[m.EventKey] = seen[m.EventKey] || m.Outcome == Published
		c.uids[i], c.sizes[i], c.attempts[i] = int64(m.UID), m.Size, int64(max(m.Attempts, 1))
		c.seqs[i] = int64(m.StreamSeq)
		c.keys[i], c.ids[i], c.prints[i] = m.EventKey, Clean(m.MessageID), m.Fingerprint
		c.outcomes[i], c.reasons[i] = string(m.Outcome), Clean(m.Reason)
	}
	return c
}

// without leaves out the rows whose UIDs are done.
func (c columns) without(done map[int64]bool) columns {
	kept := 0
	for i, uid := range c.uids {
		if !done[uid] {
			c.uids[kept], c.seqs[kept], c.sizes[kept], c.attempts[kept] = uid, c.seqs[i], c.sizes[i], c.attempts[i]
			c.keys[kept], c.ids[kept], c.prints[kept] = c.keys[i], c.ids[i], c.prints[i]
			c.outcomes[kept], c.reasons[kept] = c.outcomes[i], c.reasons[i]
			kept++
		}
	}
	return columns{
		uids: c.uids[:kept], seqs: c.seqs[:kept], sizes: c.sizes[:kept], attempts: c.attempts[:kept],
		keys: c.keys[:kept], ids: c.ids[:kept], prints: c.prints[:kept], outcomes: c.outcomes[:kept], reasons: c.reasons[:kept],
	}
}

// args are the parameters of the statements. A column in which nothing is out of
// the ordinary is sent empty: unnest fills it up with NULL.
func (c columns) args(fence Fence, step Commit) []any {
	return []any{
		fence.Tenant, fence.ProviderID, step.State.Folder, step.State.UIDValidity, step.At, c.uids, c.keys, c.ids,
		unless(c.prints, ""), unless(c.outcomes, string(Published)), unless(c.reasons, ""), c.seqs, c.sizes, unless(c.attempts, 1),
	}
}

// unless gives an empty list instead of one that repeats a value.
func unless[L ~[]E, E comparable](list L, usual E) L {
	if slices.ContainsFunc(list, func(e E) bool { return e != usual }) {
		return list
	}
	return nil
}

// insertNew writes rows that are in nobody's way; isConflict tells when one is.
func insertNew(ctx context.Context, tx *sqlx.Tx, fence Fence, step Commit) ([]Outcome, error) {
	c := columnsOf(step.Messages)
	if _, err := tx.ExecContext(ctx, insertRows, c.args(fence, step)...); err != nil {
		return nil, fmt.Errorf("write ledger: %w", err)
	}
	list := make([]Outcome, len(c.outcomes))
	for i, o := range c.outcomes {
		list[i] = Outcome(o)
	}
	return list, nil
}

// isConflict reports whether a row with the same unique key was there already.
func isConflict(err error) bool {
	pe, ok := errors.AsType[*pq.Error](err)
	return ok && pe.Code == "23505" // of which table it is, Citus does not say
}

// insertAny writes rows of which some may be there.
func insertAny(ctx context.Context, tx *sqlx.Tx, fence Fence, step Commit) ([]Outcome, error) {
	c := columnsOf(step.Messages)
	list := make([]Outcome, 0, len(c.uids))
	done := make(map[int64]bool, len(c.uids))
	for _, statement := range []string{insertAbsent, insertPresent} {
		if c = c.without(done); len(c.uids) == 0 {
			break
		}
		var rows []Message
		if err := tx.SelectContext(ctx, &rows, statement, c.args(fence, step)...); err != nil {
			return nil, fmt.Errorf("write ledger: %w", err)
		}
		for _, row := range rows {
			done[int64(row.UID)] = true
			list = append(list, row.Outcome)
		}
	}
	return list, nil
}

const (
	insertRows = insertInto + `coalesce(m.outcome, 'published')` + givenRows

	// insertAbsent writes the rows that are in nobody's way. It asks the indexes by
	// inserting: a query would ask the planner, who has every row read the
	// provider's whole ledger as long as the statistics are older than the table.
	insertAbsent = insertRows + `
		ON CONFLICT DO NOTHING
		RETURNING uid, outcome`

	// insertPresent writes the others: UIDs that have a row, and messages that are
	// published under another UID.
	insertPresent = insertInto + `CASE
			WHEN coalesce(m.outcome, 'published') <> 'published' THEN m.outcome
			WHEN EXISTS (
				SELECT FROM imap_messages d
				WHERE d.tenant = $1::uuid AND d.provider_id = $2::uuid AND d.event_key = m.event_key
					AND d.outcome = 'published'
					AND (d.folder, d.uid_validity, d.uid) <> ($3, $4::bigint, m.uid))
			THEN 'duplicate' ELSE 'published' END` + givenRows + `
		ON CONFLICT (tenant, provider_id, folder, uid_validity, uid) DO UPDATE SET event_key = EXCLUDED.event_key,
			message_id = EXCLUDED.message_id, fingerprint = EXCLUDED.fingerprint, outcome = EXCLUDED.outcome,
			reason = EXCLUDED.reason, stream_seq = EXCLUDED.stream_seq, size = EXCLUDED.size,
			attempts = EXCLUDED.attempts, processed_at = EXCLUDED.processed_at
		RETURNING uid, outcome`

	insertInto = `
		INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, uid, event_key, message_id, fingerprint,
			reason, stream_seq, size, attempts, processed_at, outcome)
		SELECT $1::uuid, $2::uuid, $3, $4::bigint, m.uid, nullif(m.event_key, ''), nullif(m.message_id, ''),
			nullif(m.fingerprint, ''), nullif(m.reason, ''), nullif(m.stream_seq, 0), m.size, coalesce(m.attempts, 1),
			$5::timestamptz, `
	givenRows = `
		FROM unnest($6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[],
			$13::bigint[], $14::bigint[])
			AS m(uid, event_key, message_id, fingerprint, outcome, reason, stream_seq, size, attempts)`
)
