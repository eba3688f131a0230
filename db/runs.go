package db

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jmoiron/sqlx"
)

// Run is one pass of the history: one that brought mail, or failed.
type Run struct {
	Tenant      string    `db:"tenant" json:"tenant"`
	ProviderID  string    `db:"provider_id" json:"providerId"`
	Provider    string    `db:"provider_name" json:"provider"`
	ID          string    `db:"id" json:"id"`
	StartedAt   time.Time `db:"started_at" json:"startedAt"`
	EndedAt     time.Time `db:"ended_at" json:"endedAt"`
	Outcome     string    `db:"outcome" json:"outcome"` // ok or failed
	ErrorCode   string    `db:"error_code" json:"errorCode,omitempty"`
	Error       string    `db:"error" json:"error,omitempty"`
	Folders     int       `db:"folders" json:"folders"`
	Published   int       `db:"published" json:"published"`
	Duplicates  int       `db:"duplicates" json:"duplicates"`
	Skipped     int       `db:"skipped" json:"skipped"`
	Expunged    int       `db:"expunged" json:"expunged"`
	Quarantined int       `db:"quarantined" json:"quarantined"`
	Bytes       int64     `db:"bytes" json:"bytes"`
	Host        string    `db:"host" json:"host,omitempty"`
	Version     string    `db:"version" json:"version,omitempty"`
}

// RunFilter narrows a list of runs. Empty fields do not.
type RunFilter struct {
	Tenant, ProviderID string
	Failed             bool
	Since              time.Time
	Limit              int
}

// ListRuns lists passes, the newest first.
func (s *Store) ListRuns(ctx context.Context, f RunFilter) ([]Run, error) {
	list := []Run{}
	err := s.pool.SelectContext(ctx, &list, `
		SELECT r.tenant, r.provider_id, coalesce(p.provider_name, '') AS provider_name, r.id, r.started_at, r.ended_at,
			r.outcome, coalesce(r.error_code, '') AS error_code, coalesce(r.error, '') AS error, r.folders, r.published,
			r.duplicates, r.skipped, r.expunged, r.quarantined, r.bytes, coalesce(r.host, '') AS host,
			coalesce(r.version, '') AS version
		FROM imap_runs r
		LEFT JOIN email_providers p ON p.tenant = r.tenant AND p.id = r.provider_id
		WHERE ($1 = '' OR r.tenant = nullif($1, '')::uuid) AND ($2 = '' OR r.provider_id = nullif($2, '')::uuid)
			AND (NOT $3 OR r.outcome = 'failed') AND r.started_at >= $4
		ORDER BY r.started_at DESC, r.id LIMIT $5`, f.Tenant, f.ProviderID, f.Failed, f.Since, f.Limit)
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", wrap(err))
	}
	return list, nil
}

func insertRun(ctx context.Context, tx *sqlx.Tx, fence Fence, pass Pass) error {
	run := Run{
		Tenant: fence.Tenant, ProviderID: fence.ProviderID, ID: uuid.NewString(), StartedAt: pass.StartedAt, EndedAt: pass.EndedAt,
		Outcome: "ok", ErrorCode: pass.ErrorCode, Error: Clean(pass.Error), Folders: pass.Folders,
		Published: pass.Counts.Published, Duplicates: pass.Counts.Duplicates, Skipped: pass.Counts.Skipped,
		Expunged: pass.Counts.Expunged, Quarantined: pass.Counts.Quarantined, Bytes: pass.Bytes, Host: pass.Host, Version: pass.Version,
	}
	if run.ErrorCode != "" {
		run.Outcome = "failed"
	}
	_, err := tx.NamedExecContext(ctx, `
		INSERT INTO imap_runs (tenant, provider_id, id, started_at, ended_at, outcome, error_code, error, folders,
			published, duplicates, skipped, expunged, quarantined, bytes, host, version)
		VALUES (:tenant, :provider_id, :id, :started_at, :ended_at, :outcome, nullif(:error_code, ''), nullif(:error, ''), :folders,
			:published, :duplicates, :skipped, :expunged, :quarantined, :bytes, :host, :version)`, run)
	if err != nil {
		return fmt.Errorf("write run: %w", err)
	}
	return nil
}
