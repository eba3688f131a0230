package db

import (
	"database/sql/driver"
	"encoding/json"
	"time"
)

// Provider is one account that is read: what a person has set and where its
// passes stand.
type Provider struct {
	Settings
	State
}

// String names a provider as errors do: by its name, which people know, and by
// its id, which is unique.
func (p *Provider) String() string { return p.Name + " (" + p.ID + ")" }

// Ref names the provider.
func (p *Provider) Ref() Ref { return Ref{Tenant: p.Tenant, ID: p.ID} }

// Ref names a provider.
type Ref struct {
	Tenant string `db:"tenant"`
	ID     string `db:"id"`
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
	MaxConnections   int         `db:"max_connections"`
}

// The values of State.Status and of State.PauseReason that imapsync itself
// writes.
const (
	StatusConnected   = "connected"
	StatusError       = "error"
	StatusConfiguring = "configuring"

	PauseManual      = "manual"
	PauseAuthFailure = "auth_failure"
)

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
	AccountAt           *time.Time `db:"account_at"` // when the settings last named another user
	FoldersNamed        string     `db:"folders_named"`
	FoldersAt           *time.Time `db:"folders_at"`  // when a pass first met the folders of FoldersNamed, and its account
	BytesDay            *time.Time `db:"bytes_day"`   // the last on which anything was downloaded
	BytesThatDay        int64      `db:"bytes_today"` // downloaded on it
	StreamSeq           uint64     `db:"stream_seq"`  // of the event that was acknowledged last; 0: none, or it is lost
	Lost
}

// BytesToday is how much was downloaded since the midnight, UTC, before now.
func (s *State) BytesToday(now time.Time) int64 {
	if s.BytesDay == nil || s.BytesDay.Format(time.DateOnly) != now.UTC().Format(time.DateOnly) {
		return 0
	}
	return s.BytesThatDay
}

// TLSMode says how a connection to the mail server is secured.
type TLSMode string

// The modes of TLS. TLSNone is plaintext, asked for by name.
const (
	TLSImplicit TLSMode = "implicit"
	TLSStartTLS TLSMode = "starttls"
	TLSNone     TLSMode = "none"
)

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
	text, _ := src.([]byte)                  // NULL has none
	_ = json.Unmarshal(text, (*[]string)(f)) // not an array of names: no filter
	return nil
}

// DefaultTenant is the tenant of providers for which none was named. It is not
// the nil UUID: strict consumers of the events refuse that one.
const DefaultTenant = "00000000-0000-4000-8000-000000000000"

// The values of Settings.AuthType, OAuthPreset and OAuthFlow.
const (
	AuthPassword = "password"
	AuthOAuth2   = "oauth2"

	PresetGoogle    = "google"
	PresetMicrosoft = "microsoft"
	PresetCustom    = "custom"

	FlowCode              = "code"
	FlowDevice            = "device"
	FlowClientCredentials = "client-credentials"
	FlowServiceAccount    = "service-account"
)
