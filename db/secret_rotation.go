package db

import (
	"context"
	"fmt"

	"github.com/jmoiron/sqlx"

	"imapsync/secret"
)

// HasSecrets reports whether any sealed credential is stored.
func (s *Store) HasSecrets(ctx context.Context) (bool, error) {
	var found bool
	if err := s.pool.GetContext(ctx, &found, `SELECT EXISTS (SELECT FROM imap_secrets)`); err != nil {
		return false, fmt.Errorf("look for secrets: %w", wrap(err))
	}
	return found, nil
}

// SecretKeys counts the sealed credentials under each key, by its id; those
// whose envelope cannot be read are under "".
func (s *Store) SecretKeys(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	var after Secret
	for {
		list, err := s.secretsAfter(ctx, after, 1000)
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
	err = s.inTx(ctx, func(tx *sqlx.Tx) error {
		for _, sealed := range list {
			if id, err := secret.KeyID(sealed.Envelope); err == nil && id == key {
				r.Already++
				continue
			}
			aad := secret.AAD{Tenant: sealed.Tenant, Name: sealed.Name, Version: sealed.Version}
			value, err := box.Open(sealed.Envelope, aad)
			if err != nil {
				r.Failed = append(r.Failed, fmt.Sprintf("tenant %s: %s version %d: %v", sealed.Tenant, sealed.Name, sealed.Version, err))
				continue
			}
			envelope, err := box.Seal(value, aad)
			if err != nil {
				return fmt.Errorf("secret %s: %w", sealed.Name, err)
			}
			res, err := tx.ExecContext(ctx, `
				UPDATE imap_secrets SET envelope = $5
				WHERE tenant = $1 AND name = $2 AND version = $3 AND envelope = $4`,
				sealed.Tenant, sealed.Name, sealed.Version, sealed.Envelope, envelope)
			if err != nil {
				return fmt.Errorf("secret %s: %w", sealed.Name, err)
			}
			if n, err := res.RowsAffected(); err == nil && n > 0 {
				r.Sealed++
			}
		}
		return nil
	})
	return r, err
}

func (s *Store) secretsAfter(ctx context.Context, after Secret, limit int) ([]Secret, error) {
	var list []Secret
	err := s.pool.SelectContext(ctx, &list, `
		SELECT tenant, name, version, envelope, created_at FROM imap_secrets
		WHERE $1 = '' OR (tenant::text, name, version) > ($1, $2, $3)
		ORDER BY tenant::text, name, version LIMIT $4`, after.Tenant, after.Name, after.Version, limit)
	if err != nil {
		return nil, fmt.Errorf("read secrets: %w", wrap(err))
	}
	return list, nil
}
