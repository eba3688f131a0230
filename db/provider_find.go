package db

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/lib/pq"
)

// selectProviders reads settings and states. A list that is NULL and a text that
// is empty leave all in.
const selectProviders = `
	SELECT p.tenant, p.id, p.created_at,
		p.provider_name, p.mailbox, p.is_active,
		coalesce(p.inbound_ticket_defaults_id::text, '') AS inbound_ticket_defaults_id,
		c.auto_process_emails, c.host, c.port,
		CASE WHEN c.secure THEN 'implicit' WHEN c.allow_starttls THEN 'starttls' ELSE 'none' END AS tls,
		c.auth_type, c.username, c.folder_filters, c.max_emails_per_sync,
		coalesce(c.connection_timeout_ms, 0) AS connection_timeout_ms,
		coalesce(c.oauth_authorize_url, '') AS oauth_authorize_url,
		coalesce(c.oauth_token_url, '') AS oauth_token_url,
		coalesce(c.oauth_client_id, '') AS oauth_client_id,
		coalesce(c.oauth_scopes, '') AS oauth_scopes,
		coalesce(o.ca_pem, '') AS ca_pem,
		coalesce(o.tls_server_name, '') AS tls_server_name,
		coalesce(o.eager_login, false) AS eager_login,
		coalesce(o.start, 'recent') AS start,
		coalesce(o.oauth_preset, '') AS oauth_preset,
		coalesce(o.oauth_flow, '') AS oauth_flow,
		coalesce(o.oauth_tenant, '') AS oauth_tenant,
		coalesce(o.oauth_device_url, '') AS oauth_device_url,
		o.oauth_client_secret_expires,
		coalesce(o.command_timeout_ms, 0) AS command_timeout_ms,
		coalesce(o.literal_timeout_ms, 0) AS literal_timeout_ms,
		coalesce(o.pass_timeout_ms, 0) AS pass_timeout_ms,
		coalesce(o.max_message_bytes, 0) AS max_message_bytes,
		coalesce(o.max_attachment_bytes, 0) AS max_attachment_bytes,
		coalesce(o.max_attachments_total_bytes, 0) AS max_attachments_total_bytes,
		coalesce(o.max_attachments, 0) AS max_attachments,
		coalesce(o.max_bytes_per_day, 0) AS max_bytes_per_day,
		coalesce(o.max_connections, 0) AS max_connections,

		p.status, coalesce(p.error_message, '') AS error_message, p.last_sync_at, p.inbound_paused_at,
		coalesce(p.inbound_pause_reason, '') AS inbound_pause_reason, c.token_expires_at, o.oauth_authorised_at,
		o.oauth_refreshed_at, o.oauth_refresh_expires_at, s.next_attempt_at, s.last_attempt_at, s.last_success_at,
		coalesce(s.consecutive_failures, 0) AS consecutive_failures, coalesce(s.auth_failures, 0) AS auth_failures,
		coalesce(s.last_error_code, '') AS last_error_code, coalesce(s.last_error, '') AS last_error,
		coalesce(s.published, 0) AS published, coalesce(s.duplicates, 0) AS duplicates,
		coalesce(s.quarantined, 0) AS quarantined, s.account_at, coalesce(s.folders_named, '') AS folders_named, s.folders_at,
		s.bytes_day, coalesce(s.bytes_today, 0) AS bytes_today,
		coalesce(s.stream_seq, 0) AS stream_seq, coalesce(s.lost_state, '') AS lost_state, s.lost_since, s.lost_until,
		coalesce(s.lost_events, 0) AS lost_events, coalesce(s.republished, 0) AS republished
	FROM email_providers p
	JOIN imap_email_provider_config c ON c.tenant = p.tenant AND c.email_provider_id = p.id
	LEFT JOIN imap_provider_options o ON o.tenant = p.tenant AND o.provider_id = p.id
	LEFT JOIN imap_sync_state s ON s.tenant = p.tenant AND s.provider_id = p.id
	WHERE p.provider_type = 'imap'
		AND ($1::uuid[] IS NULL OR p.tenant = ANY($1::uuid[])) AND ($2::uuid[] IS NULL OR p.id = ANY($2::uuid[]))
		AND ($3 = '' OR p.tenant::text = $3) AND ($4 = '' OR p.provider_name = $4)
	ORDER BY p.provider_name, p.tenant, p.id`

