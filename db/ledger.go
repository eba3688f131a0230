package db

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Outcome is what became of a message. There is no other way to be final.
type Outcome string

// The outcomes of a message.
const (
	Published   Outcome = "published"
	Duplicate   Outcome = "duplicate"
	Skipped     Outcome = "skipped"
	Expunged    Outcome = "expunged"
	Quarantined Outcome = "quarantined"
)

// Message is one row of the ledger.
type Message struct {
	Folder      string    `db:"folder"`
	UIDValidity uint32    `db:"uid_validity"`
	UID         uint32    `db:"uid"`
	EventKey    string    `db:"event_key"`
	MessageID   string    `db:"message_id"`
	Fingerprint string    `db:"fingerprint"`
	Outcome     Outcome   `db:"outcome"`
	Reason      string    `db:"reason"`
	StreamSeq   uint64    `db:"stream_seq"`
	Size        int64     `db:"size"` // bytes on the server
	Attempts    int       `db:"attempts"`
	ProcessedAt time.Time `db:"processed_at"`
}

// Counts are how many messages had which outcome.
type Counts struct {
	Published   int `json:"published"`
	Duplicates  int `json:"duplicates"`
	Skipped     int `json:"skipped"`
	Expunged    int `json:"expunged"`
	Quarantined int `json:"quarantined"`
}

// Add counts one more message.
func (c *Counts) Add(o Outcome) {
	switch o {
	case Published:
		c.Published++
	case Duplicate:
		c.Duplicates++
	case Skipped:
		c.Skipped++
	case Expunged:
		c.Expunged++
	case Quarantined:
		c.Quarantined++
	}
}

// Plus adds d to c.
func (c *Counts) Plus(d Counts) {
	c.Published += d.Published
	c.Duplicates += d.Duplicates
	c.Skipped += d.Skipped
	c.Expunged += d.Expunged
	c.Quarantined += d.Quarantined
}

// Total is the number of messages counted.
func (c Counts) Total() int {
	return c.Published + c.Duplicates + c.Skipped + c.Expunged + c.Quarantined
}

// Commit is one step of a folder: what became of some messages, and the cursor
// that says so.
type Commit struct {
	State    *FolderState
	Messages []Message
	Failures []Failure // messages among them that go to the quarantine
	Retried  []uint32  // UIDs that came out of the quarantine by this step
	Bytes    int64     // downloaded
	At       time.Time
}

// Commit writes ledger rows, cursor and counters in one transaction behind the
// fence. A message given as published whose event key is in the ledger already
// is counted as a duplicate. It returns ErrFenced, and has written nothing,
// when another run has taken over.
func (s *Store) Commit(ctx context.Context, fence Fence, c Commit) (Counts, error) {
	var counts Counts
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := fence.hold(ctx, tx); err != nil {
			return err
		}
		outcomes, err := insertMessages(ctx, tx, fence, c)
		if err != nil {
			return err
		}
		counts = Counts{}
		for _, o := range outcomes {
			counts.Add(o)
		}
		if err := writeQuarantine(ctx, tx, fence, c); err != nil {
			return err
		}
		if err := writeFolder(ctx, tx, fence, c.State); err != nil {
			return err
		}
		if err := addCounters(ctx, tx, fence, counts, c); err != nil {
			return err
		}
		return mirror(ctx, tx, fence, c)
	})
	if err != nil {
		return Counts{}, fmt.Errorf("commit: %w", err)
	}
	return counts, nil
}

func insertMessages(ctx context.Context, tx *sqlx.Tx, fence Fence, c Commit) ([]Outcome, error) {
	n := len(c.Messages)
	if n == 0 {
		return nil, nil
	}
	var (
		uids, seqs, sizes, attempts = make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
		keys, ids, prints           = make([]string, n), make([]string, n), make([]string, n)
		outcomes, reasons           = make([]string, n), make([]string, n)
	)
	seen := make(map[string]bool, n)
	for i, m := range c.Messages {
		if m.Outcome == Published && seen[m.EventKey] {
			m.Outcome = Duplicate // two copies in one step
		}
		seen[m.EventKey] = seen[m.EventKey] || m.Outcome == Published
		uids[i], sizes[i], attempts[i] = int64(m.UID), m.Size, int64(max(m.Attempts, 1))
		seqs[i] = int64(m.StreamSeq)
		keys[i], ids[i], prints[i] = m.EventKey, Clean(m.MessageID), m.Fingerprint
		outcomes[i], reasons[i] = string(m.Outcome), Clean(m.Reason)
	}
	list := make([]Outcome, 0, n)
	insert := func(statement string) (done map[int64]bool, err error) {
		var rows []Message
		err = tx.SelectContext(ctx, &rows, statement, fence.Tenant, fence.ProviderID, c.State.Folder, c.State.UIDValidity, c.At,
			pq.Array(uids), pq.Array(keys), pq.Array(ids), pq.Array(prints), pq.Array(outcomes), pq.Array(reasons),
			pq.Array(seqs), pq.Array(sizes), pq.Array(attempts))
		if err != nil {
			return nil, fmt.Errorf("write ledger: %w", err)
		}
		done = make(map[int64]bool, len(rows))
		for _, row := range rows {
			done[int64(row.UID)] = true
			list = append(list, row.Outcome)
		}
		return done, nil
	}
	done, err := insert(insertNew)
	if err != nil || len(done) == n {
		return list, err
	}
	kept := 0
	for i, uid := range uids {
		if !done[uid] {
			uids[kept], seqs[kept], sizes[kept], attempts[kept] = uid, seqs[i], sizes[i], attempts[i]
			keys[kept], ids[kept], prints[kept], outcomes[kept], reasons[kept] = keys[i], ids[i], prints[i], outcomes[i], reasons[i]
			kept++
		}
	}
	uids, seqs, sizes, attempts = uids[:kept], seqs[:kept], sizes[:kept], attempts[:kept]
	keys, ids, prints, outcomes, reasons = keys[:kept], ids[:kept], prints[:kept], outcomes[:kept], reasons[:kept]
	_, err = insert(insertAgain)
	return list, err
}

