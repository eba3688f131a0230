package oauth

import "time"

// Ahead is how long before the end of a credential people are warned.
const Ahead = 14 * day

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
		list = append(list, Forecast{Credential: credential, EndsAt: end, Rule: rule, Warn: end != nil && end.Sub(now) < Ahead})
	}
	if f.Flow.NeedsPerson() && f.AuthorisedAt == nil && f.RefreshedAt == nil {
		return append(list, Forecast{Credential: "refresh_token", Rule: ErrNotAuthorised.Error(), Warn: true})
	}
	if f.Flow.NeedsPerson() {
		ps := presets[f.Preset]
		used := f.RefreshedAt
		if used == nil || f.AuthorisedAt != nil && f.AuthorisedAt.After(*used) {
			used = f.AuthorisedAt
		}
		switch {
		case f.RefreshExpiry != nil:
			add("refresh_token", f.RefreshExpiry, "the authorization server said so")
		case ps.sliding > 0:
			rule := ps.slidingRule
			if ps.testing != "" {
				rule += "; " + ps.testing
			}
			add("refresh_token", new(used.Add(ps.sliding)), rule)
		default:
			add("refresh_token", nil, "the authorization server does not say")
		}
	}
	if f.SecretExpiry != nil {
		add("client_secret", f.SecretExpiry, "as it was entered")
	}
	return list
}
