package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"imapsync/db"
	"imapsync/oauth"
	"imapsync/provider"
	"imapsync/secret"
)

// oauthFlags say where the secrets of a mailbox with --auth oauth2 come from.
type oauthFlags struct {
	secretFile  string
	accountFile string
}

// oauthTexts are the settings of OAuth2 that are no secrets.
var oauthTexts = [...]struct{ name, kind, usage string }{
	{"oauth-preset", "string", "with --auth oauth2: google, microsoft or custom"},
	{"oauth-flow", "string", "how tokens are got first: code, device, client-credentials or service-account (default: code)"},
	{"oauth-client-id", "string", "the id that the app was registered with"},
	{"oauth-client-secret-expires", "date", "the last day of the client secret, as in 2027-01-31, to be warned before"},
	{"oauth-tenant", "string", "Microsoft's directory: its id or a domain (default: organizations)"},
	{"oauth-scopes", "string", "what to ask for, parted by blanks (default: the preset's)"},
	{"oauth-authorize-url", "url", "where a person signs in (default: the preset's)"},
	{"oauth-token-url", "url", "where tokens are got (default: the preset's)"},
	{"oauth-device-url", "url", "where a device code is got (default: the preset's)"},
}

func (o *oauthFlags) add(fs *pflag.FlagSet) {
	for _, flag := range oauthTexts {
		fs.Var(&textValue{kind: flag.kind}, flag.name, flag.usage)
	}
	fs.StringVar(&o.secretFile, "oauth-client-secret-file", "", "read the client secret from this `file`, which others must not be able to read")
	fs.StringVar(&o.accountFile, "oauth-service-account-file", "", "read the JSON key of a service account from this `file`, likewise")
}

// applyOAuth puts the flags that count into p, and what is wrong with them into
// f.
func (f *providerFlags) applyOAuth(p *db.Provider, counts func(flag string) bool) {
	text := func(flag string, to *string) {
		if counts(flag) {
			*to = f.flags.Lookup(flag).Value.String()
		}
	}
	text("oauth-preset", &p.OAuthPreset)
	text("oauth-flow", &p.OAuthFlow)
	text("oauth-client-id", &p.OAuthClientID)
	text("oauth-tenant", &p.OAuthTenant)
	text("oauth-scopes", &p.OAuthScopes)
	text("oauth-authorize-url", &p.OAuthAuthorize)
	text("oauth-token-url", &p.OAuthToken)
	text("oauth-device-url", &p.OAuthDevice)
	if counts("oauth-client-secret-expires") {
		var date string
		text("oauth-client-secret-expires", &date)
		p.SecretExpiresAt = nil
		if date != "" {
			day, err := time.Parse(time.DateOnly, date)
			if err != nil {
				f.wrong("oauth-client-secret-expires", "%q is not a date like 2027-01-31", date)
			}
			p.SecretExpiresAt = &day
		}
	}
	if p.AuthType == db.AuthOAuth2 {
		p.OAuthFlow = cmp.Or(p.OAuthFlow, db.FlowCode)
	}
}

// read reads the secrets that count, so that their faults are told with all
// others. f is what knows the flags.
func (o *oauthFlags) read(f *providerFlags, p *db.Provider, counts func(flag string) bool) provider.CredentialInput {
	var g provider.CredentialInput
	file := func(flag, path string, to *secret.Value) bool {
		if !counts(flag) || path == "" {
			return false
		}
		v, err := secret.ReadFile(path)
		if err != nil {
			f.files = append(f.files, configError("--%s: %w", flag, err))
			return false
		}
		*to = v
		return true
	}
	file("oauth-client-secret-file", o.secretFile, &g.ClientSecret)
	if file("oauth-service-account-file", o.accountFile, &g.ServiceAccount) {
		if err := oauth.CheckServiceAccount(g.ServiceAccount); err != nil {
			f.files = append(f.files, fmt.Errorf("--oauth-service-account-file %s: %w", o.accountFile, err))
		}
	}
	if p.AuthType != db.AuthOAuth2 {
		for _, flag := range oauthTexts {
			if f.onCommandLine(flag.name) {
				f.wrong(flag.name, "goes with --auth oauth2")
			}
		}
		for _, flag := range []string{"oauth-client-secret-file", "oauth-service-account-file"} {
			if f.onCommandLine(flag) {
				f.wrong(flag, "goes with --auth oauth2")
			}
		}
		return provider.CredentialInput{}
	}
	if p.Status == db.StatusConfiguring && p.RefreshedAt == nil {
		f.needSecrets(p, counts("oauth-service-account-file"), counts("oauth-client-secret-file"))
	}
	return g
}

// needSecrets insists on what a new mailbox cannot do without.
func (f *providerFlags) needSecrets(p *db.Provider, account, clientSecret bool) {
	if p.OAuthFlow == db.FlowServiceAccount && !account {
		f.wrong("oauth-service-account-file", "missing: give the JSON key of the service account")
	}
	if p.OAuthFlow == db.FlowClientCredentials && !clientSecret {
		f.wrong("oauth-client-secret-file", "missing: client-credentials needs the client secret")
	}
}
