package sync

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv"
	"imapsync/internal/fault"
	"imapsync/internal/imapsession"
	"imapsync/oauth"
	"imapsync/secret"
)

// vault keeps tokens of one mailbox as a store does, and dies on demand.
type vault struct {
	tokens oauth.Tokens
	saves  int
	die    bool // after the next save, before anybody uses what it stored
}

var errDied = errors.New("the process died")

func (v *vault) keep() oauth.Keep {
	return oauth.Keep{
		Load: func(context.Context) (oauth.Tokens, error) { return v.tokens, nil },
		Save: func(_ context.Context, t oauth.Tokens) error {
			v.tokens = t
			v.saves++
			if v.die {
				v.die = false
				return errDied
			}
			return nil
		},
	}
}

// oauthHouse is a mailbox on Dovecot that takes tokens.
func oauthEnv(t *testing.T, mechanisms ...string) (*testEnv, *devenv.OAuth, *devenv.Dovecot, *db.Provider, *vault) {
	t.Helper()
	o := devenv.TestOAuth(t)
	d := devenv.TestDovecot(t, devenv.DovecotOAuth(o, mechanisms...))
	must(t, d.AddUser("u", "unused"))
	env := newEnv(t)
	p := env.provider(d, "u", "", func(p *db.Provider) {
		p.AuthType, p.OAuthPreset, p.OAuthFlow = db.AuthOAuth2, db.PresetCustom, db.FlowCode
	})
	v := &vault{tokens: oauth.Tokens{Refresh: secret.New(o.Grant("u"))}}
	env.runner.Credential = func(context.Context, *db.Provider, db.Fence) (Credential, error) {
		// A client of its own each time: nothing outlives a pass but the vault.
		client, err := oauth.New(oauth.Settings{
			Preset: "custom", Flow: oauth.Code, ClientID: o.ClientID, ClientSecret: secret.New(o.ClientSecret),
			AuthorizeURL: o.URL + "/authorize", TokenURL: o.URL + "/token", Scopes: "imap offline_access",
		})
		if err != nil {
			return Credential{}, err
		}
		return Credential{Tokens: client.NewSource(v.keep())}, nil
	}
	return env, o, d, p, v
}

func TestTokensOpenAMailbox(t *testing.T) {
	for _, mechanism := range []string{"xoauth2", "oauthbearer"} {
		t.Run(mechanism, func(t *testing.T) {
			env, o, d, p, _ := oauthEnv(t, mechanism)
			must(t, d.Deliver("u", "INBOX", mails(1, 3)...))
			if res := env.ok(p); res.Counts.Published != 3 {
				t.Errorf("published %+v, want 3", res.Counts)
			}
			env.ok(p)
			if n := o.Asked("refresh_token"); n != 1 {
				t.Errorf("two passes asked for %d tokens, want 1: the first lives for an hour", n)
			}
		})
	}
}

// Row 3: the rotated refresh token is not stored, and the account dies. Every
// pass logs in, so a quiet mailbox renews its token as often as a busy one.
func TestFailure03_RotatedRefreshToken(t *testing.T) {
	env, o, _, p, v := oauthEnv(t)
	o.Set(func(s *devenv.OAuthSettings) { s.Lifetime = oauth.Early - time.Second }) // due with every pass
	for range 100 {
		env.ok(p)
	}
	if n := o.Asked("refresh_token"); n != 100 || v.saves != 100 {
		t.Errorf("100 passes without mail asked for %d tokens and stored %d, want 100 each", n, v.saves)
	}
	// Killed between the store and the first use.
	v.die = true
	if _, results := env.run(p); !errors.Is(results[0].Err, errDied) {
		t.Fatalf("the pass that dies: %v", results[0].Err)
	}
	env.ok(p)
	// A server that gives no new refresh token: the old one stays.
	o.Set(func(s *devenv.OAuthSettings) { s.Rotate = false })
	for range 3 {
		env.ok(p)
	}
}

// A connection that is kept between passes does not keep a token from being
// renewed.
func TestFailure03_KeptConnection(t *testing.T) {
	env, o, _, p, v := oauthEnv(t)
	env.runner.keep = true
	t.Cleanup(env.runner.sessions.Close)
	ref := db.Ref{Tenant: p.Tenant, ID: p.ID}
	for n, end := range []time.Duration{time.Hour, oauth.Early - time.Second, time.Hour} {
		env.ok(p)
		v.tokens.Expiry = time.Now().Add(end)
		must(t, env.store.PutTokens(t.Context(), ref, db.Fence{}, db.TokenTimes{Expiry: v.tokens.Expiry, RefreshedAt: time.Now()}))
		if got, want := o.Asked("refresh_token"), []int{1, 1, 2}[n]; got != want {
			t.Errorf("pass %d: asked for %d tokens, want %d", n, got, want)
		}
	}
}

