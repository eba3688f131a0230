package db

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
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

// Failure is a message that could not be handled, and when to try it again.
type Failure struct {
	UID           uint32
	State         string // QuarantineRetry or QuarantineDead
	Stage         string // fetch, parse, blob, publish, crash
	ErrorCode     string
	Error         string
	Attempts      int // so far, this one included
	Size          int64
	MessageID     string
	Subject       string
	Sender        string
	EventKey      string
	RawBlobKey    string
	NextAttemptAt *time.Time
}

// Quarantine is one message in quarantine.
type Quarantine struct {
	Tenant        string     `db:"tenant" json:"tenant"`
	ID            string     `db:"id" json:"id"`
	ProviderID    string     `db:"provider_id" json:"providerId"`
	Folder        string     `db:"folder" json:"folder"`
	UIDValidity   uint32     `db:"uid_validity" json:"uidValidity"`
	UID           uint32     `db:"uid" json:"uid"`
	State         string     `db:"state" json:"state"`
	Stage         string     `db:"stage" json:"stage"`
	ErrorCode     string     `db:"error_code" json:"errorCode"`
	Error         string     `db:"error" json:"error"`
	Attempts      int        `db:"attempts" json:"attempts"`
	Size          int64      `db:"size" json:"size"`
	MessageID     string     `db:"message_id" json:"messageId,omitempty"`
	Subject       string     `db:"subject" json:"subject,omitempty"`
	Sender        string     `db:"sender" json:"sender,omitempty"`
	EventKey      string     `db:"event_key" json:"eventKey,omitempty"`
	RawBlobKey    string     `db:"raw_blob_key" json:"rawBlobKey,omitempty"`
	NextAttemptAt *time.Time `db:"next_attempt_at" json:"nextAttemptAt,omitempty"`
	CreatedAt     time.Time  `db:"created_at" json:"createdAt"`
	UpdatedAt     time.Time  `db:"updated_at" json:"updatedAt"`
}

// QuarantineDue lists the messages of a provider that the next pass takes: those
// whose next attempt is due, the longest waiting first, and those released; limit
// in a folder, so that one that is gone starves no other.
func (s *Store) QuarantineDue(ctx context.Context, ref Ref, now time.Time, limit int) ([]Quarantine, error) {
	var list []Quarantine
	err := s.pool.SelectContext(ctx, &list, `
		SELECT tenant, id, provider_id, folder, uid_validity, uid, state, stage, error_code, error, attempts, size,
			coalesce(message_id, '') AS message_id, coalesce(subject, '') AS subject, coalesce(sender, '') AS sender,
			coalesce(event_key, '') AS event_key, coalesce(raw_blob_key, '') AS raw_blob_key, next_attempt_at,
			created_at, updated_at
		FROM imap_quarantine
		WHERE tenant = $1 AND provider_id = $2 AND id IN (
			SELECT id FROM (
				SELECT q.id, row_number() OVER (PARTITION BY q.folder ORDER BY q.next_attempt_at NULLS FIRST, q.uid) AS nth
				FROM imap_quarantine q
				JOIN imap_folder_state f ON f.tenant = q.tenant AND f.provider_id = q.provider_id AND f.folder = q.folder
					AND f.uid_validity = q.uid_validity AND f.paused_reason IS NULL
				WHERE q.tenant = $1 AND q.provider_id = $2
					AND (q.state = 'released' OR q.state = 'retry' AND (q.next_attempt_at IS NULL OR q.next_attempt_at <= $3))
			) due WHERE nth <= $4)
		ORDER BY next_attempt_at NULLS FIRST, folder, uid`, ref.Tenant, ref.ID, now, limit)
	if err != nil {
		return nil, fmt.Errorf("read quarantine: %w", wrap(err))
	}
	return list, nil
}

// writeQuarantine stores the failures of a step and takes out what succeeded.
func writeQuarantine(ctx context.Context, tx *sqlx.Tx, fence Fence, c Commit) error {
	for _, f := range c.Failures {
		_, err := tx.NamedExecContext(ctx, `
			INSERT INTO imap_quarantine (tenant, id, provider_id, folder, uid_validity, uid, state, stage, error_code,
				error, attempts, size, message_id, subject, sender, event_key, raw_blob_key, next_attempt_at,
				created_at, updated_at)
			VALUES (:tenant, :id, :provider_id, :folder, :uid_validity, :uid, :state, :stage, :error_code,
				:error, :attempts, :size, nullif(:message_id, ''), nullif(:subject, ''), nullif(:sender, ''),
				nullif(:event_key, ''), nullif(:raw_blob_key, ''), :next_attempt_at, :created_at, :updated_at)
			ON CONFLICT (tenant, provider_id, folder, uid_validity, uid) DO UPDATE SET state = EXCLUDED.state,
				stage = EXCLUDED.stage, error_code = EXCLUDED.error_code, error = EXCLUDED.error,
				attempts = EXCLUDED.attempts, size = greatest(imap_quarantine.size, EXCLUDED.size),
				message_id = coalesce(EXCLUDED.message_id, imap_quarantine.message_id),
				subject = coalesce(EXCLUDED.subject, imap_quarantine.subject),
				sender = coalesce(EXCLUDED.sender, imap_quarantine.sender),
				event_key = coalesce(EXCLUDED.event_key, imap_quarantine.event_key),
				raw_blob_key = coalesce(EXCLUDED.raw_blob_key, imap_quarantine.raw_blob_key),
				next_attempt_at = EXCLUDED.next_attempt_at, updated_at = EXCLUDED.updated_at`,
			Quarantine{
				Tenant: fence.Tenant, ID: uuid.NewString(), ProviderID: fence.ProviderID, Folder: c.State.Folder,
				UIDValidity: c.State.UIDValidity, UID: f.UID, State: f.State, Stage: f.Stage, ErrorCode: f.ErrorCode,
				Error: Clean(f.Error), Attempts: f.Attempts, Size: f.Size, MessageID: Clean(f.MessageID),
				Subject: Clean(f.Subject), Sender: Clean(f.Sender), EventKey: f.EventKey, RawBlobKey: f.RawBlobKey,
				NextAttemptAt: f.NextAttemptAt, CreatedAt: c.At, UpdatedAt: c.At,
			})
		if err != nil {
			return fmt.Errorf("write quarantine: %w", err)
		}
	}
	if len(c.Retried) == 0 {
		return nil
	}
	uids := make(pq.Int64Array, len(c.Retried))
	for i, uid := range c.Retried {
		uids[i] = int64(uid)
	}
	_, err := tx.ExecContext(ctx, `
		DELETE FROM imap_quarantine
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $4 AND uid = ANY($5)`,
		fence.Tenant, fence.ProviderID, c.State.Folder, c.State.UIDValidity, uids)
	if err != nil {
		return fmt.Errorf("leave quarantine: %w", err)
	}
	return nil
}