// providerFilter says which providers to load. Empty fields match all.
type providerFilter struct {
	tenants, ids pq.StringArray
	tenant, name string
}

func (s *Store) loadProviders(ctx context.Context, f providerFilter) ([]*Provider, error) {
	return selectAll[*Provider](ctx, s, "load providers", selectProviders, f.tenants, f.ids, f.tenant, f.name)
}

// Providers loads the providers of refs, in their order; one that has been
// removed meanwhile is left out.
func (s *Store) Providers(ctx context.Context, refs []Ref) ([]*Provider, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	var f providerFilter
	for _, r := range refs {
		f.tenants, f.ids = append(f.tenants, r.Tenant), append(f.ids, r.ID)
	}
	found, err := s.loadProviders(ctx, f)
	if err != nil {
		return nil, err
	}
	byRef := make(map[Ref]*Provider, len(found))
	for _, p := range found {
		byRef[Ref{p.Tenant, p.ID}] = p
	}
	list := make([]*Provider, 0, len(found))
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
	return s.loadProviders(ctx, providerFilter{tenant: tenant})
}

// FindProvider finds a provider by id, or by name when that is unique in the
// tenant (in all tenants when it is empty). The error is ErrNotFound or
// ErrAmbiguous, naming what was asked for.
func (s *Store) FindProvider(ctx context.Context, nameOrID, tenant string) (*Provider, error) {
	f := providerFilter{tenant: tenant, name: nameOrID}
	if id, err := uuid.Parse(nameOrID); err == nil {
		f.name, f.ids = "", pq.StringArray{id.String()}
	}
	list, err := s.loadProviders(ctx, f)
	switch {
	case err != nil:
		return nil, err
	case len(list) == 0 || nameOrID == "":
		return nil, fmt.Errorf("provider %q: %w", nameOrID, ErrNotFound)
	case len(list) == 1:
		return list[0], nil
	}
	list = list[:min(len(list), 10)]
	ids := make([]string, len(list))
	for i, p := range list {
		ids[i] = p.ID
	}
	return nil, fmt.Errorf("provider %q: %w: use one of the ids %s", nameOrID, ErrAmbiguous, strings.Join(ids, ", "))
}

// DueFilter says which providers a run takes.
type DueFilter struct {
	Tenant     string // all tenants when empty
	Now        time.Time
	All        bool // due or not
	ShardIndex int
	ShardCount int // 0 or 1: all
}

// ProvidersDue lists the providers that are active, not paused and due, those
// without success for longest first.
func (s *Store) ProvidersDue(ctx context.Context, f DueFilter) ([]Ref, error) {
	return selectAll[Ref](ctx, s, "providers due", `
		SELECT p.tenant, p.id
		FROM email_providers p
		JOIN imap_email_provider_config c ON c.tenant = p.tenant AND c.email_provider_id = p.id
		LEFT JOIN imap_sync_state s ON s.tenant = p.tenant AND s.provider_id = p.id
		WHERE p.provider_type = 'imap' AND p.is_active AND c.auto_process_emails AND p.inbound_paused_at IS NULL
			AND ($5 OR s.next_attempt_at IS NULL OR s.next_attempt_at <= $1)
			AND ($2 = '' OR p.tenant::text = $2)
			AND ($4 <= 1 OR ('x' || substr(md5(p.id::text), 1, 8))::bit(32)::bigint % $4 = $3)
		ORDER BY s.last_success_at NULLS FIRST, p.tenant, p.id`,
		f.Now, f.Tenant, f.ShardIndex, max(f.ShardCount, 1), f.All)
}

