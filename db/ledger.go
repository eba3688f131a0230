package db

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

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
	Held        Outcome = "held" // unknown and old, in a folder that was numbered anew: a person decides
)

// Message is one row of the ledger.
type Message struct {
	Folder      string    `db:"folder"`
	UIDValidity uint64    `db:"uid_validity"`
	UID         uint32    `db:"uid"`
	EventKey    string    `db:"event_key"`
	MessageID   string    `db:"message_id"`
	Fingerprint string    `db:"fingerprint"` // the header print; "" in a row from before it was kept
	Outcome     Outcome   `db:"outcome"`
	Reason      string    `db:"reason"`
	StreamSeq   uint64    `db:"stream_seq"`
	Size        int64     `db:"size"` // bytes on the server
	Attempts    int       `db:"attempts"`
	ProcessedAt time.Time `db:"processed_at"`

	InternalDate *time.Time `db:"internal_date"` // when the server received it; nil: it did not say
	ByHeader     bool       `db:"by_header"`     // published by its header alone
	BodyOf       string     `db:"-"`             // the event key of one by_header that was published of this very mail
	CopyOf       string     `db:"-"`             // duplicate: the event key that the published one has
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

// Known is a message of the provider that has been published.
type Known struct {
	Folder    string `db:"folder"`
	UID       uint32 `db:"uid"`
	EventKey  string `db:"event_key"`
	MessageID string `db:"message_id"`
	Size      int64  `db:"size"`
	Latest    bool   `db:"latest"` // the last one that was published of its Message-ID

	Fingerprint string `db:"fingerprint"`
	ByHeader    bool   `db:"by_header"`
	BodyKey     string `db:"body_key"` // of one by_header: the key of the mail that it is the header of, if that was seen
}

// KnownMessages lists the published messages that have one of the event keys or of
// the header keys, and the last one of each of the Message-IDs.
func (s *Store) KnownMessages(ctx context.Context, ref Ref, keys, headerKeys, messageIDs []string) ([]Known, error) {
	return selectAll[Known](ctx, s, "read ledger", knownMessages,
		ref.Tenant, ref.ID, pq.StringArray(keys), pq.StringArray(messageIDs), pq.StringArray(headerKeys))
}

// knownMessages looks up each text in the index that is sorted by it. While the
// statistics know little of a provider, every index that begins with the provider
// looks as good to the planner, and through another it would read all rows of the
// provider for each text. So the statement asks for the first of many rows in the
// order of the right index: any other would have to read and sort them all. Two
// details carry this. BETWEEN leaves an order to ask for, an equality would not.
// And generate_series makes a thousand rows of each in the planner's estimate,
// but in fact only the one that LIMIT takes. Hardly a provider has mail that went out
// by its header: where there is none, no header key is looked up.
const knownMessages = `
	SELECT found.folder, found.uid, found.event_key, coalesce(found.message_id, '') AS message_id, found.size, false AS latest,
		coalesce(found.fingerprint, '') AS fingerprint, found.by_header, coalesce(found.body_key, '') AS body_key
	FROM unnest($3::text[] || CASE WHEN EXISTS (
		SELECT FROM imap_messages WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published' AND by_header
	) THEN $5::text[] END) AS asked(event_key) CROSS JOIN LATERAL (
		SELECT folder, uid, event_key, message_id, size, fingerprint, by_header, body_key, generate_series(1, 1000)
		FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published'
			AND event_key BETWEEN asked.event_key AND asked.event_key
		ORDER BY event_key LIMIT 1
	) AS found
	UNION ALL
	SELECT found.folder, found.uid, found.event_key, found.message_id, found.size, true AS latest,
		coalesce(found.fingerprint, '') AS fingerprint, found.by_header, coalesce(found.body_key, '') AS body_key
	FROM unnest($4::text[]) AS asked(message_id) CROSS JOIN LATERAL (
		SELECT folder, uid, event_key, message_id, size, fingerprint, by_header, body_key, generate_series(1, 1000)
		FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published'
			AND message_id BETWEEN asked.message_id AND asked.message_id
		ORDER BY message_id DESC, processed_at DESC LIMIT 1
	) AS found`

// Body is what of a mail is known by its header alone.
type Body struct {
	MessageID   string
	Fingerprint string
	Least, Most int64 // what its size may be
}

// KnownBody finds a published message, its body read, that is the mail of which
// the header alone is known; nil when there is none.
func (s *Store) KnownBody(ctx context.Context, ref Ref, b Body) (*Known, error) {
	statement, text := knownBody, b.MessageID
	if b.MessageID == "" {
		statement, text = knownNamelessBody, b.Fingerprint
	}
	list, err := selectAll[Known](ctx, s, "read ledger", statement,
		ref.Tenant, ref.ID, text, b.Fingerprint, b.Least, b.Most)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}

// knownBody is made as knownMessages is. It reads the rows of one Message-ID.
const knownBody = `
	SELECT folder, uid, event_key, coalesce(message_id, '') AS message_id, size FROM (
		SELECT folder, uid, event_key, message_id, size, generate_series(1, 1000) FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published' AND message_id BETWEEN $3 AND $3
			AND fingerprint = $4 AND NOT by_header AND size BETWEEN $5 AND $6
		ORDER BY message_id DESC, processed_at DESC LIMIT 1
	) AS found`

// knownNamelessBody is knownBody for mail without Message-ID, whose header print
// takes in all there is.
const knownNamelessBody = `
	SELECT folder, uid, event_key, coalesce(message_id, '') AS message_id, size FROM (
		SELECT folder, uid, event_key, message_id, size, generate_series(1, 1000) FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published' AND message_id IS NULL AND fingerprint BETWEEN $3 AND $4
			AND NOT by_header AND size BETWEEN $5 AND $6
		ORDER BY fingerprint LIMIT 1
	) AS found`

// Handled is one UID that the ledger knows, and when it was handled.
type Handled struct {
	UID         uint32    `db:"uid"`
	ProcessedAt time.Time `db:"processed_at"`
	Expunged    bool      `db:"expunged"` // it was gone from the server
}

// HandledAbove lists the UIDs above settled that the ledger knows, ascending.
func (s *Store) HandledAbove(ctx context.Context, ref Ref, folder string, uidValidity uint64, settled uint32) ([]Handled, error) {
	return selectAll[Handled](ctx, s, "read ledger", `
		SELECT uid, processed_at, outcome = 'expunged' AS expunged FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $4 AND uid > $5 ORDER BY uid`,
		ref.Tenant, ref.ID, folder, uidValidity, settled)
}

// UnknownUIDs gives those of some UIDs of a folder that the ledger does not know, or
// knows as expunged, ascending.
func (s *Store) UnknownUIDs(ctx context.Context, ref Ref, folder string, uidValidity uint64, uids []uint32) ([]uint32, error) {
	asked := make(pq.Int64Array, len(uids))
	for i, uid := range uids {
		asked[i] = int64(uid)
	}
	return selectAll[uint32](ctx, s, "read ledger", `
		SELECT asked.uid FROM unnest($5::bigint[]) AS asked(uid)
		WHERE NOT EXISTS (
			SELECT FROM imap_messages m
			WHERE m.tenant = $1 AND m.provider_id = $2 AND m.folder = $3 AND m.uid_validity = $4 AND m.uid = asked.uid
				AND m.outcome <> 'expunged')
		ORDER BY asked.uid`, ref.Tenant, ref.ID, folder, uidValidity, asked)
}

// LedgerUIDs gives what became of every UID of a folder that the ledger knows.
func (s *Store) LedgerUIDs(ctx context.Context, ref Ref, folder string, uidValidity uint64) (map[uint32]Outcome, error) {
	// They may be millions: no list of them beside the map.
	rows, err := s.pool.QueryContext(ctx, `
		SELECT uid, outcome FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $4`,
		ref.Tenant, ref.ID, folder, uidValidity)
	known := map[uint32]Outcome{}
	if err == nil {
		defer rows.Close()
		for err == nil && rows.Next() {
			var uid uint32
			var outcome Outcome
			err = rows.Scan(&uid, &outcome)
			known[uid] = outcome
		}
		err = errors.Join(err, rows.Err())
	}
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", wrap(ctx, err))
	}
	return known, nil
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
