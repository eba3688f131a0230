package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jmoiron/sqlx"
)

// NameTakenError says that another provider of the tenant has a name. It is an
// ErrExists.
type NameTakenError struct {
	Name string
	ID   string // of the other one
}

func (e *NameTakenError) Error() string {
	return fmt.Sprintf("provider %s has the name %q already", e.ID, e.Name)
}

// Is reports that target is ErrExists.
func (e *NameTakenError) Is(target error) bool { return target == ErrExists }

// lockNames has one transaction at a time give names to the providers of a
// tenant. No unique index does it: names that were the same before there was a
// check stay as they are.
func lockNames(ctx context.Context, tx *sqlx.Tx, tenant string) error {
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, lockKey("imapsync", tenant, "names")); err != nil {
		return fmt.Errorf("lock names: %w", err)
	}
	return nil
}

// nameOf is the name that a provider has now, "" when it does not exist.
func nameOf(ctx context.Context, q sqlx.QueryerContext, ref Ref) (string, error) {
	var name string
	err := sqlx.GetContext(ctx, q, &name, `SELECT provider_name FROM email_providers WHERE tenant = $1 AND id = $2`, ref.Tenant, ref.ID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read email_providers: %w", err)
	}
	return name, nil
}

// MayStore returns the errors that AddProvider and UpdateProvider would have for
// the mailbox and the name of a provider, before it is tested and its credential
// is kept elsewhere. Those two still decide.
func (s *Store) MayStore(ctx context.Context, p *Provider) error {
	var there bool
	err := s.pool.GetContext(ctx, &there, `
		SELECT EXISTS (SELECT FROM email_providers WHERE tenant = $1 AND mailbox = $2 AND id <> $3)`, p.Tenant, p.Mailbox, p.ID)
	switch {
	case err != nil:
		return fmt.Errorf("look for the mailbox: %w", wrap(err))
	case there:
		return mailboxExists(p)
	}
	was, err := nameOf(ctx, s.pool, Ref{p.Tenant, p.ID})
	if err == nil && p.Name != was {
		err = nameIsFree(ctx, s.pool, p)
	}
	return wrap(err)
}

// nameIsFree returns a NameTakenError when another provider of the tenant is
// called as p is. Only who has locked the names may rely on it.
func nameIsFree(ctx context.Context, q sqlx.QueryerContext, p *Provider) error {
	var other string
	err := sqlx.GetContext(ctx, q, &other, `
		SELECT id FROM email_providers
		WHERE tenant = $1 AND provider_name = $2 AND id <> $3 AND provider_type = 'imap' ORDER BY id LIMIT 1`,
		p.Tenant, p.Name, p.ID)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("look for the name: %w", err)
	}
	return &NameTakenError{Name: p.Name, ID: other}
}
