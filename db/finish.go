package db

import (
	"context"
	"fmt"
	"time"

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
	return s.behind(ctx, fence, func(tx *sqlx.Tx) error {
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
	failed := pass.ErrorCode != "" && !pass.Partial
	_, err := tx.ExecContext(ctx, `
		UPDATE imap_sync_state SET next_attempt_at = $3, last_error_code = nullif($4, ''), last_error = nullif($5, ''),
			last_success_at = CASE WHEN $6 THEN last_success_at ELSE $8 END,
			consecutive_failures = CASE WHEN $6 THEN consecutive_failures + 1 ELSE 0 END,
			auth_failures = CASE WHEN NOT $6 THEN 0 WHEN $7 THEN auth_failures + 1 ELSE auth_failures END
		WHERE tenant = $1 AND provider_id = $2`,
		fence.Tenant, fence.ProviderID, pass.NextAttemptAt, pass.ErrorCode, Clean(pass.Error), failed, pass.AuthFailure, pass.EndedAt)
	if err != nil {
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
