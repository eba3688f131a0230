package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"imapsync/internal/fault"
	"imapsync/secret"
)

// Secret is one version of a sealed credential.
type Secret struct {
	Tenant    string    `db:"tenant"`
	Name      string    `db:"name"`
	Version   int64     `db:"version"`
	Envelope  []byte    `db:"envelope"`
	CreatedAt time.Time `db:"created_at"`
}

func (s *Secret) aad() secret.AAD {
	return secret.AAD{Tenant: s.Tenant, Name: s.Name, Version: s.Version}
}

// PasswordName is the name a provider's password is kept under.
func PasswordName(providerID string) string { return "imap_password_" + providerID }

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

// SealSecret seals value as the version after the newest one stored. Store it
// by AddProvider, UpdateProvider, PutSecret or PutTokens.
func (s *Store) SealSecret(ctx context.Context, box *secret.Box, tenant, name string, value secret.Value, now time.Time) (Secret, error) {
	newest, err := selectOne[int64](ctx, s, "secret "+name+": newest version", `
		SELECT coalesce(max(version), 0) FROM imap_secrets WHERE tenant = $1 AND name = $2`, tenant, name)
	if err != nil {
		return Secret{}, err
	}
	sealed := Secret{Tenant: tenant, Name: name, Version: newest + 1, CreatedAt: now}
	sealed.Envelope, err = box.Seal(value, sealed.aad())
	if err != nil {
		return Secret{}, fmt.Errorf("secret %s: seal: %w", name, err)
	}
	return sealed, nil
}

// PutSecret stores a new version of a credential. The version before is kept,
// and those before that are removed. Of two writers of one version the second
// fails with ErrExists.
func (s *Store) PutSecret(ctx context.Context, sealed Secret) error {
	return s.inTx(ctx, func(tx *txn) error {
		writeSecrets(ctx, tx, []Secret{sealed})
		return tx.err
	})
}

// OpenSecret returns the newest version of a credential and its number, 0 when
// there is none; that is no error.
func (s *Store) OpenSecret(ctx context.Context, box *secret.Box, tenant, name string) (secret.Value, int64, error) {
	sealed, err := selectOne[Secret](ctx, s, "secret "+name, `
		SELECT tenant, name, version, envelope, created_at FROM imap_secrets
		WHERE tenant = $1 AND name = $2 ORDER BY version DESC LIMIT 1`, tenant, name)
	if errors.Is(err, sql.ErrNoRows) {
		return secret.Value{}, 0, nil
	}
	if err != nil {
		return secret.Value{}, 0, err
	}
	value, err := box.Open(sealed.Envelope, sealed.aad())
	if err != nil {
		return secret.Value{}, 0, fmt.Errorf("secret %s: version %d: %w", name, sealed.Version, err)
	}
	return value, sealed.Version, nil
}

