package devenv

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// OAuth is an authorization server: authorization code with PKCE, device code,
// client credentials, assertions of a service account, refresh, revocation, and
// introspection for a mail server. With the scope openid it is an OpenID provider
// too, see oidc.go. Whoever it is told to sign in consents at once. Its fields are read with each request and set through Set.
type OAuth struct {
	URL          string // http, on a loopback address
	ClientID     string
	ClientSecret string
	AccountKey   []byte // the service account's JSON key

	server  *http.Server
	account *rsa.PublicKey
	idKey   func() (*rsa.PrivateKey, error) // signs ID tokens

	mu       sync.Mutex
	settings OAuthSettings
	codes    map[string]*oauthGrant // authorization and device codes
	tokens   map[string]*oauthGrant // access and refresh tokens
	issued   []string
	asked    map[string]int
	log      []string
}

// OAuthSettings are how the server behaves.
type OAuthSettings struct {
	User       string        // who signs in at the authorize and the device page; "" refuses
	Lifetime   time.Duration // of access tokens
	Rotate     bool          // each refresh gives a new refresh token and ends the old one
	Status     int           // what the token endpoint answers instead, e.g. 429 or 500
	RetryAfter string        // the header that goes with Status
	Delay      time.Duration // before the token endpoint answers
	BadAccess  bool          // access tokens are given out that introspection does not know
	ID         IDSettings    // of ID tokens
}

// oauthGrant is what a code or a token stands for.
type oauthGrant struct {
	user      string
	refresh   bool // a refresh token
	family    string
	challenge string // of PKCE
	openID    bool   // an ID token was asked for
	nonce     string // by which its client knows it again
	redirect  string
	expires   time.Time
	pending   bool // a device code that nobody has typed yet
}

// StartOAuth starts an authorization server within this process.
func StartOAuth(ctx context.Context) (_ *OAuth, err error) {
	defer wrap(&err, "oauth")
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", loopback+":0")
	if err != nil {
		return nil, err
	}
	o := &OAuth{
		URL: "http://" + ln.Addr().String(), ClientID: "imapsync-test", ClientSecret: "client-" + rand.Text(),
		settings: OAuthSettings{Lifetime: time.Hour, Rotate: true},
		codes:    map[string]*oauthGrant{}, tokens: map[string]*oauthGrant{}, asked: map[string]int{},
	}
	o.idKey = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })
	if err := o.makeAccount(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /authorize", o.authorize)
	mux.HandleFunc("POST /token", o.token)
	mux.HandleFunc("POST /device", o.device)
	mux.HandleFunc("POST /introspect", o.introspect)
	mux.HandleFunc("GET /.well-known/openid-configuration", o.discovery)
	mux.HandleFunc("GET /jwks", o.jwks)
	o.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = o.server.Serve(ln) }() // until Close
	return o, nil
}

// TestOAuth starts an authorization server for one test.
func TestOAuth(t testing.TB) *OAuth {
	t.Helper()
	o, err := StartOAuth(t.Context())
	need(t, err)
	closeAfter(t, "oauth", o)
	return o
}

func (o *OAuth) makeAccount() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	o.account = &key.PublicKey
	o.AccountKey, err = json.Marshal(map[string]string{
		"type": "service_account", "client_email": "robot@project.example", "private_key_id": "key-1",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), "token_uri": o.URL + "/token",
	})
	return err
}

// Close ends the server.
func (o *OAuth) Close() error { return o.server.Close() }

// Log returns one line for each request of a token.
func (o *OAuth) Log() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.log, "\n")
}

// Set changes how the server behaves.
func (o *OAuth) Set(change func(s *OAuthSettings)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change(&o.settings)
}

// Asked returns how often the token endpoint was asked by a grant type, such as
// refresh_token.
func (o *OAuth) Asked(grant string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked[grant]
}

// Issued returns every code and token that was ever given out.
func (o *OAuth) Issued() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.issued)
}

// Grant gives out a refresh token of a user, as if that one had signed in.
func (o *OAuth) Grant(user string) (refresh string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	refresh = o.issue("refresh-")
	o.tokens[refresh] = &oauthGrant{user: user, refresh: true, family: refresh}
	return refresh
}

