package oauth_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"imapsync/internal/devenv"
	"imapsync/internal/fault"
	"imapsync/oauth"
	"imapsync/secret"
)

func settings(o *devenv.OAuth, flow oauth.Flow) oauth.Settings {
	return oauth.Settings{
		Preset: "custom", Flow: flow, ClientID: o.ClientID, ClientSecret: secret.New(o.ClientSecret), Scopes: "imap offline_access",
		AuthorizeURL: o.URL + "/authorize", TokenURL: o.URL + "/token", DeviceURL: o.URL + "/device",
		ServiceAccount: secret.New(string(o.AccountKey)), Subject: "u@example.com",
	}
}

func newClient(t *testing.T, s oauth.Settings) *oauth.Client {
	t.Helper()
	c, err := oauth.New(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// refusedAs insists on the class and the code of an error that shows no secret.
func refusedAs(t *testing.T, o *devenv.OAuth, err error, class fault.Class, code string) {
	t.Helper()
	e, ok := errors.AsType[*oauth.Error](err)
	if !ok || e.Class != class || e.Code != code {
		t.Fatalf("%#v %v: want class %s, code %s", e, err, class, code)
	}
	for _, text := range append(o.Issued(), o.ClientSecret) {
		if strings.Contains(err.Error(), text) {
			t.Fatalf("%v shows the secret %s", err, text)
		}
	}
}

func get(t *testing.T, address string, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != status {
		t.Fatalf("%s, want %d", res.Status, status)
	}
}

func TestSignInByCode(t *testing.T) {
	o := devenv.TestOAuth(t)
	o.Set(func(s *devenv.OAuthSettings) { s.User = "u@example.com" })
	c := newClient(t, settings(o, oauth.Code))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	login := c.Begin("http://" + ln.Addr().String())
	u, err := url.Parse(login.URL)
	if err != nil || u.Query().Get("login_hint") != "u@example.com" || u.Query().Get("code_challenge_method") != "S256" {
		t.Fatalf("the address lacks something: %s", login.URL)
	}
	back, err := o.SignIn(t.Context(), login.URL)
	if err != nil {
		t.Fatal(err)
	}
	answers := make(chan string, 1)
	go func() {
		answer, err := login.Wait(t.Context(), ln)
		if err != nil {
			t.Error(err)
		}
		answers <- answer
	}()
	// Another page of the same browser does not end the wait.
	get(t, "http://"+ln.Addr().String()+"/?state=guessed&code=evil", 400)
	get(t, back, 200)
	answer := <-answers
	forged := strings.Replace(answer, "state=", "state=x", 1)
	if _, err := login.Finish(t.Context(), forged); err == nil {
		t.Fatal("an answer with another state was taken")
	} else {
		refusedAs(t, o, err, fault.Config, "state")
	}
	tokens, err := login.Finish(t.Context(), answer)
	if err != nil || tokens.Access.IsZero() || tokens.Refresh.IsZero() {
		t.Fatalf("%v: no tokens", err)
	}
	_, err = login.Finish(t.Context(), answer)
	refusedAs(t, o, err, fault.Auth, "invalid_grant")

	next, err := c.Refresh(t.Context(), tokens.Refresh)
	if err != nil || next.Refresh.Equal(tokens.Refresh) || next.Access.Equal(tokens.Access) {
		t.Fatalf("refresh: %v", err)
	}
	_, err = c.Refresh(t.Context(), tokens.Refresh)
	refusedAs(t, o, err, fault.Auth, "invalid_grant")
	o.Set(func(s *devenv.OAuthSettings) { s.Rotate = false })
	same, err := c.Refresh(t.Context(), next.Refresh)
	if err != nil || !same.Refresh.Equal(next.Refresh) {
		t.Fatalf("a server that gives no new refresh token: the old one must stay: %v", err)
	}
}

func TestSignInIsRefused(t *testing.T) {
	o := devenv.TestOAuth(t)
	c := newClient(t, settings(o, oauth.Code))
	login := c.Begin("http://127.0.0.1:1")
	back, err := o.SignIn(t.Context(), login.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, err = login.Finish(t.Context(), back)
	refusedAs(t, o, err, fault.Config, "consent")
	for _, answer := range []string{"", "two words", "http://127.0.0.1:1/?x=y", "http://127.0.0.1:1/?code=c"} {
		if _, err := login.Finish(t.Context(), answer); err == nil {
			t.Errorf("%q was taken for an answer", answer)
		}
	}
	// A code without its verifier is worth nothing.
	o.Set(func(s *devenv.OAuthSettings) { s.User = "u" })
	if back, err = o.SignIn(t.Context(), login.URL); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(back)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Begin("http://127.0.0.1:1").Finish(t.Context(), u.Query().Get("code"))
	refusedAs(t, o, err, fault.Auth, "invalid_grant")
}

func TestSignInByDevice(t *testing.T) {
	o := devenv.TestOAuth(t)
	s := settings(o, oauth.Device)
	s.ClientSecret = secret.Value{} // a public client, as at Microsoft
	c := newClient(t, s)
	d, err := c.BeginDevice(t.Context())
	if err != nil || d.UserCode == "" || d.URL == "" {
		t.Fatalf("%+v, %v", d, err)
	}
	o.Set(func(s *devenv.OAuthSettings) { s.User = "u" })
	go func() { // once it was asked in vain
		for o.Asked("urn:ietf:params:oauth:grant-type:device_code") == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		o.TypeDeviceCodes()
	}()
	tokens, err := d.Wait(t.Context())
	if err != nil || tokens.Refresh.IsZero() {
		t.Fatalf("device: %v", err)
	}
	if n := o.Asked("urn:ietf:params:oauth:grant-type:device_code"); n < 2 {
		t.Errorf("asked %d times, want patience", n)
	}
	if d, err = c.BeginDevice(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.Set(func(s *devenv.OAuthSettings) { s.User = "" })
	o.TypeDeviceCodes()
	_, err = d.Wait(t.Context())
	refusedAs(t, o, err, fault.Config, "consent")
}

func TestFlowsWithoutAPerson(t *testing.T) {
	for _, flow := range []oauth.Flow{oauth.ClientCredentials, oauth.ServiceAccount} {
		t.Run(string(flow), func(t *testing.T) {
			o := devenv.TestOAuth(t)
			o.Set(func(s *devenv.OAuthSettings) { s.User = "u" })
			tokens, err := newClient(t, settings(o, flow)).Fetch(t.Context())
			if err != nil || tokens.Access.IsZero() || !tokens.Refresh.IsZero() || time.Until(tokens.Expiry) < 59*time.Minute {
				t.Fatalf("%v: %v", tokens.Expiry, err)
			}
		})
	}
	o, other := devenv.TestOAuth(t), devenv.TestOAuth(t)
	s := settings(o, oauth.ServiceAccount)
	s.ServiceAccount = secret.New(string(other.AccountKey))
	_, err := newClient(t, s).Fetch(t.Context())
	refusedAs(t, o, err, fault.Auth, "invalid_grant")
	s = settings(o, oauth.ClientCredentials)
	s.ClientSecret = secret.New("another, which must not be shown")
	_, err = newClient(t, s).Fetch(t.Context())
	refusedAs(t, o, err, fault.Auth, "invalid_client")
	if strings.Contains(err.Error(), "must not be shown") {
		t.Errorf("%v shows the client secret", err)
	}
}

func TestServerThatIsAway(t *testing.T) {
	o := devenv.TestOAuth(t)
	c := newClient(t, settings(o, oauth.Code))
	refresh := secret.New(o.Grant("u"))
	for status, want := range map[int]struct {
		class fault.Class
		code  string
	}{
		429: {fault.Transient, "token_throttled"}, 500: {fault.Transient, "token_unavailable"}, 503: {fault.Transient, "token_unavailable"},
		302: {fault.Transient, "server_error"}, 400: {fault.Transient, "server_error"},
	} {
		o.Set(func(s *devenv.OAuthSettings) { s.Status, s.RetryAfter = status, "120" })
		_, err := c.Refresh(t.Context(), refresh)
		refusedAs(t, o, err, want.class, want.code)
		if e, _ := errors.AsType[*oauth.Error](err); e.RetryAfter != 2*time.Minute {
			t.Errorf("%d: Retry-After %s, want 2m", status, e.RetryAfter)
		}
	}
	o.Set(func(s *devenv.OAuthSettings) { s.Status, s.Delay = 0, time.Minute })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Refresh(ctx, refresh)
	refusedAs(t, o, err, fault.Transient, "timeout")
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = c.Refresh(t.Context(), refresh)
	refusedAs(t, o, err, fault.Transient, "token_endpoint")
}

// An asked token is waited for a little when the run ends, and stored: the old
// one may be dead by then.
func TestATokenOnItsWayIsStored(t *testing.T) {
	o := devenv.TestOAuth(t)
	o.Set(func(s *devenv.OAuthSettings) { s.Delay = 2 * time.Second })
	kept := oauth.Tokens{Refresh: secret.New(o.Grant("u"))}
	src := newClient(t, settings(o, oauth.Code)).NewSource(oauth.Keep{
		Load: func(context.Context) (oauth.Tokens, error) { return kept, nil },
		Save: func(ctx context.Context, t oauth.Tokens) error {
			kept = t
			return ctx.Err()
		},
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := src.Token(ctx); err != nil || kept.Access.IsZero() {
		t.Fatalf("the answer that came after the end is lost: %v", err)
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	o := devenv.TestOAuth(t)
	for want, change := range map[string]func(s *oauth.Settings){
		"client id":         func(s *oauth.Settings) { s.ClientID = "" },
		"https only":        func(s *oauth.Settings) { s.TokenURL = "http://login.example.com/token" },
		"authorize URL":     func(s *oauth.Settings) { s.AuthorizeURL = "" },
		"holds a user":      func(s *oauth.Settings) { s.TokenURL = "https://a:b@example.com/" },
		"preset":            func(s *oauth.Settings) { s.Preset = "yahoo" },
		"flow":              func(s *oauth.Settings) { s.Flow = "password" },
		"key is missing":    func(s *oauth.Settings) { s.Flow, s.ServiceAccount = oauth.ServiceAccount, secret.Value{} },
		"not the JSON key":  func(s *oauth.Settings) { s.Flow, s.ServiceAccount = oauth.ServiceAccount, secret.New("hunter2") },
		`"service_account"`: func(s *oauth.Settings) { s.Flow, s.ServiceAccount = oauth.ServiceAccount, secret.New("{}") },
		"is not in PEM form": func(s *oauth.Settings) {
			s.Flow, s.ServiceAccount = oauth.ServiceAccount, secret.New(`{"type":"service_account","client_email":"a","private_key":"hunter2"}`)
		},
	} {
		s := settings(o, oauth.Code)
		change(&s)
		_, err := oauth.New(s)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v: want %q in it", err, want)
		}
	}
	for preset, flows := range map[string][]oauth.Flow{"google": {oauth.Code, oauth.ServiceAccount}, "microsoft": {oauth.Code, oauth.Device, oauth.ClientCredentials}} {
		for _, flow := range flows {
			if _, err := oauth.New(oauth.Settings{Preset: preset, Flow: flow, ClientID: "app", ServiceAccount: secret.New(string(o.AccountKey))}); err != nil {
				t.Errorf("%s by %s: %v", preset, flow, err)
			}
		}
	}
}
