package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
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
func lockNames(ctx context.Context, tx *txn, tenant string) {
	tx.exec(ctx, "lock names", `SELECT pg_advisory_xact_lock($1)`, lockKey("imapsync", tenant, "names"))
}

// MayStore returns the errors that AddProvider and UpdateProvider would have for
// the mailbox and the name of a provider, before it is tested and its credential
// is kept elsewhere. Those two still decide.
func (s *Store) MayStore(ctx context.Context, p *Provider) error {
	return mayStore(ctx, s.pool, p)
}

// mayStore looks for the mailbox and for the name at other providers of the tenant.
// A name that stays as it was may be another's too.
func mayStore(ctx context.Context, q sqlx.QueryerContext, p *Provider) error {
	var there bool
	err := sqlx.GetContext(ctx, q, &there, `
		SELECT EXISTS (SELECT FROM email_providers WHERE tenant = $1 AND mailbox = $2 AND id <> $3)`, p.Tenant, p.Mailbox, p.ID)
	if err != nil {
		return fmt.Errorf("look for the mailbox: %w", wrap(ctx, err))
	}
	if there {
		return mailboxExists(p)
	}
	var other string
	err = sqlx.GetContext(ctx, q, &other, `
		SELECT id FROM email_providers
		WHERE tenant = $1 AND provider_name = $2 AND id <> $3 AND provider_type = 'imap'
			AND NOT EXISTS (SELECT FROM email_providers WHERE tenant = $1 AND provider_name = $2 AND id = $3)
		ORDER BY id LIMIT 1`, p.Tenant, p.Name, p.ID)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("look for the name: %w", wrap(ctx, err))
	}
	return &NameTakenError{Name: p.Name, ID: other}
}

func mailboxExists(p *Provider) error { return fmt.Errorf("mailbox %s: %w", p.Mailbox, ErrExists) }

// AddProvider stores a new provider together with its sealed secrets and an
// audit entry. It returns ErrExists when the tenant has that mailbox already, a
// NameTakenError when it has another of that name.
func (s *Store) AddProvider(ctx context.Context, p *Provider, secrets []Secret, audit Audit) error {
	return s.change(ctx, p, secrets, audit, func(tx *txn) {
		tx.named(ctx, "insert email_providers", `
			INSERT INTO email_providers (tenant, id, provider_type, provider_name, mailbox, status, created_at, updated_at)
			VALUES (:tenant, :id, 'imap', :provider_name, :mailbox, :status, :created_at, :created_at)`, p)
		tx.named(ctx, "insert imap_email_provider_config", `
			INSERT INTO imap_email_provider_config (tenant, email_provider_id, host, port, username, auto_process_emails,
				created_at, updated_at)
			VALUES (:tenant, :id, :host, :port, :username, true, :created_at, :created_at)`, p)
	})
}

// UpdateProvider stores the settings of p. Secrets may be empty: those already
// stored stay in force. Errors are those of AddProvider.
func (s *Store) UpdateProvider(ctx context.Context, p *Provider, secrets []Secret, audit Audit) error {
	return s.change(ctx, p, secrets, audit, func(tx *txn) {
		// What was wrong may be put right by the change: try at once.
		tx.exec(ctx, "make due", `UPDATE imap_sync_state SET next_attempt_at = NULL
			WHERE tenant = $1 AND provider_id = $2`, p.Tenant, p.ID)
		if otherUser(ctx, tx, p) {
			tx.exec(ctx, "note the other user", `UPDATE imap_sync_state SET account_at = $3
				WHERE tenant = $1 AND provider_id = $2`, p.Tenant, p.ID, audit.At)
		}
	})
}

// otherUser reports whether the settings as stored log in as another user. With OAuth
// that may be the address.
func otherUser(ctx context.Context, tx *txn, p *Provider) (other bool) {
	if tx.err == nil {
		tx.err = tx.GetContext(ctx, &other, `
			SELECT coalesce(bool_or(c.username IS DISTINCT FROM $3 OR $5 AND p.mailbox <> $4), false)
			FROM email_providers p JOIN imap_email_provider_config c ON c.tenant = p.tenant AND c.email_provider_id = p.id
			WHERE p.tenant = $1 AND p.id = $2`, p.Tenant, p.ID, p.Username, p.Mailbox, p.AuthType == "oauth2")
	}
	return other
}

// change stores the settings of a provider after what is done first.
func (s *Store) change(ctx context.Context, p *Provider, secrets []Secret, audit Audit, first func(tx *txn)) error {
	err := s.inTx(ctx, func(tx *txn) error {
		lockNames(ctx, tx, p.Tenant)
		if tx.err == nil {
			tx.err = mayStore(ctx, tx, p)
		}
		first(tx)
		writeSettings(ctx, tx, p, audit.At)
		writeSecrets(ctx, tx, secrets)
		tx.audit(ctx, audit)
		return tx.err
	})
	if pe, ok := errors.AsType[*pq.Error](err); ok && pe.Code == "23505" { // of which table it is, Citus does not say
		return mailboxExists(p)
	}
	return err
}

