package oauth

import (
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestForecasts(t *testing.T) {
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	ago := func(days int) *time.Time { return new(now.AddDate(0, 0, -days)) }
	in := func(days int) *time.Time { return new(now.AddDate(0, 0, days)) }
	for _, tt := range []struct {
		name  string
		facts Facts
		want  string // credential, days left, whether people are warned
	}{
		{"nobody signed in", Facts{Preset: "google", Flow: Code}, "refresh_token - warn"},
		{"used today", Facts{Preset: "microsoft", Flow: Device, AuthorisedAt: ago(400), RefreshedAt: ago(0)}, "refresh_token 90"},
		{"unused for 77 days", Facts{Preset: "microsoft", Flow: Code, AuthorisedAt: ago(77)}, "refresh_token 13 warn"},
		{"unused for 76 days", Facts{Preset: "microsoft", Flow: Code, RefreshedAt: ago(76)}, "refresh_token 14"},
		{"dead", Facts{Preset: "microsoft", Flow: Code, RefreshedAt: ago(100)}, "refresh_token -10 warn"},
		{"signed in again", Facts{Preset: "microsoft", Flow: Code, RefreshedAt: ago(100), AuthorisedAt: ago(1)}, "refresh_token 89"},
		{"six months", Facts{Preset: "google", Flow: Code, RefreshedAt: ago(170)}, "refresh_token 10 warn"},
		{"the server says so", Facts{Preset: "google", Flow: Code, RefreshedAt: ago(0), RefreshExpiry: in(7)}, "refresh_token 7 warn"},
		{"no rule", Facts{Preset: "custom", Flow: Code, RefreshedAt: ago(0)}, "refresh_token -"},
		{"client secret", Facts{Preset: "microsoft", Flow: ClientCredentials, SecretExpiry: in(13)}, "client_secret 13 warn"},
		{"client secret later", Facts{Preset: "microsoft", Flow: ClientCredentials, SecretExpiry: in(30)}, "client_secret 30"},
		{"nothing to say", Facts{Preset: "google", Flow: ServiceAccount}, ""},
	} {
		var got []string
		for _, f := range Forecasts(tt.facts, now) {
			days := "-"
			if f.EndsAt != nil {
				days = strconv.Itoa(int(f.EndsAt.Sub(now) / day))
			}
			line := f.Credential + " " + days
			if f.Warn {
				line += " warn"
			}
			got = append(got, line)
		}
		if s := strings.Join(got, "; "); s != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, s, tt.want)
		}
	}
}
