package db

import (
	"context"
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// TLSMode says how a connection to the mail server is secured.
type TLSMode string

// The modes of TLS. TLSNone is plaintext, asked for by name.
const (
	TLSImplicit TLSMode = "implicit"
	TLSStartTLS TLSMode = "starttls"
	TLSNone     TLSMode = "none"
)

// The values of Provider.Status and of Provider.PauseReason that imapsync
// itself writes.
const (
	StatusConnected    = "connected"
	StatusDisconnected = "disconnected"
	StatusError        = "error"
	StatusConfiguring  = "configuring"

	PauseManual      = "manual"
	PauseAuthFailure = "auth_failure"
)

// DefaultTenant is the tenant of providers for which none was named. It is not
// the nil UUID: strict consumers of the events refuse that one.
const DefaultTenant = "00000000-0000-4000-8000-000000000000"

// AuthPassword is the value of Settings.AuthType for a login with a password.
const AuthPassword = "password"

// AuthOAuth2 is the value of Settings.AuthType for a login with tokens.
const AuthOAuth2 = "oauth2"

// The values of Settings.OAuthPreset.
const (
	PresetGoogle    = "google"
	PresetMicrosoft = "microsoft"
	PresetCustom    = "custom"
)

// The values of Settings.OAuthFlow.
const (
	FlowCode              = "code"
	FlowDevice            = "device"
	FlowClientCredentials = "client-credentials"
	FlowServiceAccount    = "service-account"
)

// Provider is one account that is read: what a person has set and where its
// passes stand.
type Provider struct {
	Settings
	State
}

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
}

// State is where the passes over a provider stand. Only they, and what pauses
// and resumes them, write it.
type State struct {
	Status              string     `db:"status"`
	ErrorMessage        string     `db:"error_message"`
	PausedAt            *time.Time `db:"inbound_paused_at"`
	PauseReason         string     `db:"inbound_pause_reason"`
	TokenExpiresAt      *time.Time `db:"token_expires_at"`
	AuthorisedAt        *time.Time `db:"oauth_authorised_at"`      // when a person last signed in
	RefreshedAt         *time.Time `db:"oauth_refreshed_at"`       // when tokens were last got
	RefreshExpiresAt    *time.Time `db:"oauth_refresh_expires_at"` // of the refresh token, as the server said
	LastSyncAt          *time.Time `db:"last_sync_at"`
	LastAttemptAt       *time.Time `db:"last_attempt_at"`
	LastSuccessAt       *time.Time `db:"last_success_at"`
	NextAttemptAt       *time.Time `db:"next_attempt_at"`
	ConsecutiveFailures int        `db:"consecutive_failures"`
	AuthFailures        int        `db:"auth_failures"`
	LastErrorCode       string     `db:"last_error_code"`
	LastError           string     `db:"last_error"`
	Published           int64      `db:"published"`
	Duplicates          int64      `db:"duplicates"`
	Quarantined         int64      `db:"quarantined"`
	BytesToday          int64      `db:"bytes_today"` // downloaded since midnight UTC
}

// String names a provider as errors do: by its name, which people know, and by
// its id, which is unique.
func (p *Provider) String() string { return p.Name + " (" + p.ID + ")" }

// FolderNames is a list of folder names kept as a JSON array.
type FolderNames []string

// Value writes the names as JSON text: as bytes the driver would send them in
// binary, which jsonb does not take.
func (f FolderNames) Value() (driver.Value, error) {
	b, err := json.Marshal(append([]string{}, f...))
	return string(b), err
}

// Scan reads a JSON array; anything else that a settings UI may have stored
// reads as no filter.
func (f *FolderNames) Scan(src any) error {
	*f = nil
	switch v := src.(type) {
	case nil:
	case []byte:
		_ = json.Unmarshal(v, (*[]string)(f)) // not an array of names: no filter
	case string:
		_ = json.Unmarshal([]byte(v), (*[]string)(f)) // likewise
	default:
		return fmt.Errorf("folder_filters: cannot read %T", src)
	}
	return nil
}

