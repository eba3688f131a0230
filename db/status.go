package db

import (
	"context"
	"fmt"
	"time"
)

// FolderStatus is where one folder stands, for people and metrics.
type FolderStatus struct {
	Tenant       string     `db:"tenant"`
	ProviderID   string     `db:"provider_id"`
	Folder       string     `db:"folder"`
	UIDValidity  uint32     `db:"uid_validity"`
	SettledUID   uint32     `db:"settled_uid"`
	LastUID      uint32     `db:"last_uid"`
	Backlog      int64      `db:"backlog"`       // messages seen and not handled
	BacklogSince *time.Time `db:"backlog_since"` // since when there are any
	LastSearchAt *time.Time `db:"last_search_at"`
	ResyncCount  int        `db:"resync_count"` // changes of UIDVALIDITY in a row
	PausedReason string     `db:"paused_reason"`
	LastError    string     `db:"last_error"`
	Retrying     int64      `db:"retrying"` // in quarantine, to be tried again
	RetryingFrom *time.Time `db:"retrying_from"`
	Dead         int64      `db:"dead"` // in quarantine, waiting for a person
}

// Oldest is since when a message of the folder is known and not delivered, nil
// when there is none. One that waits for a person does not count.
func (f *FolderStatus) Oldest() *time.Time {
	if f.BacklogSince != nil && (f.RetryingFrom == nil || f.BacklogSince.Before(*f.RetryingFrom)) {
		return f.BacklogSince
	}
	return f.RetryingFrom
}

// Searched counts a pass that went well as a search: where the server reported
// nothing new, the folder was not opened and its row not written.
func (f *FolderStatus) Searched(p *Provider) {
	if f.LastSearchAt != nil && p.LastSuccessAt != nil && f.PausedReason == "" && f.LastError == "" && p.LastSuccessAt.After(*f.LastSearchAt) {
		f.LastSearchAt = p.LastSuccessAt
	}
}

// FolderStatuses tells where the folders stand of one provider, or of all in a
// tenant, or of all when both are empty: by provider, then by name.
func (s *Store) FolderStatuses(ctx context.Context, tenant, providerID string) ([]FolderStatus, error) {
	var list []FolderStatus
	err := s.pool.SelectContext(ctx, &list, `
		SELECT f.tenant, f.provider_id, f.folder, f.uid_validity, f.settled_uid, f.last_uid, f.backlog, f.backlog_since,
			f.last_search_at, f.resync_count, coalesce(f.paused_reason, '') AS paused_reason, coalesce(f.last_error, '') AS last_error,
			coalesce(q.retrying, 0) AS retrying, q.retrying_from, coalesce(q.dead, 0) AS dead
		FROM imap_folder_state f
		LEFT JOIN (
			SELECT tenant, provider_id, folder, count(*) FILTER (WHERE state IN ('retry', 'released')) AS retrying,
				min(created_at) FILTER (WHERE state IN ('retry', 'released')) AS retrying_from,
				count(*) FILTER (WHERE state = 'dead') AS dead
			FROM imap_quarantine
			WHERE ($1 = '' OR tenant = nullif($1, '')::uuid) AND ($2 = '' OR provider_id = nullif($2, '')::uuid)
			GROUP BY tenant, provider_id, folder
		) q ON q.tenant = f.tenant AND q.provider_id = f.provider_id AND q.folder = f.folder
		WHERE ($1 = '' OR f.tenant = nullif($1, '')::uuid) AND ($2 = '' OR f.provider_id = nullif($2, '')::uuid)
		ORDER BY f.tenant, f.provider_id, f.folder`, tenant, providerID)
	if err != nil {
		return nil, fmt.Errorf("folder statuses: %w", wrap(err))
	}
	return list, nil
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