// writeSettings stores the settings of a provider that has its rows in the
// shared tables.
func writeSettings(ctx context.Context, tx *txn, p *Provider, now time.Time) {
	row := struct {
		Settings
		Now time.Time `db:"now"`
	}{p.Settings, now}
	for _, statement := range []string{
		`UPDATE email_providers SET
			provider_name = :provider_name,
			mailbox = :mailbox,
			is_active = :is_active,
			inbound_ticket_defaults_id = CAST(nullif(:inbound_ticket_defaults_id, '') AS uuid),
			updated_at = :now
		WHERE tenant = :tenant AND id = :id`,

		`UPDATE imap_email_provider_config SET
			host = :host,
			port = :port,
			secure = :tls = 'implicit',
			allow_starttls = :tls = 'starttls',
			auth_type = :auth_type,
			username = :username,
			folder_filters = :folder_filters,
			max_emails_per_sync = :max_emails_per_sync,
			connection_timeout_ms = :connection_timeout_ms,
			oauth_authorize_url = nullif(:oauth_authorize_url, ''),
			oauth_token_url = nullif(:oauth_token_url, ''),
			oauth_client_id = nullif(:oauth_client_id, ''),
			oauth_scopes = nullif(:oauth_scopes, ''),
			updated_at = :now
		WHERE tenant = :tenant AND email_provider_id = :id`,

		`INSERT INTO imap_provider_options (tenant, provider_id, updated_at) VALUES (:tenant, :id, :now)
		ON CONFLICT DO NOTHING`,

		`UPDATE imap_provider_options SET
			ca_pem = nullif(:ca_pem, ''),
			tls_server_name = nullif(:tls_server_name, ''),
			eager_login = :eager_login,
			start = :start,
			oauth_preset = nullif(:oauth_preset, ''),
			oauth_flow = nullif(:oauth_flow, ''),
			oauth_tenant = nullif(:oauth_tenant, ''),
			oauth_device_url = nullif(:oauth_device_url, ''),
			oauth_client_secret_expires = :oauth_client_secret_expires,
			command_timeout_ms = nullif(CAST(:command_timeout_ms AS int), 0),
			literal_timeout_ms = nullif(CAST(:literal_timeout_ms AS int), 0),
			pass_timeout_ms = nullif(CAST(:pass_timeout_ms AS int), 0),
			max_message_bytes = nullif(CAST(:max_message_bytes AS bigint), 0),
			max_attachment_bytes = nullif(CAST(:max_attachment_bytes AS bigint), 0),
			max_attachments_total_bytes = nullif(CAST(:max_attachments_total_bytes AS bigint), 0),
			max_attachments = nullif(CAST(:max_attachments AS int), 0),
			max_bytes_per_day = nullif(CAST(:max_bytes_per_day AS bigint), 0),
			max_connections = nullif(CAST(:max_connections AS int), 0),
			updated_at = :now
		WHERE tenant = :tenant AND provider_id = :id`,
	} {
		tx.named(ctx, "write settings", statement, row)
	}
}

// PauseProvider stops passes over the provider until it is resumed. Mail that
// arrives meanwhile waits on the server.
func (s *Store) PauseProvider(ctx context.Context, ref Ref, reason string, audit Audit) error {
	return s.inTx(ctx, func(tx *txn) error {
		tx.exec(ctx, "pause provider", `
			UPDATE email_providers SET inbound_paused_at = coalesce(inbound_paused_at, $3),
				inbound_pause_reason = $4, updated_at = $3
			WHERE tenant = $1 AND id = $2`, ref.Tenant, ref.ID, audit.At, reason)
		tx.audit(ctx, audit)
		return tx.err
	})
}

// ResumeProvider makes the provider due at once and forgets its failures.
func (s *Store) ResumeProvider(ctx context.Context, ref Ref, audit Audit) error {
	return s.inTx(ctx, func(tx *txn) error {
		tx.exec(ctx, "forget failures", `
			UPDATE imap_sync_state SET next_attempt_at = NULL, consecutive_failures = 0, auth_failures = 0
			WHERE tenant = $1 AND provider_id = $2`, ref.Tenant, ref.ID)
		tx.exec(ctx, "resume provider", `
			UPDATE email_providers SET inbound_paused_at = NULL, inbound_pause_reason = NULL, updated_at = $3
			WHERE tenant = $1 AND id = $2`, ref.Tenant, ref.ID, audit.At)
		tx.audit(ctx, audit)
		return tx.err
	})
}

// RemoveProvider deletes a provider with all that is kept about it. Events
// already published stay on the stream.
func (s *Store) RemoveProvider(ctx context.Context, ref Ref, audit Audit) error {
	return s.inTx(ctx, func(tx *txn) error {
		for _, stmt := range []string{
			`DELETE FROM imap_sync_state WHERE tenant = $1 AND provider_id = $2::uuid`,
			`DELETE FROM imap_secrets WHERE tenant = $1 AND right(name, 37) = '_' || $2`,
			`DELETE FROM imap_quarantine WHERE tenant = $1 AND provider_id = $2::uuid`,
			`DELETE FROM imap_messages WHERE tenant = $1 AND provider_id = $2::uuid`,
			`DELETE FROM imap_folder_state WHERE tenant = $1 AND provider_id = $2::uuid`,
			`DELETE FROM imap_runs WHERE tenant = $1 AND provider_id = $2::uuid`,
			`DELETE FROM imap_provider_options WHERE tenant = $1 AND provider_id = $2::uuid`,
			`DELETE FROM imap_email_provider_config WHERE tenant = $1 AND email_provider_id = $2::uuid`,
			`DELETE FROM email_providers WHERE tenant = $1 AND id = $2::uuid`,
		} {
			tx.exec(ctx, "remove provider", stmt, ref.Tenant, ref.ID)
		}
		tx.audit(ctx, audit)
		return tx.err
	})
}