// Revoke ends all tokens of a user, or only the access tokens.
func (o *OAuth) Revoke(user string, accessOnly bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.tokens, func(_ string, g *oauthGrant) bool { return g.user == user && !(accessOnly && g.refresh) })
}

// TypeDeviceCodes has the user of the settings type every device code in.
func (o *OAuth) TypeDeviceCodes() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, g := range o.codes {
		if g.pending {
			g.pending, g.user = false, o.settings.User
		}
	}
}

// SignIn does what a person with a browser does: it opens the address, consents
// and returns the address that the browser is sent to.
func (o *OAuth) SignIn(ctx context.Context, address string) (string, error) {
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	res, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusFound {
		return "", fmt.Errorf("oauth: the authorize page answered %s", res.Status)
	}
	return res.Header.Get("Location"), nil
}

// issue makes a code or a token. The caller holds mu.
func (o *OAuth) issue(prefix string) string {
	text := prefix + rand.Text() + rand.Text()
	o.issued = append(o.issued, text)
	return text
}

func (o *OAuth) authorize(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	q := r.URL.Query()
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil || q.Get("client_id") != o.ClientID || q.Get("response_type") != "code" ||
		back.Hostname() != "127.0.0.1" && back.Hostname() != "localhost" {
		http.Error(w, "client or redirect address unknown", http.StatusBadRequest)
		return
	}
	answer := url.Values{"state": {q.Get("state")}}
	switch {
	case q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43:
		answer.Set("error", "invalid_request")
	case o.settings.User == "":
		answer.Set("error", "access_denied")
		answer.Set("error_description", "the user said no")
	default:
		code := o.issue("code-")
		o.codes[code] = &oauthGrant{user: o.settings.User, challenge: q.Get("code_challenge"), redirect: q.Get("redirect_uri"),
			openID: slices.Contains(strings.Fields(q.Get("scope")), "openid"), nonce: q.Get("nonce"), expires: time.Now().Add(time.Minute)}
		answer.Set("code", code)
	}
	back.RawQuery = answer.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound) //nolint:gosec // to this machine only, as checked above
}

func (o *OAuth) device(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if r.PostFormValue("client_id") != o.ClientID {
		refuse(w, http.StatusUnauthorized, "invalid_client", "")
		return
	}
	code := o.issue("device-")
	o.codes[code] = &oauthGrant{pending: true, expires: time.Now().Add(time.Minute)}
	answer(w, map[string]any{"device_code": code, "user_code": "ABCD-EFGH", "verification_uri": o.URL + "/activate", "expires_in": 60, "interval": 1})
}

func refuse(w http.ResponseWriter, status int, code, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": description}) // a client that went away
}

func answer(w http.ResponseWriter, fields map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(fields) // a client that went away
}

