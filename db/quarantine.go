package db

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

// The states of a quarantined message. One in retry is tried again by itself,
// one that is dead waits for a person, one that is released goes out by its
// headers alone at the next pass.
const (
	QuarantineRetry     = "retry"
	QuarantineDead      = "dead"
	QuarantineReleased  = "released"
	QuarantineDiscarded = "discarded"
)

// Quarantine is one message in quarantine.
type Quarantine struct {
	Tenant        string     `db:"tenant" json:"tenant"`
	ID            string     `db:"id" json:"id"`
	ProviderID    string     `db:"provider_id" json:"providerId"`
	Folder        string     `db:"folder" json:"folder"`
	UIDValidity   uint64     `db:"uid_validity" json:"uidValidity"`
	UID           uint32     `db:"uid" json:"uid"`
	State         string     `db:"state" json:"state"`
	Stage         string     `db:"stage" json:"stage"` // fetch, parse, blob, publish, crash
	ErrorCode     string     `db:"error_code" json:"errorCode"`
	Error         string     `db:"error" json:"error"`
	Attempts      int        `db:"attempts" json:"attempts"` // so far
	Size          int64      `db:"size" json:"size"`
	MessageID     string     `db:"message_id" json:"messageId,omitempty"`
	Subject       string     `db:"subject" json:"subject,omitempty"`
	Sender        string     `db:"sender" json:"sender,omitempty"`
	EventKey      string     `db:"event_key" json:"eventKey,omitempty"`
	RawBlobKey    string     `db:"raw_blob_key" json:"rawBlobKey,omitempty"`
	NextAttemptAt *time.Time `db:"next_attempt_at" json:"nextAttemptAt,omitempty"`
	Charges       int        `db:"charges" json:"-"`    // of Attempts, those that were the message's own fault
	Kills         int        `db:"kills" json:"-"`      // passes that were killed while they handled it alone
	ChargedAt     *time.Time `db:"charged_at" json:"-"` // when it was last charged
	InternalDate  *time.Time `db:"internal_date" json:"internalDate,omitempty"`
	CreatedAt     time.Time  `db:"created_at" json:"createdAt"`
	UpdatedAt     time.Time  `db:"updated_at" json:"updatedAt"`
}

// QuarantineDue lists the messages of a provider that the next pass takes: those
// whose next attempt is due, the longest waiting first; limit in a folder, so that one
// that is gone starves no other.
func (s *Store) QuarantineDue(ctx context.Context, ref Ref, now time.Time, limit int) ([]Quarantine, error) {
	return selectAll[Quarantine](ctx, s, "read quarantine", `
		SELECT tenant, id, provider_id, folder, greatest(uid_validity, 0) AS uid_validity, uid, state, stage, error_code, error, attempts, size,
			coalesce(message_id, '') AS message_id, coalesce(subject, '') AS subject, coalesce(sender, '') AS sender,
			coalesce(event_key, '') AS event_key, coalesce(raw_blob_key, '') AS raw_blob_key, next_attempt_at,
			charges, kills, charged_at, internal_date, created_at, updated_at
		FROM imap_quarantine
		WHERE tenant = $1 AND provider_id = $2 AND id IN (
			SELECT id FROM (
				SELECT q.id, row_number() OVER (PARTITION BY q.folder ORDER BY q.next_attempt_at NULLS FIRST, q.uid) AS nth
				FROM imap_quarantine q
				JOIN imap_folder_state f ON f.tenant = q.tenant AND f.provider_id = q.provider_id AND f.folder = q.folder
					AND f.uid_validity = q.uid_validity
				WHERE q.tenant = $1 AND q.provider_id = $2
					AND q.state IN ('retry', 'released') AND (q.next_attempt_at IS NULL OR q.next_attempt_at <= $3)
			) due WHERE nth <= $4)
		ORDER BY next_attempt_at NULLS FIRST, folder, uid`, ref.Tenant, ref.ID, now, limit)
}