const (
	// insertNew writes the rows that are in nobody's way, which is nearly always
	// all of them. It asks the indexes by inserting: a query would ask the
	// planner, who has every row read the provider's whole ledger as long as the
	// statistics are older than the table.
	insertNew = insertRow + `
		SELECT $1::uuid, $2::uuid, $3, $4::bigint, m.uid, nullif(m.event_key, ''), nullif(m.message_id, ''),
			nullif(m.fingerprint, ''), m.outcome, nullif(m.reason, ''), nullif(m.stream_seq, 0), m.size, m.attempts,
			$5::timestamptz
		FROM ` + givenRows + `
		ON CONFLICT DO NOTHING
		RETURNING uid, outcome`

	// insertAgain writes the others: UIDs that have a row, and messages that are
	// published under another UID.
	insertAgain = insertRow + `
		SELECT $1::uuid, $2::uuid, $3, $4::bigint, m.uid, nullif(m.event_key, ''), nullif(m.message_id, ''),
			nullif(m.fingerprint, ''),
			CASE WHEN m.outcome = 'published' AND EXISTS (
				SELECT FROM imap_messages d
				WHERE d.tenant = $1::uuid AND d.provider_id = $2::uuid AND d.event_key = m.event_key
					AND d.outcome = 'published'
					AND (d.folder, d.uid_validity, d.uid) <> ($3, $4::bigint, m.uid))
			THEN 'duplicate' ELSE m.outcome END,
			nullif(m.reason, ''), nullif(m.stream_seq, 0), m.size, m.attempts, $5::timestamptz
		FROM ` + givenRows + `
		ON CONFLICT (tenant, provider_id, folder, uid_validity, uid) DO UPDATE SET event_key = EXCLUDED.event_key,
			message_id = EXCLUDED.message_id, fingerprint = EXCLUDED.fingerprint, outcome = EXCLUDED.outcome,
			reason = EXCLUDED.reason, stream_seq = EXCLUDED.stream_seq, size = EXCLUDED.size,
			attempts = EXCLUDED.attempts, processed_at = EXCLUDED.processed_at
		RETURNING uid, outcome`

	insertRow = `
		INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, uid, event_key, message_id, fingerprint,
			outcome, reason, stream_seq, size, attempts, processed_at)`
	givenRows = `unnest($6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::bigint[],
			$13::bigint[], $14::bigint[])
			AS m(uid, event_key, message_id, fingerprint, outcome, reason, stream_seq, size, attempts)`
)

