package oauth

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"imapsync/secret"
)

func jwtOf(claims string) secret.Value {
	return secret.New("eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln")
}

func TestDecode(t *testing.T) {
	got, ok := Decode(jwtOf(`{"aud":"https://outlook.office.com","scp":"IMAP.AccessAsUser.All User.Read","upn":"ann@example.com",
		"tid":"t-1","appid":"a-1","exp":1795500000}`))
	want := Claims{Audience: []string{"https://outlook.office.com"}, Scopes: []string{"IMAP.AccessAsUser.All", "User.Read"},
		User: "ann@example.com", Tenant: "t-1", App: "a-1", Expiry: time.Unix(1795500000, 0).UTC()}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); !ok || diff != "" {
		t.Errorf("ok %v (-want +got):\n%s", ok, diff)
	}
	if want := "aud https://outlook.office.com, scp IMAP.AccessAsUser.All User.Read, upn ann@example.com, tid t-1, app a-1, exp "; !strings.HasPrefix(got.String(), want) {
		t.Errorf("String: %s", got)
	}
	got, ok = Decode(jwtOf(`{"aud":["a","b"],"roles":["IMAP.AccessAsApp"],"exp":"soon","preferred_username":7}`))
	if diff := cmp.Diff(Claims{Audience: []string{"a", "b"}, Roles: []string{"IMAP.AccessAsApp"}}, got, cmpopts.EquateEmpty()); !ok || diff != "" {
		t.Errorf("ok %v (-want +got):\n%s", ok, diff)
	}
	for _, token := range []string{"", "ya29.opaque", "a.b.c", "a.!!.c", "a.bnVsbA", "a." + base64.RawURLEncoding.EncodeToString([]byte("[1]")) + ".c"} {
		if c, ok := Decode(secret.New(token)); ok {
			t.Errorf("%q was read: %+v", token, c)
		}
	}
	for _, exp := range []string{"1e400", "-1", "99999999999999999999", "{}"} {
		if c, ok := Decode(jwtOf(`{"exp":` + exp + `}`)); !ok || !c.Expiry.IsZero() {
			t.Errorf("exp %s: %v, %v", exp, c.Expiry, ok)
		}
	}
}

func TestClaimsProblem(t *testing.T) {
	now := time.Unix(1795000000, 0)
	good := Claims{Audience: []string{"https://outlook.office.com"}, Scopes: []string{"IMAP.AccessAsUser.All"}, User: "ann@example.com", Expiry: now.Add(time.Hour)}
	for _, tt := range []struct {
		name         string
		change       func(*Claims)
		reason, what string
	}{
		{"good", func(*Claims) {}, "", ""},
		{"as app", func(c *Claims) { c.Scopes, c.User, c.Roles = nil, "", []string{"IMAP.AccessAsApp"} }, "", ""},
		{"by the id of Exchange", func(c *Claims) { c.Audience = []string{"00000002-0000-0FF1-CE00-000000000000"} }, "", ""},
		{"ended", func(c *Claims) { c.Expiry = now }, "clock", "it has ended"},
		{"for Graph", func(c *Claims) { c.Audience = []string{"https://graph.microsoft.com"} }, "audience", `it is for "https://graph.microsoft.com"`},
		{"no permission", func(c *Claims) { c.Scopes = []string{"User.Read"} }, "scope", "IMAP.AccessAsUser.All"},
		{"app without permission", func(c *Claims) { c.Scopes, c.Roles = nil, []string{"Mail.Read"} }, "app_role", "may not read mail"},
		{"somebody else", func(c *Claims) { c.User = "bob@example.com" }, "user", "bob@example.com has signed in"},
	} {
		c := good
		tt.change(&c)
		reason, what := c.Problem("microsoft", "Ann@Example.com", now)
		if reason != tt.reason || (what == "") != (tt.what == "") || !strings.Contains(what, tt.what) {
			t.Errorf("%s: %q, %q; want %q, %q", tt.name, reason, what, tt.reason, tt.what)
		}
	}
	if _, what := (Claims{}).Problem("custom", "ann", now); what != "" {
		t.Errorf("another preset: %q", what)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(jwtOf(`{"aud":"a","exp":1}`).Reveal())
	f.Fuzz(func(_ *testing.T, token string) {
		c, _ := Decode(secret.New(token))
		_, _ = c.Problem("microsoft", "u", time.Unix(1, 0))
		_ = c.String()
	})
}
