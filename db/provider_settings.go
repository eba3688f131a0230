package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Settings are what a person sets of a provider, and which one it is.
// Durations are in milliseconds, sizes in bytes; 0 means the default.
type Settings struct {
	Tenant           string      `db:"tenant"`
	ID               string      `db:"id"`
	CreatedAt        time.Time   `db:"created_at"`
	Name             string      `db:"provider_name"`
	Mailbox          string      `db:"mailbox"`
	Active           bool        `db:"is_active"`
	AutoProcess      bool        `db:"auto_process_emails"`
	DefaultsID       string      `db:"inbound_ticket_defaults_id"`
	Host             string      `db:"host"`
	Port             int         `db:"port"`
	TLS              TLSMode     `db:"tls"`
	CAPEM            string      `db:"ca_pem"`
	TLSServerName    string      `db:"tls_server_name"`
	AuthType         string      `db:"auth_type"`
	EagerLogin       bool        `db:"eager_login"` // log in before the server has greeted
	Username         string      `db:"username"`
	Folders          FolderNames `db:"folder_filters"`
	MaxEmailsPerSync int         `db:"max_emails_per_sync"`
	Start            string      `db:"start"`
	OAuthPreset      string      `db:"oauth_preset"`
	OAuthFlow        string      `db:"oauth_flow"`
	OAuthAuthorize   string      `db:"oauth_authorize_url"`
	OAuthToken       string      `db:"oauth_token_url"`
	OAuthClientID    string      `db:"oauth_client_id"`
	OAuthScopes      string      `db:"oauth_scopes"`
	OAuthTenant      string      `db:"oauth_tenant"`
	OAuthDevice      string      `db:"oauth_device_url"`
	SecretExpiresAt  *time.Time  `db:"oauth_client_secret_expires"` // a day: the client secret's last
	ConnectTimeoutMS int         `db:"connection_timeout_ms"`
	CommandTimeoutMS int         `db:"command_timeout_ms"`
	LiteralTimeoutMS int         `db:"literal_timeout_ms"`
	PassTimeoutMS    int         `db:"pass_timeout_ms"`
	MaxMessageBytes  int64       `db:"max_message_bytes"`
	MaxAttachment    int64       `db:"max_attachment_bytes"`
	MaxAttachments   int64       `db:"max_attachments_total_bytes"`
	MaxAttachmentN   int         `db:"max_attachments"`
	MaxBytesPerDay   int64       `db:"max_bytes_per_day"`
	MaxConnections   int         `db:"max_connections"`
}

// selectProviders reads settings and states. A list that is NULL and a text that
// is empty leave all in.
const selectProviders = `
	SELECT p.tenant, p.id, p.created_at,
		p.provider_name, p.mailbox, p.is_active,
		coalesce(CAST(p.inbound_ticket_defaults_id AS text), '') AS inbound_ticket_defaults_id,
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
		coalesce(s.quarantined, 0) AS quarantined, s.bytes_day, coalesce(s.bytes_today, 0) AS bytes_today
	FROM email_providers p
	JOIN imap_email_provider_config c ON c.tenant = p.tenant AND c.email_provider_id = p.id
	LEFT JOIN imap_provider_options o ON o.tenant = p.tenant AND o.provider_id = p.id
	LEFT JOIN imap_sync_state s ON s.tenant = p.tenant AND s.provider_id = p.id
	WHERE p.provider_type = 'imap'
		AND (CAST(:tenants AS uuid[]) IS NULL OR p.tenant = ANY(CAST(:tenants AS uuid[])))
		AND (CAST(:ids AS uuid[]) IS NULL OR p.id = ANY(CAST(:ids AS uuid[])))
		AND (:tenant = '' OR CAST(p.tenant AS text) = :tenant)
		AND (:name = '' OR p.provider_name = :name)
	ORDER BY p.provider_name, p.tenant, p.id`

// writeSettings stores the settings of a provider that has its rows in the
// shared tables.
func writeSettings(ctx context.Context, tx *sqlx.Tx, p *Provider, now time.Time) error {
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
		if _, err := tx.NamedExecContext(ctx, statement, row); err != nil {
			return fmt.Errorf("write settings: %w", err)
		}
	}
	return nil
}

// AddProvider stores a new provider together with its sealed secrets and an
// audit entry. It returns ErrExists when the tenant has that mailbox already, a
// NameTakenError when it has another of that name.
func (s *Store) AddProvider(ctx context.Context, p *Provider, secrets []Secret, audit Audit) error {
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := lockNames(ctx, tx, p.Tenant); err != nil {
			return err
		}
		_, err := tx.NamedExecContext(ctx, `
			INSERT INTO email_providers (tenant, id, provider_type, provider_name, mailbox, status, created_at, updated_at)
			VALUES (:tenant, :id, 'imap', :provider_name, :mailbox, :status, :created_at, :created_at)`, p)
		if err != nil {
			return fmt.Errorf("insert email_providers: %w", err)
		}
		_, err = tx.NamedExecContext(ctx, `
			INSERT INTO imap_email_provider_config (tenant, email_provider_id, host, port, username, auto_process_emails,
				created_at, updated_at)
			VALUES (:tenant, :id, :host, :port, :username, true, :created_at, :created_at)`, p)
		if err != nil {
			return fmt.Errorf("insert imap_email_provider_config: %w", err)
		}
		if err := nameIsFree(ctx, tx, p); err != nil {
			return err
		}
		return writeRest(ctx, tx, p, secrets, audit)
	})
	return orMailboxExists(err, p)
}

// UpdateProvider stores the settings of p. Secrets may be empty: those already
// stored stay in force. Errors are those of AddProvider; a name that stays as it
// was may be another's too.
func (s *Store) UpdateProvider(ctx context.Context, p *Provider, secrets []Secret, audit Audit) error {
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := lockNames(ctx, tx, p.Tenant); err != nil {
			return err
		}
		was, err := nameOf(ctx, tx, Ref{p.Tenant, p.ID})
		if err != nil {
			return err
		}
		if err := writeRest(ctx, tx, p, secrets, audit); err != nil {
			return err
		}
		// What was wrong may be put right by the change: try at once.
		_, err = tx.ExecContext(ctx, `UPDATE imap_sync_state SET next_attempt_at = NULL
			WHERE tenant = $1 AND provider_id = $2`, p.Tenant, p.ID)
		if err != nil {
			return fmt.Errorf("make due: %w", err)
		}
		if p.Name == was {
			return nil
		}
		return nameIsFree(ctx, tx, p)
	})
	return orMailboxExists(err, p)
}

func writeRest(ctx context.Context, tx *sqlx.Tx, p *Provider, secrets []Secret, audit Audit) error {
	if err := writeSettings(ctx, tx, p, audit.At); err != nil {
		return err
	}
	if err := writeSecrets(ctx, tx, secrets); err != nil {
		return err
	}
	return insertAudit(ctx, tx, audit)
}

// orMailboxExists names the one unique key that a person's settings can meet.
func orMailboxExists(err error, p *Provider) error {
	if pe, ok := errors.AsType[*pq.Error](err); ok && pe.Code == "23505" { // of which table it is, Citus does not say
		return mailboxExists(p)
	}
	return err
}

func mailboxExists(p *Provider) error { return fmt.Errorf("mailbox %s: %w", p.Mailbox, ErrExists) }