// writeQuarantine stores the failures of a step and takes out what succeeded.
func writeQuarantine(ctx context.Context, tx *txn, fence Fence, c Commit) {
	for _, q := range c.Failures {
		q.Tenant, q.ID, q.ProviderID = fence.Tenant, uuid.NewString(), fence.ProviderID
		q.Folder, q.UIDValidity, q.CreatedAt, q.UpdatedAt = c.State.Folder, c.State.UIDValidity, c.At, c.At
		q.Error, q.MessageID, q.Subject, q.Sender = Clean(q.Error), Clean(q.MessageID), Clean(q.Subject), Clean(q.Sender)
		tx.named(ctx, "write quarantine", `
			INSERT INTO imap_quarantine (tenant, id, provider_id, folder, uid_validity, uid, state, stage, error_code,
				error, attempts, size, message_id, subject, sender, event_key, raw_blob_key, next_attempt_at,
				charges, kills, charged_at, internal_date, created_at, updated_at)
			VALUES (:tenant, :id, :provider_id, :folder, :uid_validity, :uid, :state, :stage, :error_code,
				:error, :attempts, :size, nullif(:message_id, ''), nullif(:subject, ''), nullif(:sender, ''),
				nullif(:event_key, ''), nullif(:raw_blob_key, ''), :next_attempt_at,
				:charges, :kills, :charged_at, :internal_date, :created_at, :updated_at)
			ON CONFLICT (tenant, provider_id, folder, uid_validity, uid) DO UPDATE SET state = EXCLUDED.state,
				stage = EXCLUDED.stage, error_code = EXCLUDED.error_code, error = EXCLUDED.error,
				attempts = EXCLUDED.attempts, size = greatest(imap_quarantine.size, EXCLUDED.size),
				message_id = coalesce(EXCLUDED.message_id, imap_quarantine.message_id),
				subject = coalesce(EXCLUDED.subject, imap_quarantine.subject),
				sender = coalesce(EXCLUDED.sender, imap_quarantine.sender),
				event_key = coalesce(EXCLUDED.event_key, imap_quarantine.event_key),
				raw_blob_key = coalesce(EXCLUDED.raw_blob_key, imap_quarantine.raw_blob_key),
				next_attempt_at = EXCLUDED.next_attempt_at, charges = EXCLUDED.charges, kills = EXCLUDED.kills,
				charged_at = EXCLUDED.charged_at, internal_date = coalesce(EXCLUDED.internal_date, imap_quarantine.internal_date),
				updated_at = EXCLUDED.updated_at`, q)
	}
	if len(c.Retried) == 0 {
		return
	}
	uids := make(pq.Int64Array, len(c.Retried))
	for i, uid := range c.Retried {
		uids[i] = int64(uid)
	}
	tx.exec(ctx, "leave quarantine", `
		DELETE FROM imap_quarantine
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $4 AND uid = ANY($5)`,
		fence.Tenant, fence.ProviderID, c.State.Folder, c.State.UIDValidity, uids)
}

// SmallestHandled lists messages of a folder whose bodies were read, out of those with
// the highest UIDs: the smallest of at least so many bytes first, then the others.
func (s *Store) SmallestHandled(ctx context.Context, ref Ref, folder string, uidValidity uint64, least int64, limit int) ([]Message, error) {
	return selectAll[Message](ctx, s, "read ledger", `
		SELECT uid, size, coalesce(event_key, '') AS event_key FROM (
			SELECT uid, size, event_key, outcome, by_header FROM imap_messages
			WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $4 ORDER BY uid DESC LIMIT 2000
		) handled
		WHERE outcome IN ('published', 'duplicate') AND NOT by_header
		ORDER BY size = 0, size < $6, size, uid DESC LIMIT $5`, ref.Tenant, ref.ID, folder, uidValidity, limit, least)
}

// CountDead counts the messages of providers that wait for a person.
func (s *Store) CountDead(ctx context.Context, refs []Ref) (int, error) {
	tenants, ids := make(pq.StringArray, len(refs)), make(pq.StringArray, len(refs))
	for i, ref := range refs {
		tenants[i], ids[i] = ref.Tenant, ref.ID
	}
	return selectOne[int](ctx, s, "count quarantine", `
		SELECT count(*) FROM imap_quarantine
		WHERE state = 'dead' AND tenant = ANY($1::uuid[]) AND provider_id = ANY($2::uuid[])`, tenants, ids)
}

