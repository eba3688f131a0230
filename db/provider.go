package db

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
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

// Ref names a provider.
type Ref struct {
	Tenant string `db:"tenant"`
	ID     string `db:"id"`
}

// The values of State.Status and of State.PauseReason that imapsync itself
// writes.
const (
	StatusConnected    = "connected"
	StatusDisconnected = "disconnected"
	StatusError        = "error"
	StatusConfiguring  = "configuring"

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
	BytesDay            *time.Time `db:"bytes_day"`   // the last on which anything was downloaded
	BytesThatDay        int64      `db:"bytes_today"` // downloaded on it
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