const providerSelect = `
	SELECT p.tenant, p.id, p.provider_name, p.mailbox, p.is_active, c.auto_process_emails, p.status,
		coalesce(p.error_message, '') AS error_message, p.last_sync_at,
		p.inbound_paused_at, coalesce(p.inbound_pause_reason, '') AS inbound_pause_reason,
		coalesce(p.inbound_ticket_defaults_id::text, '') AS inbound_ticket_defaults_id, p.created_at,
		c.host, c.port, c.auth_type, c.username, c.folder_filters, c.max_emails_per_sync,
		CASE WHEN c.secure THEN 'implicit' WHEN c.allow_starttls THEN 'starttls' ELSE 'none' END AS tls,
		coalesce(c.oauth_authorize_url, '') AS oauth_authorize_url, coalesce(c.oauth_token_url, '') AS oauth_token_url,
		coalesce(c.oauth_client_id, '') AS oauth_client_id, coalesce(c.oauth_scopes, '') AS oauth_scopes,
		c.token_expires_at, coalesce(c.connection_timeout_ms, 0) AS connection_timeout_ms,
		coalesce(o.ca_pem, '') AS ca_pem, coalesce(o.tls_server_name, '') AS tls_server_name,
		coalesce(o.eager_login, false) AS eager_login,
		coalesce(o.start, 'recent') AS start, coalesce(o.oauth_preset, '') AS oauth_preset,
		coalesce(o.oauth_flow, '') AS oauth_flow, coalesce(o.oauth_tenant, '') AS oauth_tenant,
		coalesce(o.oauth_device_url, '') AS oauth_device_url, o.oauth_client_secret_expires,
		o.oauth_authorised_at, o.oauth_refreshed_at, o.oauth_refresh_expires_at, coalesce(o.command_timeout_ms, 0) AS command_timeout_ms,
		coalesce(o.literal_timeout_ms, 0) AS literal_timeout_ms, coalesce(o.pass_timeout_ms, 0) AS pass_timeout_ms,
		coalesce(o.max_message_bytes, 0) AS max_message_bytes,
		coalesce(o.max_attachment_bytes, 0) AS max_attachment_bytes,
		coalesce(o.max_attachments_total_bytes, 0) AS max_attachments_total_bytes,
		coalesce(o.max_attachments, 0) AS max_attachments, coalesce(o.max_bytes_per_day, 0) AS max_bytes_per_day,
		s.next_attempt_at, s.last_attempt_at, s.last_success_at,
		coalesce(s.consecutive_failures, 0) AS consecutive_failures, coalesce(s.auth_failures, 0) AS auth_failures,
		coalesce(s.last_error_code, '') AS last_error_code, coalesce(s.last_error, '') AS last_error,
		coalesce(s.published, 0) AS published, coalesce(s.duplicates, 0) AS duplicates,
		coalesce(s.quarantined, 0) AS quarantined,
		CASE WHEN s.bytes_day = (now() AT TIME ZONE 'UTC')::date THEN s.bytes_today ELSE 0 END AS bytes_today
	FROM email_providers p
	JOIN imap_email_provider_config c ON c.tenant = p.tenant AND c.email_provider_id = p.id
	LEFT JOIN imap_provider_options o ON o.tenant = p.tenant AND o.provider_id = p.id
	LEFT JOIN imap_sync_state s ON s.tenant = p.tenant AND s.provider_id = p.id
	WHERE p.provider_type = 'imap'`

// AddProvider stores a new provider together with its sealed secrets and an
// audit entry. It returns ErrExists when the tenant has that mailbox already, a
// NameTakenError when it has another of that name.
func (s *Store) AddProvider(ctx context.Context, p *Provider, secrets []Secret, audit Audit) error {
	err := s.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := lockNames(ctx, tx, p.Tenant); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `
			INSERT INTO email_providers (tenant, id, provider_type, provider_name, mailbox, is_active, status,
				inbound_ticket_defaults_id, created_at, updated_at)
			VALUES ($1, $2, 'imap', $3, $4, $5, $6, nullif($7, '')::uuid, $8, $8)`,
			p.Tenant, p.ID, p.Name, p.Mailbox, p.Active, p.Status, p.DefaultsID, p.CreatedAt)
		if err != nil {
			return fmt.Errorf("insert email_providers: %w", err)
		}
		if err := nameIsFree(ctx, tx, p); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `
			INSERT INTO imap_email_provider_config (tenant, email_provider_id, host, port, secure, allow_starttls,
				auth_type, username, auto_process_emails, max_emails_per_sync, folder_filters, oauth_authorize_url,
				oauth_token_url, oauth_client_id, oauth_scopes, connection_timeout_ms)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, true, $9, $10, nullif($11, ''), nullif($12, ''), nullif($13, ''),
				nullif($14, ''), $15)`,
			p.Tenant, p.ID, p.Host, p.Port, p.TLS == TLSImplicit, p.TLS == TLSStartTLS, p.AuthType, p.Username,
			p.MaxEmailsPerSync, p.Folders, p.OAuthAuthorize, p.OAuthToken, p.OAuthClientID, p.OAuthScopes,
			p.ConnectTimeoutMS)
		if err != nil {
			return fmt.Errorf("insert imap_email_provider_config: %w", err)
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
		_, err = tx.ExecContext(ctx, `
			UPDATE email_providers SET provider_name = $3, mailbox = $4, is_active = $5,
				inbound_ticket_defaults_id = nullif($6, '')::uuid, updated_at = $7
			WHERE tenant = $1 AND id = $2`,
			p.Tenant, p.ID, p.Name, p.Mailbox, p.Active, p.DefaultsID, audit.At)
		if err != nil {
			return fmt.Errorf("update email_providers: %w", err)
		}
		if p.Name != was {
			if err := nameIsFree(ctx, tx, p); err != nil {
				return err
			}
		}
		_, err = tx.ExecContext(ctx, `
			UPDATE imap_email_provider_config SET host = $3, port = $4, secure = $5, allow_starttls = $6,
				auth_type = $7, username = $8, max_emails_per_sync = $9, folder_filters = $10,
				oauth_authorize_url = nullif($11, ''), oauth_token_url = nullif($12, ''),
				oauth_client_id = nullif($13, ''), oauth_scopes = nullif($14, ''), connection_timeout_ms = $15,
				updated_at = $16
			WHERE tenant = $1 AND email_provider_id = $2`,
			p.Tenant, p.ID, p.Host, p.Port, p.TLS == TLSImplicit, p.TLS == TLSStartTLS, p.AuthType, p.Username,
			p.MaxEmailsPerSync, p.Folders, p.OAuthAuthorize, p.OAuthToken, p.OAuthClientID, p.OAuthScopes,
			p.ConnectTimeoutMS, audit.At)
		if err != nil {
			return fmt.Errorf("update imap_email_provider_config: %w", err)
		}
		// What was wrong may be put right by the change: try at once.
		_, err = tx.ExecContext(ctx, `UPDATE imap_sync_state SET next_attempt_at = NULL
			WHERE tenant = $1 AND provider_id = $2`, p.Tenant, p.ID)
		if err != nil {
			return fmt.Errorf("update imap_sync_state: %w", err)
		}
		return writeRest(ctx, tx, p, secrets, audit)
	})
	return orMailboxExists(err, p)
}

