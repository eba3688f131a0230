package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"

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

// PasswordName is the name a provider's password is kept under.
func PasswordName(providerID string) string { return "imap_password_" + providerID }

// SealSecret seals value as the version after the newest one stored. Store it
// by AddProvider, UpdateProvider, PutSecret or PutTokens.
func (s *Store) SealSecret(ctx context.Context, box *secret.Box, tenant, name string, value secret.Value, now time.Time) (Secret, error) {
	var newest int64
	err := s.pool.GetContext(ctx, &newest, `
		SELECT coalesce(max(version), 0) FROM imap_secrets WHERE tenant = $1 AND name = $2`, tenant, name)
	if err != nil {
		return Secret{}, fmt.Errorf("secret %s: newest version: %w", name, wrap(err))
	}
	sealed := Secret{Tenant: tenant, Name: name, Version: newest + 1, CreatedAt: now}
	sealed.Envelope, err = box.Seal(value, secret.AAD{Tenant: tenant, Name: name, Version: sealed.Version})
	if err != nil {
		return Secret{}, fmt.Errorf("secret %s: seal: %w", name, err)
	}
	return sealed, nil
}

// PutSecret stores a new version of a credential. The version before is kept,
// and those before that are removed. Of two writers of one version the second
// fails with ErrExists.
func (s *Store) PutSecret(ctx context.Context, sealed Secret) error {
	return s.inTx(ctx, func(tx *sqlx.Tx) error { return writeSecrets(ctx, tx, []Secret{sealed}) })
}

// OpenSecret returns the newest version of a credential, or ErrNotFound.
func (s *Store) OpenSecret(ctx context.Context, box *secret.Box, tenant, name string) (secret.Value, error) {
	value, version, err := s.OpenSecretVersion(ctx, box, tenant, name)
	if err == nil && version == 0 {
		err = fmt.Errorf("secret %s: %w", name, ErrNotFound)
	}
	return value, err
}

// OpenSecretVersion is OpenSecret that also tells the version, 0 when there is
// none; that is no error.
func (s *Store) OpenSecretVersion(ctx context.Context, box *secret.Box, tenant, name string) (secret.Value, int64, error) {
	var sealed Secret
	err := s.pool.GetContext(ctx, &sealed, `
		SELECT tenant, name, version, envelope, created_at FROM imap_secrets
		WHERE tenant = $1 AND name = $2 ORDER BY version DESC LIMIT 1`, tenant, name)
	if errors.Is(err, sql.ErrNoRows) {
		return secret.Value{}, 0, nil
	}
	if err != nil {
		return secret.Value{}, 0, fmt.Errorf("secret %s: %w", name, wrap(err))
	}
	value, err := box.Open(sealed.Envelope, secret.AAD{Tenant: sealed.Tenant, Name: sealed.Name, Version: sealed.Version})
	if err != nil {
		return secret.Value{}, 0, fmt.Errorf("secret %s: version %d: %w", name, sealed.Version, err)
	}
	return value, sealed.Version, nil
}

func writeSecrets(ctx context.Context, tx *sqlx.Tx, secrets []Secret) error {
	for _, sealed := range secrets {
		res, err := tx.ExecContext(ctx, `
			INSERT INTO imap_secrets (tenant, name, version, envelope, created_at)
			VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			sealed.Tenant, sealed.Name, sealed.Version, sealed.Envelope, sealed.CreatedAt)
		if err != nil {
			return fmt.Errorf("secret %s: %w", sealed.Name, err)
		}
		if n, err := res.RowsAffected(); err == nil && n == 0 {
			return fmt.Errorf("secret %s: version %d: %w", sealed.Name, sealed.Version, ErrExists)
		}
		_, err = tx.ExecContext(ctx, `DELETE FROM imap_secrets WHERE tenant = $1 AND name = $2 AND version < $3`,
			sealed.Tenant, sealed.Name, sealed.Version-1)
		if err != nil {
			return fmt.Errorf("secret %s: remove old versions: %w", sealed.Name, err)
		}
	}
	return nil
}
