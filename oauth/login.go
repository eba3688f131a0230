package oauth

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"imapsync/secret"
)

// Login is one attempt of a person to sign in by authorization code.
type Login struct {
	URL string // where the person goes

	client   *Client
	redirect string
	state    string
	verifier string
}

// Begin makes a login that ends at the redirect URL, with a state and a PKCE
// challenge of its own.
func (c *Client) Begin(redirect string) *Login {
	l := &Login{client: c, redirect: redirect, state: oauth2.GenerateVerifier(), verifier: oauth2.GenerateVerifier()}
	conf := c.conf
	conf.RedirectURL = redirect
	opts := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(l.verifier)}
	for name, value := range c.preset.authorize {
		opts = append(opts, oauth2.SetAuthURLParam(name, value))
	}
	if c.subject != "" {
		opts = append(opts, oauth2.SetAuthURLParam("login_hint", c.subject))
	}
	l.URL = conf.AuthCodeURL(l.state, opts...)
	return l
}

// Finish trades the answer for tokens: the URL the browser was sent back to, or
// the code in it. The state in a URL must be that of this login; a bare code is
// worth nothing without the PKCE verifier, which only this login has.
func (l *Login) Finish(ctx context.Context, answer string) (Tokens, error) {
	code, err := l.code(strings.TrimSpace(answer))
	if err != nil {
		return Tokens{}, err
	}
	conf := l.client.conf
	conf.RedirectURL = l.redirect
	tok, err := conf.Exchange(l.client.with(ctx), code, oauth2.VerifierOption(l.verifier))
	if err != nil {
		return Tokens{}, l.client.classify(err, secret.New(code), secret.New(l.verifier))
	}
	return l.client.granted(tok)
}

// granted are the tokens of a person's consent, a refresh token among them.
func (c *Client) granted(tok *oauth2.Token) (Tokens, error) {
	t, err := c.tokens(tok)
	if err == nil && t.Refresh.IsZero() {
		err = wrong("no_refresh_token", errors.New("the server gave no refresh token: the scopes must ask for offline access (offline_access)"))
	}
	return t, err
}

func (l *Login) code(answer string) (string, error) {
	if !strings.Contains(answer, "://") && !strings.Contains(answer, "code=") {
		if answer == "" || strings.ContainsAny(answer, " \t\r\n") {
			return "", wrong("answer", errors.New("that is neither the address the browser was sent to nor a code"))
		}
		return answer, nil
	}
	_, query, _ := strings.Cut(answer, "?")
	query, _, _ = strings.Cut(query, "#")
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", wrong("answer", errors.New("the address cannot be read: paste it whole"))
	}
	if subtle.ConstantTimeCompare([]byte(values.Get("state")), []byte(l.state)) != 1 {
		return "", wrong("state", errors.New("the address belongs to another attempt to sign in: begin anew"))
	}
	if code := values.Get("error"); code != "" {
		text := l.client.clean(code, nil)
		if d := l.client.clean(values.Get("error_description"), nil); d != "" {
			text += ": " + d
		}
		return "", wrong("consent", fmt.Errorf("the server did not let imapsync in: %s", text))
	}
	if values.Get("code") == "" {
		return "", wrong("answer", errors.New("the address holds no code: paste the one the browser was sent to"))
	}
	return values.Get("code"), nil
}

// Wait serves the redirect URL on ln until the browser comes back with the
// state of this login, and returns the address it came to. What others ask is
// answered with an error and otherwise not minded.
func (l *Login) Wait(ctx context.Context, ln net.Listener) (string, error) {
	came := make(chan string, 1)
	srv := &http.Server{
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 10 * time.Second, MaxHeaderBytes: 64 << 10,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Type", "text/plain; charset=utf-8")
			h.Set("Cache-Control", "no-store")
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("X-Content-Type-Options", "nosniff")
			if r.Method != http.MethodGet || subtle.ConstantTimeCompare([]byte(r.URL.Query().Get("state")), []byte(l.state)) != 1 {
				http.Error(w, "This address is for one login of imapsync, and not for this request.", http.StatusBadRequest)
				return
			}
			fmt.Fprintln(w, "imapsync has got the answer. Close this page and look at the terminal.")
			select {
			case came <- l.redirect + "?" + r.URL.RawQuery:
			default:
			}
		}),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx) // lets the page reach the browser
		_ = srv.Close()
	}()
	select {
	case <-ctx.Done():
		return "", context.Cause(ctx)
	case err := <-failed:
		return "", fmt.Errorf("wait for the browser: %w", err)
	case answer := <-came:
		return answer, nil
	}
}

// DeviceLogin is one attempt of a person to sign in on another device.
type DeviceLogin struct {
	URL      string // where the person goes
	UserCode string // what the person types there
	Expiry   time.Time

	client *Client
	device *oauth2.DeviceAuthResponse
}

// BeginDevice asks for a code that a person types on another device.
func (c *Client) BeginDevice(ctx context.Context) (*DeviceLogin, error) {
	da, err := c.conf.DeviceAuth(c.with(ctx))
	if err != nil {
		return nil, c.classify(err)
	}
	if da.DeviceCode == "" || da.UserCode == "" || da.VerificationURI == "" {
		return nil, wrong("device", errors.New("the server's answer to the device flow is not complete"))
	}
	return &DeviceLogin{URL: c.clean(da.VerificationURI, nil), UserCode: c.clean(da.UserCode, nil), Expiry: da.Expiry, client: c, device: da}, nil
}

// Wait asks the server, as often as it allows, until the person is done.
func (d *DeviceLogin) Wait(ctx context.Context) (Tokens, error) {
	c := d.client
	tok, err := c.conf.DeviceAccessToken(c.with(ctx), d.device)
	if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok && (re.ErrorCode == "access_denied" || re.ErrorCode == "authorization_declined" || re.ErrorCode == "expired_token") {
		return Tokens{}, wrong("consent", fmt.Errorf("the server did not let imapsync in: %s", re.ErrorCode))
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return Tokens{}, wrong("consent", errors.New("the code expired before anybody signed in: begin anew"))
	}
	if err != nil {
		return Tokens{}, c.classify(err, secret.New(d.device.DeviceCode))
	}
	return c.granted(tok)
}
