package db

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// Audit is one entry of the audit log: who did what, and when. Fields names
// what changed; values of secrets never stand in it.
type Audit struct {
	Tenant     string    `db:"tenant" json:"tenant"`
	At         time.Time `db:"at" json:"at"`
	Actor      string    `db:"actor" json:"actor"`
	Action     string    `db:"action" json:"action"`
	ProviderID string    `db:"provider_id" json:"providerId,omitempty"`
	Detail     Detail    `db:"detail" json:"detail,omitempty"`
}

// auditJob is the actor of what a pass does by itself.
const auditJob = "imapsync"

// Detail is what an audit entry says beyond its action.
type Detail map[string]string

// Scan reads a JSON object.
func (d *Detail) Scan(src any) error {
	text, _ := src.([]byte)
	return json.Unmarshal(text, (*map[string]string)(d))
}

// Value writes a JSON object, as text: bytes the driver would send in binary,
// which jsonb does not take.
func (d Detail) Value() (driver.Value, error) {
	if d == nil {
		return "{}", nil
	}
	text, err := json.Marshal(map[string]string(d))
	return string(text), err
}

// audit writes one entry.
func (tx *txn) audit(ctx context.Context, a Audit) {
	row := struct {
		Audit
		ID string `db:"id"`
	}{a, uuid.NewString()}
	tx.named(ctx, "write audit log", `
		INSERT INTO imap_audit_log (tenant, id, at, actor, action, provider_id, detail)
		VALUES (:tenant, :id, :at, :actor, :action, CAST(nullif(:provider_id, '') AS uuid), :detail)`, row)
}

// WriteAudit writes one entry on its own.
func (s *Store) WriteAudit(ctx context.Context, a Audit) error {
	return s.inTx(ctx, func(tx *txn) error {
		tx.audit(ctx, a)
		return tx.err
	})
}

// AuditLog lists the newest entries first, of one provider or, when it is
// empty, of the whole tenant, or of all when that is empty too.
func (s *Store) AuditLog(ctx context.Context, tenant, providerID string, limit int) ([]Audit, error) {
	return selectAll[Audit](ctx, s, "read audit log", `
		SELECT tenant, at, actor, action, coalesce(provider_id::text, '') AS provider_id, detail
		FROM imap_audit_log
		WHERE ($1 = '' OR tenant = nullif($1, '')::uuid) AND ($2 = '' OR provider_id = nullif($2, '')::uuid)
		ORDER BY at DESC, id LIMIT $3`, tenant, providerID, limit)
}
