package oauth

import "time"

// preset is what is known about one kind of authorization server.
type preset struct {
	authorizeURL, tokenURL, deviceURL string // {tenant} stands for the tenant
	tenant                            string // when none is given
	scopes                            map[Flow]string
	authorize                         map[string]string // more parameters of the authorize URL
	redirectHost                      string            // of the loopback redirect
	sliding                           time.Duration     // a refresh token dies unused after this; 0: not known
	slidingRule                       string            // the same, for people
}

const day = 24 * time.Hour

// presets by their name.
//
// Google gives no mail scope to the device flow, and a refresh token only when
// asked for offline access by a consent screen. Microsoft leaves the port of a
// redirect to "localhost" open, and that of 127.0.0.1 does not; its
// application-only tokens go by ".default".
var presets = map[string]preset{
	"google": { //nolint:gosec // addresses, no credentials
		authorizeURL: "https://accounts.google.com/o/oauth2/v2/auth",
		tokenURL:     "https://oauth2.googleapis.com/token",
		scopes:       map[Flow]string{Code: "https://mail.google.com/", ServiceAccount: "https://mail.google.com/"},
		authorize:    map[string]string{"access_type": "offline", "prompt": "consent"},
		redirectHost: "127.0.0.1",
		sliding:      180 * day,
		slidingRule: "Google ends a refresh token that was not used for six months; " +
			"while the app's publishing status is Testing, Google ends it seven days after it was granted",
	},
	"microsoft": { //nolint:gosec // addresses, no credentials
		authorizeURL: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize",
		tokenURL:     "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
		deviceURL:    "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/devicecode",
		tenant:       "organizations",
		scopes: map[Flow]string{ //nolint:gosec // names of permissions
			Code:              "https://outlook.office.com/IMAP.AccessAsUser.All offline_access",
			Device:            "https://outlook.office.com/IMAP.AccessAsUser.All offline_access",
			ClientCredentials: "https://outlook.office365.com/.default",
		},
		redirectHost: "localhost",
		sliding:      90 * day,
		slidingRule:  "Microsoft ends a refresh token that was not renewed for 90 days",
	},
	"custom": {
		authorize:    map[string]string{"access_type": "offline"},
		redirectHost: "127.0.0.1",
	},
}

// RedirectHost is the host of the loopback redirect that the server takes
// without a port of its own (RFC 8252 section 7.3).
func (c *Client) RedirectHost() string { return c.preset.redirectHost }

// ahead is how long before the end of a credential people are warned.
const ahead = 14 * day

// Facts are what is known about a provider's credentials.
type Facts struct {
	Preset        string
	Flow          Flow
	AuthorisedAt  *time.Time // when a person last signed in
	RefreshedAt   *time.Time // when the refresh token last was used
	RefreshExpiry *time.Time // as the server said
	SecretExpiry  *time.Time // of the client secret, as a person said
}

// Forecast says when one credential will die.
type Forecast struct {
	Credential string     `json:"credential"` // refresh_token or client_secret
	EndsAt     *time.Time `json:"endsAt,omitempty"`
	Rule       string     `json:"rule"` // where that is known from
	Warn       bool       `json:"warn"` // less than two weeks are left, or none
}

// Forecasts tells of each credential when it will die by the rules known here.
// EndsAt is nil where there is no rule.
func Forecasts(f Facts, now time.Time) []Forecast {
	var list []Forecast
	add := func(credential string, end *time.Time, rule string) {
		list = append(list, Forecast{Credential: credential, EndsAt: end, Rule: rule, Warn: end != nil && end.Sub(now) < ahead})
	}
	ps := presets[f.Preset]
	switch {
	case !f.Flow.NeedsPerson():
	case f.AuthorisedAt == nil && f.RefreshedAt == nil:
		return []Forecast{{Credential: "refresh_token", Rule: ErrNotAuthorised.Error(), Warn: true}}
	case f.RefreshExpiry != nil:
		add("refresh_token", f.RefreshExpiry, "the authorization server said so")
	case ps.sliding > 0:
		used := f.RefreshedAt
		if used == nil || f.AuthorisedAt != nil && f.AuthorisedAt.After(*used) {
			used = f.AuthorisedAt
		}
		add("refresh_token", new(used.Add(ps.sliding)), ps.slidingRule)
	default:
		add("refresh_token", nil, "the authorization server does not say")
	}
	if f.SecretExpiry != nil {
		add("client_secret", f.SecretExpiry, "as it was entered")
	}
	return list
}
