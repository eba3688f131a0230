package db

import (
	"context"
	"strings"
	"time"

	"github.com/lib/pq"
)

// The states of a provider as people see them. One that reconnects failed once
// or twice and is tried again by itself; one in error goes on failing.
const (
	StateConnected    = "connected"
	StateReconnecting = "reconnecting"
	StatePaused       = "paused"
	StateError        = "error"
	StateInactive     = "inactive"
	StateNew          = "new" // not read yet
)

// providerStates stands in the statements below as p. It would be a view, were
// the tables not another program's as well.
const providerStates = `(
	SELECT p.tenant, p.id, p.provider_name, p.mailbox, c.host,
		CASE WHEN p.inbound_paused_at IS NOT NULL THEN 'paused'
			WHEN NOT p.is_active OR NOT c.auto_process_emails THEN 'inactive'
			WHEN p.status = 'error' AND coalesce(s.auth_failures, 0) = 0 AND coalesce(s.consecutive_failures, 0) BETWEEN 1 AND 2 THEN 'reconnecting'
			WHEN p.status = 'error' THEN 'error'
			WHEN p.status = 'disconnected' THEN 'reconnecting'
			WHEN p.status = 'connected' THEN 'connected'
			ELSE 'new' END AS state
	FROM email_providers p
	JOIN imap_email_provider_config c ON c.tenant = p.tenant AND c.email_provider_id = p.id
	LEFT JOIN imap_sync_state s ON s.tenant = p.tenant AND s.provider_id = p.id
	WHERE p.provider_type = 'imap') p`

// OverviewFilter says which providers to list. Empty fields match all.
type OverviewFilter struct {
	Tenant string // a UUID
	State  string
	Text   string // in the name, the mailbox or the host, in capitals or not
	Limit  int
	Offset int
}

// like is the pattern of a text that stands anywhere.
func like(text string) string {
	if text == "" {
		return ""
	}
	return "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(text) + "%"
}

// Overview is a provider with what people want to see of it at a glance.
type Overview struct {
	*Provider

	State       string
	Backlog     int64      // messages seen and not handled
	Oldest      *time.Time // since when one is known and not delivered; nil: none
	Quarantined int64      // messages in quarantine, but for those given up
	Hours       [24]int64  // mail published in each of the last 24 hours, the newest last
}

// Day is how much mail was published in the last 24 hours.
func (o *Overview) Day() (n int64) {
	for _, hour := range o.Hours {
		n += hour
	}
	return n
}

// StateCounts tells how many providers are in each state, whatever f.State is.
func (s *Store) StateCounts(ctx context.Context, f OverviewFilter) (map[string]int, error) {
	type state struct {
		State string `db:"state"`
		N     int    `db:"n"`
	}
	list, err := selectAll[state](ctx, s, "count states", `
		SELECT state, count(*) AS n FROM `+providerStates+`
		WHERE ($1 = '' OR tenant = nullif($1, '')::uuid)
			AND ($2 = '' OR provider_name ILIKE $2 OR mailbox ILIKE $2 OR host ILIKE $2)
		GROUP BY 1`, f.Tenant, like(f.Text))
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int, len(list))
	for _, c := range list {
		counts[c.State] = c.N
	}
	return counts, nil
}

// PageProviders lists one page of providers, by name. It asks the database five
// times, however many there are.
func (s *Store) PageProviders(ctx context.Context, f OverviewFilter, now time.Time) ([]*Overview, error) {
	refs, err := selectAll[Ref](ctx, s, "page of providers", `
		SELECT tenant, id FROM `+providerStates+`
		WHERE ($1 = '' OR tenant = nullif($1, '')::uuid)
			AND ($2 = '' OR provider_name ILIKE $2 OR mailbox ILIKE $2 OR host ILIKE $2)
			AND ($3 = '' OR state = $3)
		ORDER BY lower(provider_name), tenant, id LIMIT $4 OFFSET $5`,
		f.Tenant, like(f.Text), f.State, f.Limit, f.Offset)
	if err != nil {
		return nil, err
	}
	return s.Overviews(ctx, refs, now)
}