// QuarantineFilter says which quarantined messages to list. Empty fields match all.
type QuarantineFilter struct {
	Tenant     string `db:"tenant"`
	ProviderID string `db:"provider_id"`
	ID         string `db:"id"`
	State      string `db:"state"`
	Limit      int    `db:"limit"`
}

// ListQuarantine lists quarantined messages, the newest first.
func (s *Store) ListQuarantine(ctx context.Context, f QuarantineFilter) ([]Quarantine, error) {
	query, args, err := s.pool.BindNamed(`
		SELECT tenant, id, provider_id, folder, uid_validity, uid, state, stage, error_code, error, attempts, size,
			coalesce(message_id, '') AS message_id, coalesce(subject, '') AS subject, coalesce(sender, '') AS sender,
			coalesce(event_key, '') AS event_key, coalesce(raw_blob_key, '') AS raw_blob_key, next_attempt_at,
			created_at, updated_at
		FROM imap_quarantine
		WHERE (:tenant = '' OR tenant = CAST(nullif(:tenant, '') AS uuid))
			AND (:provider_id = '' OR provider_id = CAST(nullif(:provider_id, '') AS uuid))
			AND (:id = '' OR id = CAST(nullif(:id, '') AS uuid)) AND (:state = '' OR state = :state)
		ORDER BY created_at DESC, id LIMIT :limit`, f)
	if err != nil {
		return nil, fmt.Errorf("list quarantine: %w", err)
	}
	var list []Quarantine
	if err := s.pool.SelectContext(ctx, &list, query, args...); err != nil {
		return nil, fmt.Errorf("list quarantine: %w", wrap(err))
	}
	return list, nil
}

// FindQuarantine finds a quarantined message by its id, or ErrNotFound.
func (s *Store) FindQuarantine(ctx context.Context, id, tenant string) (*Quarantine, error) {
	var list []Quarantine
	if id != "" {
		var err error
		if list, err = s.ListQuarantine(ctx, QuarantineFilter{Tenant: tenant, ID: id, Limit: 1}); err != nil {
			return nil, err
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("quarantined message %s: %w", id, ErrNotFound)
	}
	return &list[0], nil
}

// SetQuarantineState moves a quarantined message on: to retry it is due at once
// and has all its attempts again; a discarded one counts as skipped.
func (s *Store) SetQuarantineState(ctx context.Context, q *Quarantine, state string, audit Audit) error {
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE imap_quarantine SET state = $3, updated_at = $4, next_attempt_at = NULL,
				attempts = CASE WHEN $3 = 'retry' THEN 0 ELSE attempts END
			WHERE tenant = $1 AND id = $2`, q.Tenant, q.ID, state, audit.At)
		if err != nil {
			return fmt.Errorf("set quarantine state: %w", err)
		}
		outcome := Quarantined
		if state == QuarantineDiscarded {
			outcome = Skipped
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE imap_messages SET outcome = $6, reason = $7
			WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $4 AND uid = $5
				AND outcome IN ('quarantined', 'skipped')`,
			q.Tenant, q.ProviderID, q.Folder, q.UIDValidity, q.UID, string(outcome), state)
		if err != nil {
			return fmt.Errorf("set outcome: %w", err)
		}
		return insertAudit(ctx, tx, audit)
	})
}

// OldestQuarantine is when the oldest message of a folder that is still to be
// tried came into quarantine; nil when there is none.
func (s *Store) OldestQuarantine(ctx context.Context, ref Ref, folder string) (*time.Time, error) {
	var oldest *time.Time
	err := s.pool.GetContext(ctx, &oldest, `
		SELECT min(created_at) FROM imap_quarantine
		WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND state IN ('retry', 'released')`,
		ref.Tenant, ref.ID, folder)
	if err != nil {
		return nil, fmt.Errorf("oldest in quarantine: %w", wrap(err))
	}
	return oldest, nil
}
