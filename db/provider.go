package db

import "time"

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
