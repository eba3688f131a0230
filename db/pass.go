package db

import (
	"context"
	"time"

	"github.com/google/uuid"
)

// Run is one pass of the history: one that brought mail, or failed.
type Run struct {
	Tenant     string    `db:"tenant" json:"tenant"`
	ProviderID string    `db:"provider_id" json:"providerId"`
	Provider   string    `db:"provider_name" json:"provider"`
	ID         string    `db:"id" json:"id"`
	StartedAt  time.Time `db:"started_at" json:"startedAt"`
	EndedAt    time.Time `db:"ended_at" json:"endedAt"`
	Outcome    string    `db:"outcome" json:"outcome"` // ok, failed or unfinished
	ErrorCode  string    `db:"error_code" json:"errorCode,omitempty"`
	Error      string    `db:"error" json:"error,omitempty"`
	Folders    int       `db:"folders" json:"folders"` // served
	Counts
	Bytes   int64  `db:"bytes" json:"bytes"`         // downloaded
	Host    string `db:"host" json:"host,omitempty"` // of the process
	Version string `db:"version" json:"version,omitempty"`
}

// Pass is how one pass over a provider ended. Whose Run it is and its Outcome,
// FinishPass says.
type Pass struct {
	Run

	Partial       bool // the error is about some folders; the login and the others went well
	Unfinished    bool // the error is of our own side: it is history, and not the provider's
	AuthFailure   bool
	NextAttemptAt *time.Time // nil: due at once
	PauseReason   string     // pauses the provider when not empty
}

// FinishPass writes the end of a pass behind the fence. A pass that succeeded
// and brought no mail writes one row: the provider's state.
func (s *Store) FinishPass(ctx context.Context, fence Fence, p *Provider, pass Pass) error {
	pass.Error = Clean(pass.Error)
	return s.behind(ctx, fence, func(tx *txn) error {
		if pass.Unfinished {
			insertRun(ctx, tx, fence, pass.Run, "unfinished")
			return tx.err
		}
		finishState(ctx, tx, fence, pass)
		finishProvider(ctx, tx, p, pass)
		if pass.PauseReason != "" && p.PausedAt == nil {
			tx.audit(ctx, Audit{
				Tenant: p.Tenant, At: pass.EndedAt, Actor: auditJob, Action: "provider_paused", ProviderID: p.ID,
				Detail: Detail{"reason": pass.PauseReason, "code": pass.ErrorCode, "error": pass.Error},
			})
		}
		if pass.ErrorCode != "" || pass.Total() > 0 {
			outcome := "ok"
			if pass.ErrorCode != "" {
				outcome = "failed"
			}
			insertRun(ctx, tx, fence, pass.Run, outcome)
		}
		return tx.err
	})
}

func finishState(ctx context.Context, tx *txn, fence Fence, pass Pass) {
	failed := pass.ErrorCode != "" && !pass.Partial
	tx.exec(ctx, "finish state", `
		UPDATE imap_sync_state SET next_attempt_at = $3, last_error_code = nullif($4, ''), last_error = nullif($5, ''),
			last_success_at = CASE WHEN $6 THEN last_success_at ELSE $8 END,
			consecutive_failures = CASE WHEN $6 THEN consecutive_failures + 1 ELSE 0 END,
			auth_failures = CASE WHEN NOT $6 THEN 0 WHEN $7 THEN auth_failures + 1 ELSE auth_failures END
		WHERE tenant = $1 AND provider_id = $2`,
		fence.Tenant, fence.ProviderID, pass.NextAttemptAt, pass.ErrorCode, pass.Error, failed, pass.AuthFailure, pass.EndedAt)
}

func finishProvider(ctx context.Context, tx *txn, p *Provider, pass Pass) {
	status, message := StatusConnected, ""
	if pass.ErrorCode != "" {
		status, message = StatusError, pass.Error
	}
	if p.Status == status && p.ErrorMessage == message && pass.PauseReason == "" {
		return
	}
	tx.exec(ctx, "finish provider", `
		UPDATE email_providers SET status = $3, error_message = nullif($4, ''), updated_at = $5,
			inbound_paused_at = CASE WHEN $6 = '' THEN inbound_paused_at ELSE coalesce(inbound_paused_at, $5) END,
			inbound_pause_reason = CASE WHEN $6 = '' THEN inbound_pause_reason ELSE $6 END
		WHERE tenant = $1 AND id = $2`, p.Tenant, p.ID, status, message, pass.EndedAt, pass.PauseReason)
	tx.exec(ctx, "mirror error", `
		UPDATE imap_email_provider_config SET last_error = nullif($3, '')
		WHERE tenant = $1 AND email_provider_id = $2`, p.Tenant, p.ID, message)
}

func insertRun(ctx context.Context, tx *txn, fence Fence, run Run, outcome string) {
	run.Tenant, run.ProviderID, run.ID, run.Outcome = fence.Tenant, fence.ProviderID, uuid.NewString(), outcome
	tx.named(ctx, "write run", `
		INSERT INTO imap_runs (tenant, provider_id, id, started_at, ended_at, outcome, error_code, error, folders,
			published, duplicates, skipped, expunged, quarantined, bytes, host, version)
		VALUES (:tenant, :provider_id, :id, :started_at, :ended_at, :outcome, nullif(:error_code, ''), nullif(:error, ''), :folders,
			:published, :duplicates, :skipped, :expunged, :quarantined, :bytes, :host, :version)`, run)
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
	return selectAll[Run](ctx, s, "list runs", `
		SELECT r.tenant, r.provider_id, coalesce(p.provider_name, '') AS provider_name, r.id, r.started_at, r.ended_at,
			r.outcome, coalesce(r.error_code, '') AS error_code, coalesce(r.error, '') AS error, r.folders, r.published,
			r.duplicates, r.skipped, r.expunged, r.quarantined, r.bytes, coalesce(r.host, '') AS host,
			coalesce(r.version, '') AS version
		FROM imap_runs r
		LEFT JOIN email_providers p ON p.tenant = r.tenant AND p.id = r.provider_id
		WHERE ($1 = '' OR r.tenant = nullif($1, '')::uuid) AND ($2 = '' OR r.provider_id = nullif($2, '')::uuid)
			AND (NOT $3 OR r.outcome = 'failed') AND r.started_at >= $4
		ORDER BY r.started_at DESC, r.id LIMIT $5`, f.Tenant, f.ProviderID, f.Failed, f.Since, f.Limit)
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
	return selectAll[HostFailures](ctx, s, "host failures", `
		SELECT lower(c.host) AS host, s.last_error_code, count(*) AS providers
		FROM imap_sync_state s
		JOIN imap_email_provider_config c ON c.tenant = s.tenant AND c.email_provider_id = s.provider_id
		WHERE s.last_error_code IS NOT NULL AND s.last_attempt_at >= $1
		GROUP BY 1, 2`, since)
}
