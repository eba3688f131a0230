package db

import (
	"cmp"
	"context"
	"time"

	"github.com/lib/pq"
)

// RenumberFolder stores the new cursor of a folder whose messages got new UIDs, with an
// audit entry unless that is empty. Whatever the ledger and the quarantine have under the
// UIDVALIDITY of the new numbering is of another one, and steps aside: the same number may
// come back, and two accounts may have it.
func (s *Store) RenumberFolder(ctx context.Context, fence Fence, f *FolderState, audit Audit) error {
	return s.behind(ctx, fence, func(tx *txn) error {
		// No server has a UIDVALIDITY below zero, and every pass has an epoch of its own.
		for what, statement := range map[string]string{
			"put the ledger aside": `UPDATE imap_messages SET uid_validity = $4
				WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $5`,
			"put the quarantine aside": `UPDATE imap_quarantine SET uid_validity = $4
				WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $5`,
		} {
			tx.exec(ctx, what, statement, fence.Tenant, fence.ProviderID, f.Folder, -fence.Epoch, f.UIDValidity)
		}
		if !f.Unstable { // else it keeps its rows, as all do
			tx.exec(ctx, "forget what was held", deleteHeld, fence.Tenant, fence.ProviderID, f.Folder)
		}
		writeFolder(ctx, tx, fence, f)
		tx.exec(ctx, "forget what was pruned", `UPDATE imap_folder_state SET pruned_uid = 0
			WHERE tenant = $1 AND provider_id = $2 AND folder = $3`, fence.Tenant, fence.ProviderID, f.Folder)
		if audit.Action != "" {
			tx.audit(ctx, audit)
		}
		return tx.err
	})
}

const deleteHeld = `DELETE FROM imap_messages WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND outcome = 'held'`

// ResyncFolder stores the cursor of a folder that a person wants gone through again,
// with an audit entry. What is held is looked at with the rest.
func (s *Store) ResyncFolder(ctx context.Context, fence Fence, f *FolderState, audit Audit) error {
	return s.behind(ctx, fence, func(tx *txn) error {
		tx.exec(ctx, "forget what was held", deleteHeld, fence.Tenant, fence.ProviderID, f.Folder)
		writeFolder(ctx, tx, fence, f)
		tx.audit(ctx, audit)
		return tx.err
	})
}

// NotFoundAnew is the code of a message in quarantine that was not found when its folder
// was gone through after it was numbered anew, and is not known to be gone.
const NotFoundAnew = "not_found_anew"

// EndResync stores the cursor of a folder that was gone through as a whole. What waits
// in the quarantine to be tried again, and was not found under the new numbering, is
// gone from the server, or was read as what it is now. Where the folder was another
// account's, or the raw mail was kept, that is for a person to say.
func (s *Store) EndResync(ctx context.Context, fence Fence, f *FolderState, sameAccount bool, at time.Time) error {
	return s.behind(ctx, fence, func(tx *txn) error {
		if sameAccount {
			tx.exec(ctx, "leave quarantine", `
				WITH gone AS (
					DELETE FROM imap_quarantine WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity <> $4
						AND state IN ('retry', 'released') AND raw_blob_key IS NULL
					RETURNING uid_validity, uid
				)
				UPDATE imap_messages m SET outcome = 'expunged' FROM gone
				WHERE m.tenant = $1 AND m.provider_id = $2 AND m.folder = $3 AND m.uid_validity = gone.uid_validity
					AND m.uid = gone.uid AND m.outcome = 'quarantined'`,
				fence.Tenant, fence.ProviderID, f.Folder, f.UIDValidity)
		}
		tx.exec(ctx, "give up in quarantine", `
			UPDATE imap_quarantine SET state = 'dead', stage = 'fetch', error_code = $5, next_attempt_at = NULL, updated_at = $6,
				error = 'the message was not found when the folder was numbered anew: it may stand in the account that the mailbox had before'
			WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity <> $4 AND state IN ('retry', 'released')`,
			fence.Tenant, fence.ProviderID, f.Folder, f.UIDValidity, NotFoundAnew, at)
		writeFolder(ctx, tx, fence, f)
		return tx.err
	})
}

// Trace is what the ledger knows of a message under another numbering, by which its
// header may tell it. UIDValidity is below zero where the numbering was put aside.
type Trace struct {
	Folder       string     `db:"folder"`
	UIDValidity  int64      `db:"uid_validity"`
	UID          uint32     `db:"uid"`
	EventKey     string     `db:"event_key"`
	MessageID    string     `db:"message_id"`
	Fingerprint  string     `db:"fingerprint"`
	Outcome      Outcome    `db:"outcome"`
	Size         int64      `db:"size"`
	InternalDate *time.Time `db:"internal_date"`
}

// maxTraces is how many rows of one Message-ID are looked at: of more, none would be
// the only one.
const maxTraces = 20