func writeSecrets(ctx context.Context, tx *txn, secrets []Secret) {
	for _, sealed := range secrets {
		what := "secret " + sealed.Name
		n := tx.exec(ctx, what, `
			INSERT INTO imap_secrets (tenant, name, version, envelope, created_at)
			VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			sealed.Tenant, sealed.Name, sealed.Version, sealed.Envelope, sealed.CreatedAt)
		if n == 0 {
			tx.failed(fmt.Sprintf("%s: version %d", what, sealed.Version), ErrExists)
		}
		tx.exec(ctx, what+": remove old versions", `DELETE FROM imap_secrets WHERE tenant = $1 AND name = $2 AND version < $3`,
			sealed.Tenant, sealed.Name, sealed.Version-1)
	}
}

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
	return s.inTx(ctx, func(tx *txn) error {
		if fence.Epoch != 0 {
			tx.err = fence.hold(ctx, tx)
		}
		if fence.Epoch == 0 || times.AuthorisedAt != nil { // the state's row comes first, as in Fence.hold
			tx.exec(ctx, "make due", `
				UPDATE imap_sync_state SET next_attempt_at = CASE WHEN $3::timestamptz IS NULL THEN next_attempt_at END
				WHERE tenant = $1 AND provider_id = $2`, ref.Tenant, ref.ID, times.AuthorisedAt)
		}
		writeSecrets(ctx, tx, sealed)
		tx.exec(ctx, "write token times", `
			UPDATE imap_provider_options SET oauth_refreshed_at = $3, oauth_refresh_expires_at = $4,
				oauth_authorised_at = coalesce($5, oauth_authorised_at)
			WHERE tenant = $1 AND provider_id = $2`, ref.Tenant, ref.ID, times.RefreshedAt, times.RefreshExpiry, times.AuthorisedAt)
		tx.exec(ctx, "mirror token expiry", `
			UPDATE imap_email_provider_config SET token_expires_at = $3, updated_at = coalesce($4, updated_at)
			WHERE tenant = $1 AND email_provider_id = $2`, ref.Tenant, ref.ID, times.Expiry, times.AuthorisedAt)
		return tx.err
	})
}

// HasSecrets reports whether any sealed credential is stored.
func (s *Store) HasSecrets(ctx context.Context) (bool, error) {
	return selectOne[bool](ctx, s, "look for secrets", `SELECT EXISTS (SELECT FROM imap_secrets)`)
}

// secretPage is how many credentials are read at a time.
const secretPage = 1000

// openSample is how many credentials are looked at, and mostly enough, to know
// whether a key opens any.
const openSample = 20

// CheckKey returns an error unless box opens one of the sealed credentials, or there
// are none: by a key that opens nothing no mailbox can be read. Mostly the first few
// tell; a key that opens none of them is tried on all.
func (s *Store) CheckKey(ctx context.Context, box *secret.Box) error {
	sample, err := selectAll[Secret](ctx, s, "look at secrets", `
		SELECT tenant, name, version, envelope, created_at FROM imap_secrets
		ORDER BY tenant, name, version LIMIT $1`, openSample)
	if err != nil || len(sample) == 0 || opensAny(box, sample) == nil {
		return err
	}
	total := 0
	for after := (Secret{}); ; {
		list, err := s.secretsAfter(ctx, after, secretPage)
		if err != nil || len(list) == 0 {
			return err
		}
		why := opensAny(box, list)
		if total += len(list); why == nil {
			return nil
		}
		if len(list) < secretPage {
			return fault.Newf(fault.Ours, "key_unknown", "none of %d stored credentials can be opened: %w", total, why)
		}
		after = list[len(list)-1]
	}
}

// opensAny returns nil when box opens one of list, else why not the last of them.
func opensAny(box *secret.Box, list []Secret) (err error) {
	for _, sealed := range list {
		if _, err = box.Open(sealed.Envelope, sealed.aad()); err == nil {
			return nil
		}
	}
	return err
}

// SecretKeys counts the sealed credentials under each key, by its id; those
// whose envelope cannot be read are under "".
func (s *Store) SecretKeys(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	var after Secret
	for {
		list, err := s.secretsAfter(ctx, after, secretPage)
		if err != nil || len(list) == 0 {
			return counts, err
		}
		for _, sealed := range list {
			id, _ := secret.KeyID(sealed.Envelope) // "" when it cannot be read
			counts[id]++
		}
		after = list[len(list)-1]
	}
}

// Reseal is what one batch of ResealSecrets did.
type Reseal struct {
	Sealed  int      // sealed again
	Already int      // were under the first key
	Failed  []string // cannot be opened: the name, version and why
	Last    Secret   // where the next batch begins
	Done    bool
}

// ResealSecrets seals up to limit credentials that follow after again, under
// the first key of box, in one transaction. Version and time stay as they are.
// One that was replaced meanwhile is left alone. It is begun anew by the zero
// Secret, and may be broken off anywhere.
func (s *Store) ResealSecrets(ctx context.Context, box *secret.Box, after Secret, limit int) (Reseal, error) {
	var r Reseal
	key, err := box.SealingKey()
	if err != nil {
		return r, err
	}
	list, err := s.secretsAfter(ctx, after, limit)
	if err != nil {
		return r, err
	}
	if r.Done = len(list) < limit; len(list) > 0 {
		r.Last = list[len(list)-1]
	}
	err = s.inTx(ctx, func(tx *txn) error {
		for _, sealed := range list {
			if id, err := secret.KeyID(sealed.Envelope); err == nil && id == key {
				r.Already++
				continue
			}
			value, err := box.Open(sealed.Envelope, sealed.aad())
			if err != nil {
				r.Failed = append(r.Failed, fmt.Sprintf("tenant %s: %s version %d: %v", sealed.Tenant, sealed.Name, sealed.Version, err))
				continue
			}
			envelope, err := box.Seal(value, sealed.aad())
			if err != nil {
				return fmt.Errorf("secret %s: %w", sealed.Name, err)
			}
			r.Sealed += int(tx.exec(ctx, "secret "+sealed.Name, `
				UPDATE imap_secrets SET envelope = $5
				WHERE tenant = $1 AND name = $2 AND version = $3 AND envelope = $4`,
				sealed.Tenant, sealed.Name, sealed.Version, sealed.Envelope, envelope))
		}
		return tx.err
	})
	return r, err
}

func (s *Store) secretsAfter(ctx context.Context, after Secret, limit int) ([]Secret, error) {
	return selectAll[Secret](ctx, s, "read secrets", `
		SELECT tenant, name, version, envelope, created_at FROM imap_secrets
		WHERE $1 = '' OR (tenant::text, name, version) > ($1, $2, $3)
		ORDER BY tenant::text, name, version LIMIT $4`, after.Tenant, after.Name, after.Version, limit)
}