// QuarantineFilter says which quarantined messages to list. Empty fields match all.
type QuarantineFilter struct {
	Tenant, ProviderID string
	ID, State          string
	Limit              int
}

// ListQuarantine lists quarantined messages, the newest first.
func (s *Store) ListQuarantine(ctx context.Context, f QuarantineFilter) ([]Quarantine, error) {
	return selectAll[Quarantine](ctx, s, "list quarantine", `
		SELECT tenant, id, provider_id, folder, greatest(uid_validity, 0) AS uid_validity, uid, state, stage, error_code, error, attempts, size,
			coalesce(message_id, '') AS message_id, coalesce(subject, '') AS subject, coalesce(sender, '') AS sender,
			coalesce(event_key, '') AS event_key, coalesce(raw_blob_key, '') AS raw_blob_key, next_attempt_at,
			charges, kills, charged_at, internal_date, created_at, updated_at
		FROM imap_quarantine
		WHERE ($1 = '' OR tenant = nullif($1, '')::uuid) AND ($2 = '' OR provider_id = nullif($2, '')::uuid)
			AND ($3 = '' OR id = nullif($3, '')::uuid) AND ($4 = '' OR state = $4)
		ORDER BY created_at DESC, id LIMIT $5`, f.Tenant, f.ProviderID, f.ID, f.State, f.Limit)
}

// FindQuarantine finds a quarantined message by its id, or ErrNotFound.
func (s *Store) FindQuarantine(ctx context.Context, id, tenant string) (*Quarantine, error) {
	list, err := s.ListQuarantine(ctx, QuarantineFilter{Tenant: tenant, ID: id, Limit: 1})
	if err == nil && (id == "" || len(list) == 0) {
		err = fmt.Errorf("quarantined message %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// SetQuarantineState moves a quarantined message on: to retry it is due at once
// and has all its attempts again; a discarded one counts as skipped.
func (s *Store) SetQuarantineState(ctx context.Context, q *Quarantine, state string, audit Audit) error {
	outcome := Quarantined
	if state == QuarantineDiscarded {
		outcome = Skipped
	}
	return s.inTx(ctx, func(tx *txn) error {
		tx.exec(ctx, "set outcome", `
			UPDATE imap_messages m SET outcome = $3, reason = $4
			FROM imap_quarantine q
			WHERE m.tenant = $1 AND q.tenant = $1 AND q.id = $2 AND m.provider_id = q.provider_id AND m.folder = q.folder
				AND m.uid_validity = q.uid_validity AND m.uid = q.uid AND m.outcome IN ('quarantined', 'skipped')`,
			q.Tenant, q.ID, string(outcome), state)
		tx.exec(ctx, "set quarantine state", `
			UPDATE imap_quarantine SET state = $3, updated_at = $4, next_attempt_at = NULL,
				attempts = CASE WHEN $3 = 'retry' THEN 0 ELSE attempts END,
				charges = CASE WHEN $3 = 'retry' THEN 0 ELSE charges END,
				kills = CASE WHEN $3 = 'retry' THEN 0 ELSE kills END,
				charged_at = CASE WHEN $3 = 'retry' THEN NULL ELSE charged_at END
			WHERE tenant = $1 AND id = $2`, q.Tenant, q.ID, state, audit.At)
		tx.audit(ctx, audit)
		return tx.err
	})
}

// OldestQuarantine is when the oldest message of a folder that is still to be tried
// was received, or came into quarantine; nil when there is none.
func (s *Store) OldestQuarantine(ctx context.Context, ref Ref, folder string) (*time.Time, error) {
	return selectOne[*time.Time](ctx, s, "oldest in quarantine", `
		SELECT min(least(created_at, internal_date)) FROM imap_quarantine
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND state IN ('retry', 'released')`,
		ref.Tenant, ref.ID, folder)
}