// Overviews loads the providers of refs, in their order; one that has been
// removed meanwhile is left out.
func (s *Store) Overviews(ctx context.Context, refs []Ref, now time.Time) ([]*Overview, error) {
	providers, err := s.Providers(ctx, refs)
	if err != nil || len(providers) == 0 {
		return nil, err
	}
	list := make([]*Overview, len(providers))
	byRef := make(map[Ref]*Overview, len(providers))
	tenants, ids := make([]string, len(providers)), make([]string, len(providers))
	for i, p := range providers {
		list[i] = &Overview{Provider: p}
		byRef[Ref{p.Tenant, p.ID}] = list[i]
		tenants[i], ids[i] = p.Tenant, p.ID
	}
	if err := s.overviewStates(ctx, byRef, tenants, ids); err != nil {
		return nil, err
	}
	return list, s.overviewHours(ctx, byRef, tenants, ids, now)
}

// overviewStates fills in states, backlogs and quarantines.
func (s *Store) overviewStates(ctx context.Context, byRef map[Ref]*Overview, tenants, ids []string) error {
	type row struct {
		Ref

		State       string     `db:"state"`
		Backlog     int64      `db:"backlog"`
		Since       *time.Time `db:"since"`
		Quarantined int64      `db:"quarantined"`
	}
	rows, err := selectAll[row](ctx, s, "states of providers", `
		SELECT p.tenant, p.id, p.state, coalesce(f.backlog, 0) AS backlog,
			least(f.since, q.since) AS since, coalesce(q.n, 0) AS quarantined
		FROM `+providerStates+`
		LEFT JOIN (
			SELECT tenant, provider_id, sum(backlog)::bigint AS backlog, min(backlog_since) AS since
			FROM imap_folder_state WHERE tenant = ANY($1::uuid[]) AND provider_id = ANY($2::uuid[])
			GROUP BY tenant, provider_id
		) f ON f.tenant = p.tenant AND f.provider_id = p.id
		LEFT JOIN (
			SELECT tenant, provider_id, count(*) AS n, min(created_at) FILTER (WHERE state <> 'dead') AS since
			FROM imap_quarantine
			WHERE tenant = ANY($1::uuid[]) AND provider_id = ANY($2::uuid[]) AND state <> 'discarded'
			GROUP BY tenant, provider_id
		) q ON q.tenant = p.tenant AND q.provider_id = p.id
		WHERE p.tenant = ANY($1::uuid[]) AND p.id = ANY($2::uuid[])`, pq.Array(tenants), pq.Array(ids))
	if err != nil {
		return err
	}
	for _, r := range rows {
		if o := byRef[r.Ref]; o != nil {
			o.State, o.Backlog, o.Oldest, o.Quarantined = r.State, r.Backlog, r.Since, r.Quarantined
		}
	}
	return nil
}

// overviewHours fills in what was published hour by hour.
func (s *Store) overviewHours(ctx context.Context, byRef map[Ref]*Overview, tenants, ids []string, now time.Time) error {
	type row struct {
		Ref

		Ago int   `db:"ago"`
		N   int64 `db:"n"`
	}
	rows, err := selectAll[row](ctx, s, "mail by hours", `
		SELECT tenant, provider_id AS id, floor(extract(epoch FROM $3::timestamptz - processed_at) / 3600)::int AS ago, count(*) AS n
		FROM imap_messages
		WHERE tenant = ANY($1::uuid[]) AND provider_id = ANY($2::uuid[]) AND processed_at > $3::timestamptz - interval '24 hours'
			AND outcome = 'published'
		GROUP BY 1, 2, 3`, pq.Array(tenants), pq.Array(ids), now)
	if err != nil {
		return err
	}
	for _, r := range rows {
		if o := byRef[r.Ref]; o != nil {
			o.Hours[len(o.Hours)-1-min(max(r.Ago, 0), len(o.Hours)-1)] += r.N
		}
	}
	return nil
}

// Tenants lists the tenants that have providers, at most limit.
func (s *Store) Tenants(ctx context.Context, limit int) ([]string, error) {
	return selectAll[string](ctx, s, "list tenants", `
		SELECT DISTINCT tenant::text FROM email_providers WHERE provider_type = 'imap' ORDER BY 1 LIMIT $1`, limit)
}