// writeRest writes what a provider has beyond the shared tables.
func writeRest(ctx context.Context, tx *sqlx.Tx, p *Provider, secrets []Secret, audit Audit) error {
	if err := writeOptions(ctx, tx, p); err != nil {
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

func writeOptions(ctx context.Context, tx *sqlx.Tx, p *Provider) error {
	_, err := tx.ExecContext(ctx, `
		INSERT INTO imap_provider_options (tenant, provider_id, ca_pem, tls_server_name, start, oauth_preset,
			oauth_flow, command_timeout_ms, literal_timeout_ms, pass_timeout_ms, max_message_bytes,
			max_attachment_bytes, max_attachments_total_bytes, max_attachments, max_bytes_per_day,
			oauth_tenant, oauth_device_url, oauth_client_secret_expires, eager_login)
		VALUES ($1, $2, nullif($3, ''), nullif($4, ''), $5, nullif($6, ''), nullif($7, ''), nullif($8::int, 0),
			nullif($9::int, 0), nullif($10::int, 0), nullif($11::bigint, 0), nullif($12::bigint, 0),
			nullif($13::bigint, 0), nullif($14::int, 0), nullif($15::bigint, 0),
			nullif($16, ''), nullif($17, ''), $18, $19)
		ON CONFLICT (tenant, provider_id) DO UPDATE SET ca_pem = EXCLUDED.ca_pem,
			tls_server_name = EXCLUDED.tls_server_name, start = EXCLUDED.start,
			oauth_preset = EXCLUDED.oauth_preset, oauth_flow = EXCLUDED.oauth_flow,
			command_timeout_ms = EXCLUDED.command_timeout_ms, literal_timeout_ms = EXCLUDED.literal_timeout_ms,
			pass_timeout_ms = EXCLUDED.pass_timeout_ms, max_message_bytes = EXCLUDED.max_message_bytes,
			max_attachment_bytes = EXCLUDED.max_attachment_bytes,
			max_attachments_total_bytes = EXCLUDED.max_attachments_total_bytes,
			max_attachments = EXCLUDED.max_attachments, max_bytes_per_day = EXCLUDED.max_bytes_per_day,
			oauth_tenant = EXCLUDED.oauth_tenant, oauth_device_url = EXCLUDED.oauth_device_url,
			oauth_client_secret_expires = EXCLUDED.oauth_client_secret_expires, eager_login = EXCLUDED.eager_login, updated_at = EXCLUDED.updated_at`,
		p.Tenant, p.ID, p.CAPEM, p.TLSServerName, p.Start, p.OAuthPreset, p.OAuthFlow, p.CommandTimeoutMS,
		p.LiteralTimeoutMS, p.PassTimeoutMS, p.MaxMessageBytes, p.MaxAttachment, p.MaxAttachments,
		p.MaxAttachmentN, p.MaxBytesPerDay, p.OAuthTenant, p.OAuthDevice, p.SecretExpiresAt, p.EagerLogin)
	if err != nil {
		return fmt.Errorf("write imap_provider_options: %w", err)
	}
	return nil
}
