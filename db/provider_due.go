package db

import (
	"context"
	"fmt"
	"time"
)

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

// Watchable is a provider that a watching process may take.
type Watchable struct {
	Ref
	ChangedAt     time.Time  `db:"changed_at"` // of its settings
	NextAttemptAt *time.Time `db:"next_attempt_at"`
}

// ProvidersWatchable lists the providers that are active and not paused, due or
// not.
func (s *Store) ProvidersWatchable(ctx context.Context, f DueFilter) ([]Watchable, error) {
	var list []Watchable
	err := s.pool.SelectContext(ctx, &list, `
		SELECT p.tenant, p.id, greatest(c.updated_at, o.updated_at) AS changed_at, s.next_attempt_at
		FROM email_providers p
		JOIN imap_email_provider_config c ON c.tenant = p.tenant AND c.email_provider_id = p.id
		LEFT JOIN imap_provider_options o ON o.tenant = p.tenant AND o.provider_id = p.id
		LEFT JOIN imap_sync_state s ON s.tenant = p.tenant AND s.provider_id = p.id
		WHERE p.provider_type = 'imap' AND p.is_active AND c.auto_process_emails AND p.inbound_paused_at IS NULL
			AND ($1 = '' OR p.tenant::text = $1)
			AND ($3 <= 1 OR ('x' || substr(md5(p.id::text), 1, 8))::bit(32)::bigint % $3 = $2)
		ORDER BY p.tenant, p.id`, f.Tenant, f.ShardIndex, max(f.ShardCount, 1))
	if err != nil {
		return nil, fmt.Errorf("providers to watch: %w", wrap(err))
	}
	return list, nil
}