// Failing counts the providers that runs read, or would but for a login that was
// refused, and those of them that the last pass failed on. Only narrows them; f.Now
// is not used.
func (s *Store) Failing(ctx context.Context, f DueFilter, only []Ref) (failing, all int, err error) {
	var ids pq.StringArray
	for _, ref := range only {
		ids = append(ids, ref.ID)
	}
	type counts struct {
		Failing int `db:"failing"`
		All     int `db:"all"`
	}
	n, err := selectOne[counts](ctx, s, "count failing providers", `
		SELECT count(*) AS "all",
			count(*) FILTER (WHERE p.inbound_paused_at IS NOT NULL OR s.consecutive_failures > 0) AS failing
		FROM email_providers p
		JOIN imap_email_provider_config c ON c.tenant = p.tenant AND c.email_provider_id = p.id
		LEFT JOIN imap_sync_state s ON s.tenant = p.tenant AND s.provider_id = p.id
		WHERE p.provider_type = 'imap' AND p.is_active AND c.auto_process_emails
			AND (p.inbound_paused_at IS NULL OR p.inbound_pause_reason = $5)
			AND ($1 = '' OR p.tenant::text = $1)
			AND ($3 <= 1 OR ('x' || substr(md5(p.id::text), 1, 8))::bit(32)::bigint % $3 = $2)
			AND ($4::uuid[] IS NULL OR p.id = ANY($4::uuid[]))`,
		f.Tenant, f.ShardIndex, max(f.ShardCount, 1), ids, PauseAuthFailure)
	return n.Failing, n.All, err
}

// HeldBack lists the providers that no run reads because of what happened to them: those
// paused because their login was refused, and those that failed and are left alone for a
// while. Those that a person has paused are not among them.
func (s *Store) HeldBack(ctx context.Context, tenant string) ([]Ref, error) {
	return selectAll[Ref](ctx, s, "providers held back", `
		SELECT p.tenant, p.id
		FROM email_providers p
		LEFT JOIN imap_sync_state s ON s.tenant = p.tenant AND s.provider_id = p.id
		WHERE p.provider_type = 'imap' AND ($1 = '' OR p.tenant::text = $1)
			AND (p.inbound_paused_at IS NOT NULL AND p.inbound_pause_reason = $2
				OR p.inbound_paused_at IS NULL AND (s.next_attempt_at IS NOT NULL OR s.consecutive_failures > 0))
		ORDER BY p.tenant, p.id`, tenant, PauseAuthFailure)
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
	return selectAll[Watchable](ctx, s, "providers to watch", `
		SELECT p.tenant, p.id, greatest(c.updated_at, o.updated_at) AS changed_at, s.next_attempt_at
		FROM email_providers p
		JOIN imap_email_provider_config c ON c.tenant = p.tenant AND c.email_provider_id = p.id
		LEFT JOIN imap_provider_options o ON o.tenant = p.tenant AND o.provider_id = p.id
		LEFT JOIN imap_sync_state s ON s.tenant = p.tenant AND s.provider_id = p.id
		WHERE p.provider_type = 'imap' AND p.is_active AND c.auto_process_emails AND p.inbound_paused_at IS NULL
			AND ($1 = '' OR p.tenant::text = $1)
			AND ($3 <= 1 OR ('x' || substr(md5(p.id::text), 1, 8))::bit(32)::bigint % $3 = $2)
		ORDER BY p.tenant, p.id`, f.Tenant, f.ShardIndex, max(f.ShardCount, 1))
}

// OnAccount lists the providers, of all tenants, that log in at a host and port under a
// name, or have the mailbox of that name: those that may read the same account.
func (s *Store) OnAccount(ctx context.Context, host string, port int, username string) ([]Ref, error) {
	found, err := selectAll[Ref](ctx, s, "look for the account", `
		SELECT tenant, email_provider_id AS id FROM imap_email_provider_config
		WHERE port = $2 AND lower(rtrim(host, '.')) = lower(rtrim($1, '.')) AND lower(username) = lower($3)`, host, port, username)
	if err != nil {
		return nil, err
	}
	named, err := selectAll[Ref](ctx, s, "look for the account", `
		SELECT tenant, id FROM email_providers WHERE provider_type = 'imap' AND lower(mailbox) = lower($1)`, username)
	return append(found, named...), err
}
