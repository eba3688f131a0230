package db

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// PauseProvider stops passes over the provider until it is resumed. Mail that
// arrives meanwhile waits on the server.
func (s *Store) PauseProvider(ctx context.Context, ref Ref, reason string, audit Audit) error {
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE email_providers SET inbound_paused_at = coalesce(inbound_paused_at, $3),
				inbound_pause_reason = $4, updated_at = $3
			WHERE tenant = $1 AND id = $2`, ref.Tenant, ref.ID, audit.At, reason)
		if err != nil {
			return fmt.Errorf("pause provider: %w", err)
		}
		return insertAudit(ctx, tx, audit)
	})
}

// ResumeProvider makes the provider due at once and forgets its failures.
func (s *Store) ResumeProvider(ctx context.Context, ref Ref, audit Audit) error {
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE email_providers SET inbound_paused_at = NULL, inbound_pause_reason = NULL, updated_at = $3
			WHERE tenant = $1 AND id = $2`, ref.Tenant, ref.ID, audit.At)
		if err != nil {
			return fmt.Errorf("resume provider: %w", err)
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE imap_sync_state SET next_attempt_at = NULL, consecutive_failures = 0, auth_failures = 0
			WHERE tenant = $1 AND provider_id = $2`, ref.Tenant, ref.ID)
		if err != nil {
			return fmt.Errorf("forget failures: %w", err)
		}
		return insertAudit(ctx, tx, audit)
	})
}
