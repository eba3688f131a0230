package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// OAuthClientSecretName is the name of an OAuth2 client's secret.
func OAuthClientSecretName(providerID string) string {
	return "imap_oauth_client_secret_" + providerID
}

// ServiceAccountName is the name of a service account's JSON key.
func ServiceAccountName(providerID string) string { return "imap_oauth_service_account_" + providerID }

// RefreshTokenName is the name of the refresh token, which is rotated here.
func RefreshTokenName(providerID string) string { return "imap_refresh_token_" + providerID }

// AccessTokenName is the name of the access token in force.
func AccessTokenName(providerID string) string { return "imap_access_token_" + providerID }

// TokenTimes are when a provider's tokens were got and will end. What is nil
// stays as it is.
type TokenTimes struct {
	Expiry        time.Time  // of the access token
	RefreshedAt   time.Time  // now
	RefreshExpiry *time.Time // as the server said; always written
	AuthorisedAt  *time.Time // when a person signed in; makes the provider due at once
}

// PutTokens stores new versions of credentials as PutSecret does, and when tokens
// were got, behind the fence, or returns ErrFenced. Without a fence (its Epoch is
// 0) the version alone decides who comes first.
func (s *Store) PutTokens(ctx context.Context, ref Ref, fence Fence, times TokenTimes, sealed ...Secret) error {
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		if fence.Epoch != 0 {
			if err := fence.hold(ctx, tx); err != nil {
				return err
			}
		}
		if err := writeSecrets(ctx, tx, sealed); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			UPDATE imap_provider_options SET oauth_refreshed_at = $3, oauth_refresh_expires_at = $4,
				oauth_authorised_at = coalesce($5, oauth_authorised_at)
			WHERE tenant = $1 AND provider_id = $2`, ref.Tenant, ref.ID, times.RefreshedAt, times.RefreshExpiry, times.AuthorisedAt)
		if err != nil {
			return fmt.Errorf("write token times: %w", err)
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE imap_email_provider_config SET token_expires_at = $3, updated_at = coalesce($4, updated_at)
			WHERE tenant = $1 AND email_provider_id = $2`, ref.Tenant, ref.ID, times.Expiry, times.AuthorisedAt)
		if err != nil {
			return fmt.Errorf("mirror token expiry: %w", err)
		}
		if times.AuthorisedAt == nil {
			return nil
		}
		_, err = tx.ExecContext(ctx, `UPDATE imap_sync_state SET next_attempt_at = NULL
			WHERE tenant = $1 AND provider_id = $2`, ref.Tenant, ref.ID)
		if err != nil {
			return fmt.Errorf("make due: %w", err)
		}
		return nil
	})
}
