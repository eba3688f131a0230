package db

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// RemoveProvider deletes a provider with all that is kept about it. Events
// already published stay on the stream.
func (s *Store) RemoveProvider(ctx context.Context, ref Ref, audit Audit) error {
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		for _, stmt := range []string{
			`DELETE FROM imap_secrets WHERE tenant = $1 AND right(name, 37) = '_' || $2`,
			`DELETE FROM imap_quarantine WHERE tenant = $1 AND provider_id = $2::uuid`,
			`DELETE FROM imap_messages WHERE tenant = $1 AND provider_id = $2::uuid`,
			`DELETE FROM imap_folder_state WHERE tenant = $1 AND provider_id = $2::uuid`,
			`DELETE FROM imap_runs WHERE tenant = $1 AND provider_id = $2::uuid`,
			`DELETE FROM imap_sync_state WHERE tenant = $1 AND provider_id = $2::uuid`,
			`DELETE FROM imap_provider_options WHERE tenant = $1 AND provider_id = $2::uuid`,
			`DELETE FROM imap_email_provider_config WHERE tenant = $1 AND email_provider_id = $2::uuid`,
			`DELETE FROM email_providers WHERE tenant = $1 AND id = $2::uuid`,
		} {
			if _, err := tx.ExecContext(ctx, stmt, ref.Tenant, ref.ID); err != nil {
				return fmt.Errorf("remove provider: %w", err)
			}
		}
		return insertAudit(ctx, tx, audit)
	})
}
