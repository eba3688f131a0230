package db

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// Pass is how one pass over a provider ended.
type Pass struct {
	StartedAt     time.Time
	EndedAt       time.Time
	Counts        Counts
	Folders       int   // folders served
	Bytes         int64 // downloaded
	ErrorCode     string
	Partial       bool // the error is about some folders; the login and the others went well
	Error         string
	AuthFailure   bool
	NextAttemptAt *time.Time // nil: due at once
	PauseReason   string     // pauses the provider when not empty
	Host          string     // of this process
	Version       string
}

// FinishPass writes the end of a pass behind the fence. A pass that succeeded
// and brought no mail writes one row: the provider's state.
func (s *Store) FinishPass(ctx context.Context, fence Fence, p *Provider, pass Pass) error {
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := fence.hold(ctx, tx); err != nil {
			return err
		}
		if err := finishState(ctx, tx, fence, pass); err != nil {
			return err
		}
		if err := finishProvider(ctx, tx, p, pass); err != nil {
			return err
		}
		if pass.PauseReason != "" && p.PausedAt == nil {
			err := insertAudit(ctx, tx, Audit{
				Tenant: p.Tenant, At: pass.EndedAt, Actor: auditJob, Action: "provider_paused", ProviderID: p.ID,
				Detail: Detail{"reason": pass.PauseReason, "code": pass.ErrorCode, "error": Clean(pass.Error)},
			})
			if err != nil {
				return err
			}
		}
		if pass.ErrorCode == "" && pass.Counts.Total() == 0 {
			return nil
		}
		return insertRun(ctx, tx, fence, pass)
	})
}

func finishState(ctx context.Context, tx *sqlx.Tx, fence Fence, pass Pass) error {
	query := `UPDATE imap_sync_state SET last_success_at = $3, next_attempt_at = $4, consecutive_failures = 0,
			auth_failures = 0, last_error_code = NULL, last_error = NULL
		WHERE tenant = $1 AND provider_id = $2`
	args := []any{fence.Tenant, fence.ProviderID, pass.EndedAt, pass.NextAttemptAt}
	switch {
	case pass.ErrorCode != "" && pass.Partial:
		query = `UPDATE imap_sync_state SET last_success_at = $3, next_attempt_at = $4, consecutive_failures = 0,
				auth_failures = 0, last_error_code = $5, last_error = $6
			WHERE tenant = $1 AND provider_id = $2`
		args = append(args, pass.ErrorCode, Clean(pass.Error))
	case pass.ErrorCode != "":
		query = `UPDATE imap_sync_state SET next_attempt_at = $3, consecutive_failures = consecutive_failures + 1,
				auth_failures = CASE WHEN $4 THEN auth_failures + 1 ELSE auth_failures END,
				last_error_code = $5, last_error = $6
			WHERE tenant = $1 AND provider_id = $2`
		args = []any{fence.Tenant, fence.ProviderID, pass.NextAttemptAt, pass.AuthFailure, pass.ErrorCode, Clean(pass.Error)}
	}
	if _, err := tx.ExecContext(ctx, query, args...); err != nil {
		return fmt.Errorf("finish state: %w", err)
	}
	return nil
}

func finishProvider(ctx context.Context, tx *sqlx.Tx, p *Provider, pass Pass) error {
	status, message := StatusConnected, ""
	if pass.ErrorCode != "" {
		status, message = StatusError, Clean(pass.Error)
	}
	if p.Status == status && p.ErrorMessage == message && pass.PauseReason == "" {
		return nil
	}
	_, err := tx.ExecContext(ctx, `
		UPDATE email_providers SET status = $3, error_message = nullif($4, ''), updated_at = $5,
			inbound_paused_at = CASE WHEN $6 = '' THEN inbound_paused_at ELSE coalesce(inbound_paused_at, $5) END,
			inbound_pause_reason = CASE WHEN $6 = '' THEN inbound_pause_reason ELSE $6 END
		WHERE tenant = $1 AND id = $2`, p.Tenant, p.ID, status, message, pass.EndedAt, pass.PauseReason)
	if err != nil {
		return fmt.Errorf("finish provider: %w", err)
	}
	_, err = tx.ExecContext(ctx, `
		UPDATE imap_email_provider_config SET last_error = nullif($3, '')
		WHERE tenant = $1 AND email_provider_id = $2`, p.Tenant, p.ID, message)
	if err != nil {
		return fmt.Errorf("mirror error: %w", err)
	}
	return nil
}

func insertRun(ctx context.Context, tx *sqlx.Tx, fence Fence, pass Pass) error {
	outcome := "ok"
	if pass.ErrorCode != "" {
		outcome = "failed"
	}
	_, err := tx.ExecContext(ctx, `
		INSERT INTO imap_runs (tenant, provider_id, id, started_at, ended_at, outcome, error_code, error, folders,
			published, duplicates, skipped, expunged, quarantined, bytes, host, version)
		VALUES ($1, $2, $3, $4, $5, $6, nullif($7, ''), nullif($8, ''), $9, $10, $11, $12, $13, $14, $15, $16, $17)`,
		fence.Tenant, fence.ProviderID, uuid.NewString(), pass.StartedAt, pass.EndedAt, outcome, pass.ErrorCode,
		Clean(pass.Error), pass.Folders, pass.Counts.Published, pass.Counts.Duplicates, pass.Counts.Skipped,
		pass.Counts.Expunged, pass.Counts.Quarantined, pass.Bytes, pass.Host, pass.Version)
	if err != nil {
		return fmt.Errorf("write run: %w", err)
	}
	return nil
}