// Traces lists what was published, or was a duplicate, under one of the Message-IDs: in
// a folder and not under a UIDVALIDITY, or, where the folder is empty, anywhere.
// The statement is made as knownMessages is, and for the same reason.
func (s *Store) Traces(ctx context.Context, ref Ref, folder string, uidValidity uint64, messageIDs []string) ([]Trace, error) {
	return selectAll[Trace](ctx, s, "read ledger", `
		SELECT found.folder, found.uid_validity, found.uid, coalesce(found.event_key, '') AS event_key, found.message_id,
			coalesce(found.fingerprint, '') AS fingerprint, found.outcome, found.size, found.internal_date
		FROM unnest($3::text[]) AS asked(message_id) CROSS JOIN LATERAL (
			SELECT folder, uid_validity, uid, event_key, message_id, fingerprint, outcome, size, internal_date,
				generate_series(1, 20) AS copy
			FROM imap_messages
			WHERE tenant = $1 AND provider_id = $2 AND message_id BETWEEN asked.message_id AND asked.message_id
				AND outcome IN ('published', 'duplicate') AND ($4 = '' OR folder = $4 AND uid_validity <> $5)
			ORDER BY message_id LIMIT 20 * $6::int
		) AS found
		WHERE found.copy = 1
		ORDER BY found.message_id, found.outcome DESC, found.uid_validity, found.uid`,
		ref.Tenant, ref.ID, pq.StringArray(messageIDs), folder, uidValidity, maxTraces)
}

// UnnamedTraces is Traces for mail that has no Message-ID.
func (s *Store) UnnamedTraces(ctx context.Context, ref Ref, folder string, uidValidity uint64) ([]Trace, error) {
	return selectAll[Trace](ctx, s, "read ledger", `
		SELECT folder, uid_validity, uid, coalesce(event_key, '') AS event_key, '' AS message_id,
			coalesce(fingerprint, '') AS fingerprint, outcome, size, internal_date
		FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity <> $4 AND message_id IS NULL
			AND outcome IN ('published', 'duplicate')
		ORDER BY uid_validity, uid`, ref.Tenant, ref.ID, folder, uidValidity)
}

// AsideQuarantine is a quarantined message that stands under another numbering than the
// present one; its Numbering is below zero where that was put aside.
type AsideQuarantine struct {
	Quarantine

	Numbering   int64  `db:"numbering"`
	Fingerprint string `db:"fingerprint"`
}

// AsideQuarantine lists those of a folder, discarded ones too, that are not of the
// numbering given.
func (s *Store) AsideQuarantine(ctx context.Context, ref Ref, folder string, uidValidity uint64) ([]AsideQuarantine, error) {
	return selectAll[AsideQuarantine](ctx, s, "read quarantine", `
		SELECT q.tenant, q.id, q.provider_id, q.folder, greatest(q.uid_validity, 0) AS uid_validity, q.uid_validity AS numbering, q.uid,
			q.state, q.stage, q.error_code, q.error, q.attempts, q.size, coalesce(q.message_id, '') AS message_id,
			coalesce(q.subject, '') AS subject, coalesce(q.sender, '') AS sender, coalesce(q.event_key, '') AS event_key,
			coalesce(q.raw_blob_key, '') AS raw_blob_key, q.next_attempt_at, q.charges, q.kills, q.charged_at,
			coalesce(q.internal_date, m.internal_date) AS internal_date, q.created_at, q.updated_at,
			coalesce(m.fingerprint, '') AS fingerprint
		FROM imap_quarantine q
		LEFT JOIN imap_messages m ON m.tenant = q.tenant AND m.provider_id = q.provider_id AND m.folder = q.folder
			AND m.uid_validity = q.uid_validity AND m.uid = q.uid
		WHERE q.tenant = $1 AND q.provider_id = $2 AND q.folder = $3 AND q.uid_validity <> $4
		ORDER BY q.created_at, q.uid LIMIT 10000`, ref.Tenant, ref.ID, folder, uidValidity)
}

// At is the entry under the UID that the message has now.
func (q *AsideQuarantine) At(uidValidity uint64, uid uint32) Quarantine {
	now := q.Quarantine
	now.UIDValidity, now.UID = uidValidity, uid
	return now
}

// Due reports whether it is tried again.
func (q *AsideQuarantine) Due(now time.Time) bool {
	return q.Tried() && (q.NextAttemptAt == nil || !q.NextAttemptAt.After(now))
}

// Tried reports whether it is tried again now or later: one that was not found is, once
// it is.
func (q *AsideQuarantine) Tried() bool {
	return q.State == QuarantineReleased || q.State == QuarantineRetry || q.State == QuarantineDead && q.ErrorCode == NotFoundAnew
}

// HeldKeys counts the messages of a folder that are held, by event key.
func (s *Store) HeldKeys(ctx context.Context, ref Ref, folder string) (map[string]int, error) {
	rows, err := selectAll[struct {
		Key string `db:"event_key"`
		N   int    `db:"n"`
	}](ctx, s, "read ledger", `
		SELECT coalesce(event_key, '') AS event_key, count(*) AS n FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND outcome = 'held' GROUP BY 1`, ref.Tenant, ref.ID, folder)
	if err != nil {
		return nil, err
	}
	keys := make(map[string]int, len(rows))
	for _, row := range rows {
		keys[row.Key] = row.N
	}
	return keys, nil
}