func (o *OAuth) token(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	grant := r.PostFormValue("grant_type")
	o.asked[grant]++
	s := o.settings
	o.mu.Unlock()
	if s.Delay > 0 {
		select {
		case <-time.After(s.Delay):
		case <-r.Context().Done():
			return
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if s.Status != 0 {
		if s.RetryAfter != "" {
			w.Header().Set("Retry-After", s.RetryAfter)
		}
		o.log = append(o.log, grant+": "+strconv.Itoa(s.Status))
		refuse(w, s.Status, "server_error", "injected; you sent "+r.PostForm.Encode()) // a server that echoes secrets
		return
	}
	g, code, description := o.judge(r, grant)
	o.log = append(o.log, strings.TrimSuffix(grant+": "+code, ": "))
	if g == nil {
		status := http.StatusBadRequest
		if code == "invalid_client" {
			status = http.StatusUnauthorized
		}
		refuse(w, status, code, description)
		return
	}
	o.give(w, g)
}

// give answers with the tokens of a grant. The caller holds mu.
func (o *OAuth) give(w http.ResponseWriter, g *oauthGrant) {
	access := o.issue("access-")
	if !o.settings.BadAccess {
		o.tokens[access] = &oauthGrant{user: g.user, family: g.family, expires: time.Now().Add(o.settings.Lifetime)}
	}
	fields := map[string]any{"access_token": access, "token_type": "Bearer", "expires_in": int(o.settings.Lifetime.Seconds())}
	if g.refresh && (g.family == "" || o.settings.Rotate) {
		next := o.issue("refresh-")
		o.tokens[next] = &oauthGrant{user: g.user, refresh: true, family: next}
		fields["refresh_token"] = next
	}
	if g.openID && !o.settings.ID.Without {
		id, err := o.idToken(g)
		if err != nil {
			refuse(w, http.StatusInternalServerError, "server_error", err.Error())
			return
		}
		o.issued = append(o.issued, id)
		fields["id_token"] = id
	}
	answer(w, fields)
}

// judge decides on a request of a token; a nil grant is a refusal. The caller
// holds mu.
func (o *OAuth) judge(r *http.Request, grant string) (g *oauthGrant, code, description string) {
	const jwtBearer, deviceCode = "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:device_code" //nolint:gosec // names of grants
	id, secret, inHeader := r.BasicAuth()
	if !inHeader {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	public := secret == "" && (grant == deviceCode || grant == "authorization_code" || grant == "refresh_token")
	if grant != jwtBearer && (id != o.ClientID || secret != o.ClientSecret && !public) {
		return nil, "invalid_client", "unknown client or wrong secret " + secret
	}
	switch grant {
	case "authorization_code":
		g := o.take(r.PostFormValue("code"))
		sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		if g == nil || g.redirect != r.PostFormValue("redirect_uri") || g.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) {
			return nil, "invalid_grant", "code, redirect address or verifier is wrong"
		}
		return &oauthGrant{user: g.user, refresh: true, openID: g.openID, nonce: g.nonce}, "", ""
	case deviceCode:
		name := r.PostFormValue("device_code")
		if g := o.codes[name]; g != nil && g.pending {
			return nil, "authorization_pending", ""
		}
		g := o.take(name)
		if g == nil {
			return nil, "expired_token", ""
		}
		if g.user == "" {
			return nil, "access_denied", ""
		}
		return &oauthGrant{user: g.user, refresh: true}, "", ""
	case "refresh_token":
		name := r.PostFormValue("refresh_token")
		g := o.tokens[name]
		if g == nil || !g.refresh {
			return nil, "invalid_grant", "the refresh token " + name + " was revoked or used before"
		}
		if r.PostFormValue("scope") == "" {
			return nil, "invalid_scope", "no scope"
		}
		if o.settings.Rotate {
			delete(o.tokens, name)
		}
		return g, "", ""
	case "client_credentials":
		return &oauthGrant{user: o.settings.User}, "", ""
	case jwtBearer:
		user, err := o.assertion(r.PostFormValue("assertion"))
		if err != nil {
			return nil, "invalid_grant", err.Error()
		}
		return &oauthGrant{user: user}, "", ""
	}
	return nil, "unsupported_grant_type", ""
}

// take uses a code up.
func (o *OAuth) take(code string) *oauthGrant {
	g := o.codes[code]
	delete(o.codes, code)
	if g == nil || g.expires.Before(time.Now()) {
		return nil
	}
	return g
}

// assertion checks what a service account signed and returns whose mailbox it
// asks for.
func (o *OAuth) assertion(text string) (user string, err error) {
	signed, sig, _ := cutLast(text, ".")
	raw, err := base64.RawURLEncoding.DecodeString(sig)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(signed))
	if err := rsa.VerifyPKCS1v15(o.account, crypto.SHA256, sum[:], raw); err != nil {
		return "", err
	}
	_, payload, _ := strings.Cut(signed, ".")
	body, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil {
		return "", err
	}
	var claims struct {
		Iss, Sub, Aud, Scope string
		Iat, Exp             int64
	}
	if err := json.Unmarshal(body, &claims); err != nil {
		return "", err
	}
	now := time.Now().Unix()
	if claims.Iss != "robot@project.example" || claims.Aud != o.URL+"/token" || claims.Iat > now || claims.Exp < now || claims.Exp-claims.Iat > 3600 {
		return "", fmt.Errorf("claims %+v", claims)
	}
	return claims.Sub, nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// introspect tells a mail server what a token is good for (RFC 7662).
func (o *OAuth) introspect(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	g := o.tokens[r.PostFormValue("token")]
	if g == nil || g.refresh || g.expires.Before(time.Now()) {
		answer(w, map[string]any{"active": false})
		return
	}
	answer(w, map[string]any{"active": true, "username": g.user, "scope": "imap", "exp": g.expires.Unix(), "client_id": o.ClientID})
}
