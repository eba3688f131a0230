package db

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jmoiron/sqlx"
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
	Again    bool      // some of the messages may have rows
	Bytes    int64     // downloaded
	At       time.Time
}

// Commit writes ledger rows, cursor and counters in one transaction behind the
// fence. A message given as published whose event key is in the ledger already
// is counted as a duplicate. It returns ErrFenced, and has written nothing,
// when another run has taken over.
func (s *Store) Commit(ctx context.Context, fence Fence, c Commit) (Counts, error) {
	if !c.Again {
		// To be ready for rows that are there costs half as much again.
		counts, err := s.commit(ctx, fence, c, insertNew)
		if !isConflict(err) {
			return counts, err
		}
	}
	return s.commit(ctx, fence, c, insertAny)
}

func (s *Store) commit(ctx context.Context, fence Fence, c Commit,
	insert func(context.Context, *sqlx.Tx, Fence, Commit) ([]Outcome, error),
) (Counts, error) {
	var counts Counts
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := fence.hold(ctx, tx); err != nil {
			return err
		}
		var outcomes []Outcome
		if len(c.Messages) > 0 {
			var err error
			if outcomes, err = insert(ctx, tx, fence, c); err != nil {
				return err
			}
		}
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

func addCounters(ctx context.Context, tx *sqlx.Tx, fence Fence, n Counts, c Commit) error {
	_, err := tx.ExecContext(ctx, addCounts,
		fence.Tenant, fence.ProviderID, n.Published, n.Duplicates, n.Skipped, n.Expunged, n.Quarantined,
		c.Bytes, c.At.UTC().Format(time.DateOnly))
	if err != nil {
		return fmt.Errorf("add counters: %w", err)
	}
	return nil
}

const addCounts = `
		UPDATE imap_sync_state SET published = published + $3, duplicates = duplicates + $4, skipped = skipped + $5,
			expunged = expunged + $6, quarantined = quarantined + $7, bytes_fetched = bytes_fetched + $8,
			bytes_today = CASE WHEN bytes_day = $9::date THEN bytes_today ELSE 0 END + $8, bytes_day = $9::date
		WHERE tenant = $1 AND provider_id = $2`

// mirror keeps the display columns of the shared tables up to date.
func mirror(ctx context.Context, tx *sqlx.Tx, fence Fence, c Commit) error {
	_, err := tx.ExecContext(ctx, mirrorCursor,
		fence.Tenant, fence.ProviderID, c.At, fmt.Sprint(c.State.UIDValidity), c.State.LastUID, c.State.Folder,
		c.At.UTC().Format(time.RFC3339))
	if err != nil {
		return fmt.Errorf("mirror cursor: %w", err)
	}
	return nil
}

const mirrorCursor = `
		WITH provider AS (
			UPDATE email_providers SET last_sync_at = $3 WHERE tenant = $1 AND id = $2
		)
		UPDATE imap_email_provider_config SET uid_validity = $4, last_uid = $5, last_seen_at = $3, last_sync_at = $3,
			folder_state = coalesce(folder_state, '{}') || jsonb_build_object($6::text,
				jsonb_build_object('uid_validity', $4::text, 'last_uid', $5::bigint, 'last_seen_at', $7::text))
		WHERE tenant = $1 AND email_provider_id = $2`

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