// OldestHeld is when the server received the oldest message of a folder that is held, nil
// when none is.
func (s *Store) OldestHeld(ctx context.Context, ref Ref, folder string) (*time.Time, error) {
	return selectOne[*time.Time](ctx, s, "oldest held", `
		SELECT min(coalesce(internal_date, '1970-01-02')) FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND outcome = 'held'`, ref.Tenant, ref.ID, folder)
}

// Move is a message whose row, in the ledger and in the quarantine, goes along to the
// UID that it has now.
type Move struct {
	UIDValidity int64 // until now
	UID         uint32
	To          uint32
}

// moveRows has the rows of a step go along to the numbering of its cursor.
func moveRows(ctx context.Context, tx *txn, fence Fence, c Commit) {
	if len(c.Moved) == 0 {
		return
	}
	validities, uids, to := make(pq.Int64Array, len(c.Moved)), make(pq.Int64Array, len(c.Moved)), make(pq.Int64Array, len(c.Moved))
	for i, m := range c.Moved {
		validities[i], uids[i], to[i] = m.UIDValidity, int64(m.UID), int64(m.To)
	}
	args := []any{fence.Tenant, fence.ProviderID, c.State.Folder, c.State.UIDValidity, validities, uids, to}
	// One that was taken for gone under its new UID, and is there, has a row in the way.
	tx.exec(ctx, "move ledger", `
		DELETE FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $4 AND uid = ANY($5) AND outcome = 'expunged'`,
		fence.Tenant, fence.ProviderID, c.State.Folder, c.State.UIDValidity, to)
	tx.exec(ctx, "move ledger", `
		UPDATE imap_messages m SET uid_validity = $4, uid = k.new_uid
		FROM unnest($5::bigint[], $6::bigint[], $7::bigint[]) AS k(old_validity, old_uid, new_uid)
		WHERE m.tenant = $1 AND m.provider_id = $2 AND m.folder = $3 AND m.uid_validity = k.old_validity AND m.uid = k.old_uid`, args...)
	tx.exec(ctx, "move quarantine", `
		UPDATE imap_quarantine q SET uid_validity = $4, uid = k.new_uid
		FROM unnest($5::bigint[], $6::bigint[], $7::bigint[]) AS k(old_validity, old_uid, new_uid)
		WHERE q.tenant = $1 AND q.provider_id = $2 AND q.folder = $3 AND q.uid_validity = k.old_validity AND q.uid = k.old_uid`, args...)
}

// takeOver has duplicates take over the rows that stand for them in a folder that was
// numbered anew: a row that was left there would pass for another message of the same
// header. It returns the messages that have none, and how many have.
func takeOver(ctx context.Context, tx *txn, fence Fence, c Commit) (rest []Message, taken int) {
	if c.State.RenumberedAt == nil && c.State.ResyncSince == nil {
		return c.Messages, 0
	}
	for _, m := range c.Messages {
		if m.Outcome == Duplicate && takeOverRow(ctx, tx, fence, c, m) {
			taken++
		} else {
			rest = append(rest, m)
		}
	}
	return rest, taken
}

// takeOverRow reports whether there was a row for a duplicate to take over. What it has
// been taken for under its new UID, before it was known what it is, makes room.
func takeOverRow(ctx context.Context, tx *txn, fence Fence, c Commit, m Message) bool {
	args := []any{fence.Tenant, fence.ProviderID, c.State.Folder, c.State.UIDValidity, m.UID, m.Fingerprint,
		m.Size, m.InternalDate, Clean(m.MessageID), cmp.Or(m.CopyOf, m.EventKey)}
	tx.exec(ctx, "make room in ledger", `
		DELETE FROM imap_messages
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $4 AND uid = $5
			AND outcome IN ('expunged', 'quarantined') AND EXISTS `+spareRow, args...)
	return tx.exec(ctx, "take over ledger", `
		UPDATE imap_messages SET uid_validity = $4, uid = $5, processed_at = $11, size = $7, internal_date = coalesce($8, internal_date)
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND (uid_validity, uid) = `+spareRow+` AND NOT EXISTS (
			SELECT FROM imap_messages WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $4 AND uid = $5)`,
		append(args, c.At)...) > 0
}

// spareRow is found by its Message-ID or, where it has none, by its header print.
const spareRow = `(
	SELECT uid_validity, uid FROM imap_messages
	WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity <> $4 AND event_key = $10
		AND outcome IN ('published', 'duplicate') AND ($9 <> '' AND message_id = $9 OR $9 = '' AND message_id IS NULL AND fingerprint = $6)
	ORDER BY internal_date IS NOT DISTINCT FROM $8 DESC, size = $7 DESC, outcome DESC, uid_validity, uid LIMIT 1)`
