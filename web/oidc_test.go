package web

import (
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imapsync/internal/devenv"
)

// withOIDC has a page whose people sign in at an OpenID provider.
func withOIDC(t *testing.T, at *devenv.OAuth, change func(*OIDCOptions)) *served {
	t.Helper()
	return serve(t, func(g *gate) {
		options := OIDCOptions{
			Issuer: at.URL, ClientID: at.ClientID, ClientSecretFile: fileOf(t, at.ClientSecret),
			Allow: []string{"ann@example.com", "@harbour.example", "sub:4711"},
		}
		if change != nil {
			change(&options)
		}
		var err error
		if g.oidc, err = newOIDC(t.Context(), options, g.site); err != nil {
			t.Fatal(err)
		}
	})
}

func fileOf(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// openIDProvider is one at which a user signs in at once.
func openIDProvider(t *testing.T) *devenv.OAuth {
	t.Helper()
	p := devenv.TestOAuth(t)
	says(p, nil)
	return p
}

func says(p *devenv.OAuth, claims map[string]any) {
	p.Set(func(s *devenv.OAuthSettings) {
		s.User = "4712"
		s.ID = devenv.IDSettings{Claims: map[string]any{"email": "ann@example.com", "email_verified": true}}
		maps.Copy(s.ID.Claims, claims)
	})
}

// away goes to the provider and returns where that one sends the browser back to.
func (s *served) away(p *devenv.OAuth, path string) string {
	s.t.Helper()
	a := s.get(path)
	s.want(path, a, http.StatusSeeOther)
	back, err := p.SignIn(s.t.Context(), a.Header.Get("Location"))
	if err != nil {
		s.t.Fatal(err)
	}
	return back
}

func TestOIDC(t *testing.T) {
	p := openIDProvider(t)
	s := withOIDC(t, p, nil)
	s.want("sign-in page", s.get("/signin?next=/providers/1%3Fa=b"), http.StatusOK,
		`href="/signin/oidc?next=%2fproviders%2f1%3fa%3db"`, "Sign in with "+strings.TrimPrefix(p.URL, "http://"))
	a := s.get("/signin/oidc?next=/providers/1")
	to, err := url.Parse(a.Header.Get("Location"))
	if err != nil {
		t.Fatal(err)
	}
	q := to.Query()
	if q.Get("code_challenge_method") != "S256" || len(q.Get("state")) != 43 || len(q.Get("nonce")) != 43 || q.Get("scope") != "openid email" ||
		q.Get("state") == q.Get("nonce") || q.Get("redirect_uri") != s.url+"/oidc/callback" {
		t.Errorf("asked for %s", to)
	}
	flow := s.cookie(a, "imapsync_signin")
	if !flow.HttpOnly || flow.SameSite != http.SameSiteLaxMode || flow.MaxAge != 600 {
		t.Errorf("%+v", flow)
	}
	back, err := p.SignIn(t.Context(), to.String())
	if err != nil {
		t.Fatal(err)
	}
	a = s.get(back, "Sec-Fetch-Site", "cross-site")
	s.want("callback", a, http.StatusOK, `http-equiv="refresh" content="0; url=/providers/1"`, `href="/providers/1">Go on`)
	session := s.cookie(a, "imapsync_session")
	if session.SameSite != http.SameSiteStrictMode || s.cookie(a, "imapsync_signin").MaxAge >= 0 {
		t.Errorf("cookies %q", a.Header["Set-Cookie"])
	}
	s.want("inside", s.get("/providers/1"), http.StatusOK, `in=true name="ann@example.com" tenant=""`)
	s.want("the answer again", s.get(back), http.StatusUnauthorized, "did not begin a sign-in")
	s.noSecrets(append(p.Issued(), session.Value, flow.Value, p.ClientSecret, q.Get("state"), q.Get("nonce"))...)
}

func TestOIDCWho(t *testing.T) {
	p := openIDProvider(t)
	for _, tt := range []struct {
		name   string
		claims map[string]any
		change func(*OIDCOptions)
		told   string // "" comes in
		as     string
	}{
		{"by domain", map[string]any{"email": "Bob@Harbour.Example", "email_verified": "true"}, nil, "", `name="bob@harbour.example" tenant=""`},
		{"by subject", map[string]any{"sub": "4711", "email": "x@evil.example", "email_verified": false}, nil, "", `name="sub:4711" tenant=""`},
		{"another", map[string]any{"email": "eve@evil.example"}, nil, "eve@evil.example (sub:4712) may not sign in", ""},
		{"a domain below", map[string]any{"email": "eve@x.harbour.example"}, nil, "may not sign in", ""},
		{"a domain that ends alike", map[string]any{"email": "eve@evilharbour.example"}, nil, "may not sign in", ""},
		{"two at signs", map[string]any{"email": "eve@evil.example@harbour.example"}, nil, "may not sign in", ""},
		{"a look-alike", map[string]any{"email": "ann@example.com\u200b"}, nil, "may not sign in", ""},
		{"not verified", map[string]any{"email_verified": false}, nil, "email_verified", ""},
		{"verified by nobody", map[string]any{"email_verified": nil}, nil, "name the user as sub:4712", ""},
		{"no address", map[string]any{"email": nil}, nil, "no address (sub:4712) may not sign in", ""},
		{"an address that is none", map[string]any{"email": map[string]any{"a": 1}}, nil, "may not sign in", ""},
		{"tenant", map[string]any{"desk": "6F9619FF-8B86-4011-B42D-00CF4FC964FF"}, func(o *OIDCOptions) { o.TenantClaim = "desk" }, "", `name="ann@example.com" tenant="6f9619ff-8b86-4011-b42d-00cf4fc964ff"`},
		{"tenant not given", nil, func(o *OIDCOptions) { o.TenantClaim = "desk" }, "no UUID in the claim &#34;desk&#34;", ""},
		{"tenant by name", map[string]any{"desk": "harbour"}, func(o *OIDCOptions) { o.TenantClaim = "desk" }, "no UUID", ""},
		{"tenant empty", map[string]any{"desk": ""}, func(o *OIDCOptions) { o.TenantClaim = "desk" }, "no tenant", ""},
		{"many tenants", map[string]any{"desk": []string{"t-1", "t-2"}}, func(o *OIDCOptions) { o.TenantClaim = "desk" }, "no tenant", ""},
		{"wrong nonce", map[string]any{"nonce": "of-another-sign-in"}, nil, "(nonce)", ""},
		{"no nonce", map[string]any{"nonce": ""}, nil, "(nonce)", ""},
		{"for another client", map[string]any{"aud": "another"}, nil, "is not valid", ""},
		{"from another issuer", map[string]any{"iss": "https://evil.example"}, nil, "is not valid", ""},
		{"old", map[string]any{"exp": time.Now().Add(-time.Hour).Unix()}, nil, "is not valid", ""},
		{"wrong client secret", nil, func(o *OIDCOptions) { o.ClientSecretFile = fileOf(t, "wrong-client-secret") }, "did not give a token", ""},
		{"public client", nil, func(o *OIDCOptions) { o.ClientSecretFile = "" }, "", `name="ann@example.com"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			says(p, tt.claims)
			s := withOIDC(t, p, tt.change)
			a := s.get(s.away(p, "/signin/oidc"))
			if tt.told != "" {
				s.want("callback", a, http.StatusUnauthorized, tt.told, `role="alert"`)
				s.want("outside", s.get("/"), http.StatusSeeOther)
				if text := s.log.String(); !strings.Contains(text, `"msg":"signin_refused"`) || strings.Contains(text, "wrong-client-secret") {
					t.Errorf("log:\n%s", text)
				}
				return
			}
			s.want("callback", a, http.StatusOK)
			s.want("inside", s.get("/"), http.StatusOK, tt.as)
		})
	}
}

func TestOIDCProviderFails(t *testing.T) {
	p := openIDProvider(t)
	for _, tt := range []struct {
		name   string
		change func(*devenv.OAuthSettings)
		told   string
	}{
		{"the user says no", func(s *devenv.OAuthSettings) { s.User = "" }, "said: access_denied"},
		{"forged", func(s *devenv.OAuthSettings) { s.ID.Forged = true }, "is not valid"},
		{"no ID token", func(s *devenv.OAuthSettings) { s.ID.Without = true }, "gave no id_token"},
		{"error", func(s *devenv.OAuthSettings) { s.Status = http.StatusInternalServerError }, "did not give a token"},
	} {
		says(p, nil)
		p.Set(tt.change)
		s := withOIDC(t, p, nil)
		s.want(tt.name, s.get(s.away(p, "/signin/oidc")), http.StatusUnauthorized, tt.told)
		s.want(tt.name, s.get("/"), http.StatusSeeOther)
		for _, one := range append(p.Issued(), p.ClientSecret) {
			if strings.Contains(s.log.String(), one) {
				t.Errorf("%s: %q is in the log:\n%s", tt.name, one, s.log)
			}
		}
	}
}

// The answer of the provider counts in the browser that asked, once, in time.
func TestOIDCState(t *testing.T) {
	p := openIDProvider(t)
	s := withOIDC(t, p, nil)
	back := s.away(p, "/signin/oidc")
	changed, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	q := changed.Query()
	for _, state := range []string{"", "x", randomToken()} {
		q.Set("state", state)
		changed.RawQuery = q.Encode()
		s.want("state "+state, s.get(changed.String()), http.StatusUnauthorized, "(state)")
	}
	mine := s.browser
	s.browser = s.newBrowser() // the victim of one who sends a link to his own sign-in
	s.want("another browser", s.get(back), http.StatusUnauthorized, "did not begin a sign-in")
	s.away(p, "/signin/oidc")
	s.want("another sign-in", s.get(back), http.StatusUnauthorized, "(state)")
	if n := p.Asked("authorization_code"); n != 0 {
		t.Errorf("%d codes were tried", n)
	}
	s.browser = mine
	s.want("the one who asked", s.get(back), http.StatusOK)

	o := s.gate.oidc
	now := time.Now()
	cookie, _ := o.begin("/x", now)
	state := o.derive("state", cookie)
	if next, err := o.check(cookie, state, now.Add(flowLasts-2*time.Second)); err != nil || next != "/x" {
		t.Errorf("in time: %q, %v", next, err)
	}
	if _, err := o.check(cookie, state, now.Add(flowLasts)); err == nil {
		t.Error("too late, and taken")
	}
}

// Whoever has the page open under another of its names is sent to the one that
// the provider comes back to.
func TestOIDCName(t *testing.T) {
	p := openIDProvider(t)
	s := withOIDC(t, p, nil)
	a := s.get("/signin/oidc?next=/x", "Host", strings.Replace(strings.TrimPrefix(s.url, "http://"), "127.0.0.1", "localhost", 1))
	if at := a.Header.Get("Location"); at != s.url+"/signin/oidc?again=1&next=%2Fx" || len(a.Cookies()) != 0 {
		t.Errorf("leads to %q", at)
	}
	s.want("there", s.get(s.away(p, a.Header.Get("Location"))), http.StatusOK, "url=/x")
}

func TestOIDCRefuses(t *testing.T) {
	p := devenv.TestOAuth(t)
	good := OIDCOptions{Issuer: p.URL, ClientID: "c", RedirectURL: "https://mail.example.com/oidc/callback", Allow: []string{"ann@example.com"}}
	if _, err := newOIDC(t.Context(), good, origin{URL: &url.URL{}}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name   string
		change func(*OIDCOptions)
		want   string
	}{
		{"no TLS", func(o *OIDCOptions) { o.Issuer = "http://login.example.com" }, "--oidc-issuer"},
		{"no URL", func(o *OIDCOptions) { o.Issuer = "login.example.com" }, "--oidc-issuer"},
		{"no issuer there", func(o *OIDCOptions) { o.Issuer += "/none" }, "404"},
		{"nobody there", func(o *OIDCOptions) { o.Issuer = "http://127.0.0.1:1" }, "connection refused"},
		{"another issuer", func(o *OIDCOptions) { o.Issuer += "/" }, "did not match"},
		{"no client", func(o *OIDCOptions) { o.ClientID = "" }, "--oidc-client-id"},
		{"nobody", func(o *OIDCOptions) { o.Allow = []string{" "} }, "--oidc-allow: missing"},
		{"everybody", func(o *OIDCOptions) { o.Allow = []string{"*"} }, "--oidc-allow"},
		{"every subject", func(o *OIDCOptions) { o.Allow = []string{"sub:"} }, "--oidc-allow"},
		{"no domain", func(o *OIDCOptions) { o.Allow = []string{"ann@"} }, "--oidc-allow"},
		{"another path", func(o *OIDCOptions) { o.RedirectURL = "https://mail.example.com/" }, "/oidc/callback"},
		{"back without TLS", func(o *OIDCOptions) { o.RedirectURL = "http://mail.example.com/oidc/callback" }, "https://"},
	} {
		o := good
		tt.change(&o)
		if _, err := newOIDC(t.Context(), o, origin{URL: &url.URL{}}); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}