// Row 10: only what certainly speaks of the credentials counts.
func TestFailure10_TokensAreRefused(t *testing.T) {
	env, o, _, p, v := oauthEnv(t)
	reload := func() {
		var err error
		p, err = env.store.Provider(t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID})
		must(t, err)
	}
	fails := func(class fault.Class, code string) *Result {
		t.Helper()
		_, results := env.run(p)
		if gotClass, gotCode := Classify(results[0].Err); results[0].Err == nil || gotClass != class || gotCode != code {
			t.Fatalf("%v: %s %s, want %s %s", results[0].Err, gotClass, gotCode, class, code)
		}
		for _, text := range append(o.Issued(), o.ClientSecret) {
			if strings.Contains(results[0].Err.Error(), text) {
				t.Fatalf("%v shows a secret", results[0].Err)
			}
		}
		reload()
		return &results[0]
	}
	for status, code := range map[int]string{429: "token_throttled", 500: "token_unavailable", 503: "token_unavailable"} {
		o.Set(func(s *devenv.OAuthSettings) { s.Status, s.RetryAfter = status, "7200" })
		for range 4 {
			fails(fault.Transient, code)
		}
		if wait := time.Until(*p.NextAttemptAt); wait < 119*time.Minute {
			t.Errorf("after Retry-After: 7200 the next attempt is in %s", wait)
		}
	}
	if p.AuthFailures != 0 || p.PausedAt != nil {
		t.Fatalf("a server that is away counted as %d refusals", p.AuthFailures)
	}
	o.Set(func(s *devenv.OAuthSettings) { s.Status = 0 })
	env.ok(p)

	// An access token that is not good any more is renewed within the pass.
	o.Revoke("u", true)
	asked := o.Asked("refresh_token")
	env.ok(p)
	if n := o.Asked("refresh_token") - asked; n != 1 {
		t.Errorf("a refused token was renewed %d times, want once", n)
	}
	// While the server is away, what still lives is used.
	v.tokens.Expiry = time.Now().Add(oauth.Early / 2)
	o.Set(func(s *devenv.OAuthSettings) { s.Status = 500 })
	env.ok(p)
	// The mail server refuses even a fresh token: no second try.
	o.Set(func(s *devenv.OAuthSettings) { s.Status, s.BadAccess = 0, true })
	v.tokens.Access = secret.Value{}
	asked = o.Asked("refresh_token")
	if res := fails(fault.Auth, "authenticationfailed"); !strings.Contains(res.Err.Error(), "the server says of the token") {
		t.Errorf("%v does not say why", res.Err)
	}
	if n := o.Asked("refresh_token") - asked; n != 1 {
		t.Errorf("asked for %d tokens, want 1", n)
	}
	o.Set(func(s *devenv.OAuthSettings) { s.BadAccess = false })
	v.tokens.Access = secret.Value{}
	reload()
	env.ok(p)
	reload()

	o.Revoke("u", false)
	v.tokens.Access = secret.Value{}
	for n := 1; n <= 3; n++ {
		fails(fault.Auth, "invalid_grant")
		if p.AuthFailures != n || (p.PausedAt != nil) != (n == 3) {
			t.Fatalf("after %d refusals: %d counted, paused at %v", n, p.AuthFailures, p.PausedAt)
		}
	}
	if p.PauseReason != db.PauseAuthFailure {
		t.Errorf("paused for %q", p.PauseReason)
	}
}

// Without SASL-IR the token goes only when the server asks for it (RFC 4959).
func TestTokenWithoutInitialResponse(t *testing.T) {
	o := devenv.TestOAuth(t)
	d := devenv.TestDovecot(t, devenv.DovecotOAuth(o), devenv.DovecotConfig("imap_capability = IMAP4rev1 ID"))
	must(t, d.AddUser("u", "unused"))
	p := &db.Provider{Settings: db.Settings{Host: d.Host, Port: d.PlainPort, TLS: db.TLSNone, Username: "u", AuthType: db.AuthOAuth2, OAuthPreset: db.PresetCustom}}
	client, err := oauth.New(oauth.Settings{Preset: "custom", Flow: oauth.ClientCredentials, ClientID: o.ClientID,
		ClientSecret: secret.New(o.ClientSecret), TokenURL: o.URL + "/token"})
	must(t, err)
	connect := func() (*imapsession.Session, error) {
		return Connect(t.Context(), &imapsession.Dialer{}, AccountOf(p), Credential{Tokens: client.NewSource((&vault{}).keep())})
	}
	o.Set(func(s *devenv.OAuthSettings) { s.User = "u" })
	s, err := connect()
	must(t, err)
	defer s.Close()
	if caps := s.Capabilities(); slices.Contains(caps, "SASL-IR") {
		t.Fatalf("the server offers SASL-IR: %v", caps)
	}
	// Another's token.
	o.Set(func(s *devenv.OAuthSettings) { s.User = "eve" })
	if _, err := connect(); err == nil {
		t.Fatal("eve's token opened u's mailbox")
	} else if class, code := Classify(err); class != fault.Auth || !strings.Contains(err.Error(), "login refused: NO") {
		t.Errorf("%v: %s %s, want the server's NO", err, class, code)
	}
}

func TestWhoseMailboxATokenOpens(t *testing.T) {
	p := &db.Provider{Settings: db.Settings{Mailbox: "shared@example.com", Username: "ann@example.com", AuthType: db.AuthOAuth2, OAuthPreset: db.PresetMicrosoft}}
	if got := username(p); got != p.Mailbox {
		t.Errorf("Microsoft: %s, want the shared mailbox", got)
	}
	p.OAuthPreset = db.PresetGoogle
	if got := username(p); got != p.Username {
		t.Errorf("Google: %s, want the account that signed in", got)
	}
}
