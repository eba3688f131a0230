package db

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Ref names a provider.
type Ref struct {
	Tenant string `db:"tenant"`
	ID     string `db:"id"`
}

// DueFilter says which providers a run takes.
type DueFilter struct {
	Tenant     string // all tenants when empty
	Now        time.Time
	ShardIndex int
	ShardCount int // 0 or 1: all
}

// ProvidersDue lists the providers that are active, not paused and due, those
// without success for longest first.
func (s *Store) ProvidersDue(ctx context.Context, f DueFilter) ([]Ref, error) {
	var refs []Ref
	err := s.pool.SelectContext(ctx, &refs, `
		SELECT p.tenant, p.id
		FROM email_providers p
		JOIN imap_email_provider_config c ON c.tenant = p.tenant AND c.email_provider_id = p.id
		LEFT JOIN imap_sync_state s ON s.tenant = p.tenant AND s.provider_id = p.id
		WHERE p.provider_type = 'imap' AND p.is_active AND c.auto_process_emails AND p.inbound_paused_at IS NULL
			AND (s.next_attempt_at IS NULL OR s.next_attempt_at <= $1)
			AND ($2 = '' OR p.tenant::text = $2)
			AND ($4 <= 1 OR ('x' || substr(md5(p.id::text), 1, 8))::bit(32)::bigint % $4 = $3)
		ORDER BY s.last_success_at NULLS FIRST, p.tenant, p.id`,
		f.Now, f.Tenant, f.ShardIndex, max(f.ShardCount, 1))
	if err != nil {
		return nil, fmt.Errorf("providers due: %w", wrap(err))
	}
	return refs, nil
}

// HostFailures is how many providers of a host failed lately, and how.
type HostFailures struct {
	Host      string `db:"host"`
	ErrorCode string `db:"last_error_code"`
	Providers int    `db:"providers"`
}

// HostFailures counts the providers whose last pass since a time failed, by
// host and error code.
func (s *Store) HostFailures(ctx context.Context, since time.Time) ([]HostFailures, error) {
	var list []HostFailures
	err := s.pool.SelectContext(ctx, &list, `
		SELECT lower(c.host) AS host, s.last_error_code, count(*) AS providers
		FROM imap_sync_state s
		JOIN imap_email_provider_config c ON c.tenant = s.tenant AND c.email_provider_id = s.provider_id
		WHERE s.last_error_code IS NOT NULL AND s.last_attempt_at >= $1
		GROUP BY 1, 2`, since)
	if err != nil {
		return nil, fmt.Errorf("host failures: %w", wrap(err))
	}
	return list, nil
}

// Providers loads the settings of refs, in their order; one that has been
// removed meanwhile is left out.
func (s *Store) Providers(ctx context.Context, refs []Ref) ([]*Provider, error) {
	tenants, ids := make([]string, len(refs)), make([]string, len(refs))
	for i, r := range refs {
		tenants[i], ids[i] = r.Tenant, r.ID
	}
	var found []*Provider
	err := s.pool.SelectContext(ctx, &found, providerSelect+`
		AND p.tenant = ANY($1::uuid[]) AND p.id = ANY($2::uuid[])`, pq.Array(tenants), pq.Array(ids))
	if err != nil {
		return nil, fmt.Errorf("load providers: %w", wrap(err))
	}
	byRef := make(map[Ref]*Provider, len(found))
	for _, p := range found {
		byRef[Ref{p.Tenant, p.ID}] = p
	}
	list := found[:0]
	for _, r := range refs {
		if p := byRef[r]; p != nil {
			list = append(list, p)
		}
	}
	return list, nil
}

// Provider loads one provider.
func (s *Store) Provider(ctx context.Context, ref Ref) (*Provider, error) {
	list, err := s.Providers(ctx, []Ref{ref})
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("provider %s: %w", ref.ID, ErrNotFound)
	}
	return list[0], nil
}

// ListProviders lists the providers of a tenant, or of all when it is empty,
// by name.
func (s *Store) ListProviders(ctx context.Context, tenant string) ([]*Provider, error) {
	var list []*Provider
	err := s.pool.SelectContext(ctx, &list, providerSelect+`
		AND ($1 = '' OR p.tenant::text = $1) ORDER BY p.provider_name, p.tenant, p.id`, tenant)
	if err != nil {
		return nil, fmt.Errorf("list providers: %w", wrap(err))
	}
	return list, nil
}

// FindProvider finds a provider by id, or by name when that is unique in the
// tenant (in all tenants when it is empty). The error is ErrNotFound or
// ErrAmbiguous, naming what was asked for.
func (s *Store) FindProvider(ctx context.Context, nameOrID, tenant string) (*Provider, error) {
	var list []*Provider
	query, arg := providerSelect+` AND p.provider_name = $1 AND ($2 = '' OR p.tenant::text = $2)`, nameOrID
	if id, err := uuid.Parse(nameOrID); err == nil {
		query, arg = providerSelect+` AND p.id::text = $1 AND ($2 = '' OR p.tenant::text = $2)`, id.String()
	}
	if err := s.pool.SelectContext(ctx, &list, query+` ORDER BY p.tenant, p.id LIMIT 10`, arg, tenant); err != nil {
		return nil, fmt.Errorf("find provider: %w", wrap(err))
	}
	switch len(list) {
	case 0:
		return nil, fmt.Errorf("provider %q: %w", nameOrID, ErrNotFound)
	case 1:
		return list[0], nil
	}
	ids := make([]string, len(list))
	for i, p := range list {
		ids[i] = p.ID
	}
	return nil, fmt.Errorf("provider %q: %w: use one of the ids %s", nameOrID, ErrAmbiguous, strings.Join(ids, ", "))
}

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