func addCounters(ctx context.Context, tx *sqlx.Tx, fence Fence, n Counts, c Commit) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE imap_sync_state SET published = published + $3, duplicates = duplicates + $4, skipped = skipped + $5,
			expunged = expunged + $6, quarantined = quarantined + $7, bytes_fetched = bytes_fetched + $8,
			bytes_today = CASE WHEN bytes_day = $9::date THEN bytes_today ELSE 0 END + $8, bytes_day = $9::date
		WHERE tenant = $1 AND provider_id = $2`,
		fence.Tenant, fence.ProviderID, n.Published, n.Duplicates, n.Skipped, n.Expunged, n.Quarantined,
		c.Bytes, c.At.UTC().Format(time.DateOnly))
	if err != nil {
		return fmt.Errorf("add counters: %w", err)
	}
	return nil
}

// mirror keeps the display columns of the shared tables up to date.
func mirror(ctx context.Context, tx *sqlx.Tx, fence Fence, c Commit) error {
	_, err := tx.ExecContext(ctx, `
		UPDATE imap_email_provider_config SET uid_validity = $3, last_uid = $4, last_seen_at = $5, last_sync_at = $5,
			folder_state = coalesce(folder_state, '{}') || jsonb_build_object($6::text,
				jsonb_build_object('uid_validity', $8::text, 'last_uid', $9::bigint, 'last_seen_at', $7::text))
		WHERE tenant = $1 AND email_provider_id = $2`,
		fence.Tenant, fence.ProviderID, fmt.Sprint(c.State.UIDValidity), c.State.LastUID, c.At, c.State.Folder,
		c.At.UTC().Format(time.RFC3339), fmt.Sprint(c.State.UIDValidity), c.State.LastUID)
	if err != nil {
		return fmt.Errorf("mirror cursor: %w", err)
	}
	_, err = tx.ExecContext(ctx, `UPDATE email_providers SET last_sync_at = $3 WHERE tenant = $1 AND id = $2`,
		fence.Tenant, fence.ProviderID, c.At)
	if err != nil {
		return fmt.Errorf("mirror last sync: %w", err)
	}
	return nil
}

// Handled is one UID that the ledger knows, and when it was handled.
type Handled struct {
	UID         uint32    `db:"uid"`
	ProcessedAt time.Time `db:"processed_at"`
}

// HandledAbove lists the UIDs above settled that the ledger knows, ascending.
func (s *Store) HandledAbove(ctx context.Context, ref Ref, folder string, uidValidity, settled uint32) ([]Handled, error) {
	var list []Handled
	err := s.pool.SelectContext(ctx, &list, `
		SELECT uid, processed_at FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $4 AND uid > $5 ORDER BY uid`,
		ref.Tenant, ref.ID, folder, uidValidity, settled)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", wrap(err))
	}
	return list, nil
}

// LedgerUIDs gives what became of every UID of a folder that the ledger knows.
func (s *Store) LedgerUIDs(ctx context.Context, ref Ref, folder string, uidValidity uint32) (map[uint32]Outcome, error) {
	rows, err := s.pool.QueryxContext(ctx, `
		SELECT uid, outcome FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $4`,
		ref.Tenant, ref.ID, folder, uidValidity)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", wrap(err))
	}
	defer rows.Close()
	known := map[uint32]Outcome{}
	for rows.Next() {
		var uid uint32
		var outcome Outcome
		if err := rows.Scan(&uid, &outcome); err != nil {
			return nil, fmt.Errorf("read ledger: %w", wrap(err))
		}
		known[uid] = outcome
	}
	return known, wrap(rows.Err())
}

// PublishedSince lists what was published of a provider since a time, oldest
// first. What stood under a numbering that was put aside cannot be read again,
// and is left out.
func (s *Store) PublishedSince(ctx context.Context, ref Ref, since time.Time) ([]Message, error) {
	var list []Message
	err := s.pool.SelectContext(ctx, &list, `
		SELECT folder, uid_validity, uid, event_key, coalesce(message_id, '') AS message_id, outcome,
			coalesce(stream_seq, 0) AS stream_seq, size, attempts, processed_at
		FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published' AND processed_at >= $3
			AND uid_validity < 4294967296
		ORDER BY processed_at, uid`, ref.Tenant, ref.ID, since)
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", wrap(err))
	}
	return list, nil
}

// Known is a message of the provider that has been published.
type Known struct {
	EventKey  string `db:"event_key"`
	MessageID string `db:"message_id"`
}

// KnownMessages lists the published messages that have one of the event keys
// or one of the Message-IDs: a key that is known is a duplicate, a Message-ID
// under another key means that the sender reuses it.
func (s *Store) KnownMessages(ctx context.Context, ref Ref, keys, messageIDs []string) ([]Known, error) {
	var list []Known
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		if _, err := tx.ExecContext(ctx, byOrder); err != nil {
			return err
		}
		return tx.SelectContext(ctx, &list, knownMessages, ref.Tenant, ref.ID, pq.Array(keys), pq.Array(messageIDs))
	})
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", err)
	}
	return list, nil
}

const (
	// byOrder has the planner look up each text in the index that is in the order
	// of such texts, as the query asks for an order and nothing may be sorted.
	// Left to itself it has every row of the provider read, in whatever index
	// begins with the provider, as long as the statistics do not know of them.
	byOrder = `SET LOCAL enable_sort = off`

	knownMessages = `
		SELECT m.event_key, m.message_id FROM unnest($3::text[]) AS given(key), LATERAL (
			SELECT event_key, coalesce(message_id, '') AS message_id FROM imap_messages
			WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published'
				AND event_key BETWEEN given.key AND given.key
			ORDER BY event_key LIMIT 1) m
		UNION ALL
		SELECT m.event_key, m.message_id FROM unnest($4::text[]) AS given(id), LATERAL (
			SELECT event_key, message_id FROM imap_messages
			WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published'
				AND message_id BETWEEN given.id AND given.id
			ORDER BY message_id LIMIT 1) m`
)

// maxText bounds every free text that comes from outside, in bytes.
const maxText = 2000

// Clean makes a text from a server or a mail fit for a text column: Postgres
// refuses NUL and invalid UTF-8, in error messages too.
func Clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "")
}
