package web

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/uuid"
	"golang.org/x/oauth2"

	"imapsync/oauth"
	"imapsync/secret"
)

// OIDCOptions are a client's registration at an OpenID provider, and who of its
// users may sign in here.
type OIDCOptions struct {
	Issuer           string   // URL; its discovery document must name it so
	ClientID         string   //
	ClientSecretFile string   // empty: a public client, with PKCE alone
	RedirectURL      string   // ends in /oidc/callback; empty: that of this page
	TenantClaim      string   // the claim that holds a user's tenant; empty: all see all tenants
	Allow            []string // addresses, domains as in @example.com, or sub:SUBJECT
}

// openID signs people in at an OpenID provider: authorization code with PKCE,
// state and nonce (OpenID Connect Core 1.0 section 3.1).
type openID struct {
	name        string // the issuer's host
	config      oauth2.Config
	verifier    *oidc.IDTokenVerifier
	client      *http.Client
	back        *url.URL // the redirect address
	tenantClaim string
	allow       []string
	key         []byte // derives state, nonce and verifier from the cookie
}

const callbackPath = "/oidc/callback"

const issuerPatience = 10 * time.Second

// newOIDC checks the options and reads the provider's discovery document; nil
// when nothing of it was asked for. Each error is one of configuration and names
// the flag of `imapsync web` that mends it.
func newOIDC(ctx context.Context, o OIDCOptions, site origin) (*openID, error) {
	if o.Issuer == "" {
		if cmp.Or(o.ClientID, o.ClientSecretFile, o.RedirectURL, o.TenantClaim, strings.Join(o.Allow, "")) != "" {
			return nil, errors.New("--oidc-issuer: missing: the other --oidc flags go with it")
		}
		return nil, nil
	}
	var clientSecret secret.Value
	var err error
	if o.ClientSecretFile != "" {
		if clientSecret, err = secret.ReadFile(o.ClientSecretFile); err != nil {
			return nil, fmt.Errorf("--oidc-client-secret-file: %w", err)
		}
	}
	o.RedirectURL = cmp.Or(o.RedirectURL, site.URL.String()+callbackPath)
	issuer, err := url.Parse(o.Issuer)
	if err != nil || issuer.Host == "" || issuer.Scheme != "https" && (issuer.Scheme != "http" || !oauth.IsLoopback(issuer.Hostname())) {
		return nil, fmt.Errorf("--oidc-issuer %q: give its https:// URL", o.Issuer)
	}
	back, err := url.Parse(o.RedirectURL)
	if err != nil || back.Path != callbackPath || back.RawQuery != "" || back.Scheme != "https" && (back.Scheme != "http" || !oauth.IsLoopback(back.Hostname())) {
		return nil, fmt.Errorf("--oidc-redirect-url %q: give this page's own https:// URL with the path %s, as registered at the issuer", o.RedirectURL, callbackPath)
	}
	if o.ClientID == "" {
		return nil, errors.New("--oidc-client-id: missing: give the id that this page is registered with at " + o.Issuer)
	}
	allow, err := readAllow(o.Allow)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: issuerPatience}
	provider, err := oidc.NewProvider(oidc.ClientContext(ctx, client), o.Issuer)
	if err != nil {
		return nil, fmt.Errorf("--oidc-issuer %s: %s", o.Issuer, oneLine(err.Error()))
	}
	key := make([]byte, 32)
	rand.Read(key) // never fails
	return &openID{
		name: issuer.Host, client: client, back: back, tenantClaim: o.TenantClaim, allow: allow, key: key,
		config: oauth2.Config{
			ClientID: o.ClientID, ClientSecret: clientSecret.Reveal(), Endpoint: provider.Endpoint(),
			RedirectURL: o.RedirectURL, Scopes: []string{oidc.ScopeOpenID, "email"},
		},
		verifier: provider.Verifier(&oidc.Config{ClientID: o.ClientID}),
	}, nil
}

// readAllow brings who may sign in to one form: address, @domain or sub:SUBJECT.
func readAllow(list []string) ([]string, error) {
	var allow []string
	for _, entry := range list {
		entry = strings.TrimSpace(entry)
		subject := strings.HasPrefix(entry, "sub:")
		switch {
		case entry == "":
			continue
		case entry == "sub:", !subject && (strings.Count(entry, "@") > 1 || strings.HasSuffix(entry, "@") || strings.ContainsAny(entry, " *")):
			return nil, fmt.Errorf("--oidc-allow %q: give e-mail addresses, domains as in @example.com, or sub: and a subject", entry)
		case !subject && !strings.Contains(entry, "@"):
			entry = "@" + entry
		}
		if !subject {
			entry = lower(entry)
		}
		allow = append(allow, entry)
	}
	if len(allow) == 0 {
		return nil, errors.New("--oidc-allow: missing, and nobody may sign in: give e-mail addresses, or domains as in @example.com")
	}
	return allow, nil
}

// lower is for addresses: other letters than A to Z have look-alikes.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// refusal is why nobody was signed in: what the person is told, and what the log
// has beside it. Neither holds a code, a token or a secret.
type refusal struct {
	told string
	err  error // nil: nothing more to say
}

func (r *refusal) Error() string {
	if r.err == nil {
		return r.told
	}
	return r.told + ": " + oneLine(r.err.Error())
}

func (r *refusal) Unwrap() error { return r.err }

func refused(format string, args ...any) error { return &refusal{told: fmt.Sprintf(format, args...)} }

// flowLasts is how long a person has for signing in at the provider.
const flowLasts = 10 * time.Minute

// begin starts a sign-in. The cookie ties the answer to this browser: when it
// began, chance, and where to go afterwards. Nothing is kept here, so that
// nobody can fill the memory.
func (o *openID) begin(next string, now time.Time) (cookie, address string) {
	cookie = strconv.FormatInt(now.Unix(), 10) + "." + randomToken() + "." + base64.RawURLEncoding.EncodeToString([]byte(next))
	address = o.config.AuthCodeURL(o.derive("state", cookie), oidc.Nonce(o.derive("nonce", cookie)),
		oauth2.S256ChallengeOption(o.derive("verifier", cookie)))
	return cookie, address
}

// derive makes what only this process can make of a cookie: 43 characters, as
// PKCE wants them (RFC 7636 section 4.1).
func (o *openID) derive(what, cookie string) string {
	mac := hmac.New(sha256.New, o.key)
	mac.Write([]byte(what + "\x00" + cookie))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// finish judges what the provider sent a browser back with, once check has.
func (o *openID) finish(ctx context.Context, cookie string, answer url.Values) (p Principal, err error) {
	if code := answer.Get("error"); code != "" {
		return p, refused("%s said: %s", o.name, oneLine(code))
	}
	ctx = oidc.ClientContext(ctx, o.client)
	tokens, err := o.config.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(o.derive("verifier", cookie)))
	if err != nil {
		return p, &refusal{o.name + " did not give a token", tokenError(err)}
	}
	raw, ok := tokens.Extra("id_token").(string)
	if !ok {
		return p, refused("%s gave no id_token: is the scope openid allowed for this client?", o.name)
	}
	token, err := o.verifier.Verify(ctx, raw)
	if err != nil {
		return p, &refusal{"the token of " + o.name + " is not valid", err}
	}
	if !hmac.Equal([]byte(token.Nonce), []byte(o.derive("nonce", cookie))) {
		return p, refused("the token of %s belongs to another sign-in (nonce)", o.name)
	}
	return o.principal(token)
}

// check compares the state with the browser's cookie.
func (o *openID) check(cookie, state string, now time.Time) (next string, err error) {
	if cookie == "" {
		return "", refused("this browser did not begin a sign-in, or took longer than 10 minutes: begin again")
	}
	if !hmac.Equal([]byte(state), []byte(o.derive("state", cookie))) {
		return "", refused("the answer of %s belongs to another sign-in (state): begin again", o.name)
	}
	began, rest, _ := strings.Cut(cookie, ".")
	_, text, _ := strings.Cut(rest, ".")
	at, err := strconv.ParseInt(began, 10, 64)
	if err != nil || now.Sub(time.Unix(at, 0)) >= flowLasts {
		return "", refused("the sign-in took longer than 10 minutes: begin again")
	}
	path, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return "", refused("the cookie of this sign-in is damaged: begin again")
	}
	return localPath(string(path)), nil
}

// principal decides whether a user may sign in, and for which tenant.
func (o *openID) principal(token *oidc.IDToken) (Principal, error) {
	var claims map[string]json.RawMessage
	if err := token.Claims(&claims); err != nil {
		return Principal{}, &refusal{"the token of " + o.name + " cannot be read", err}
	}
	text := func(name string) string {
		var s string
		_ = json.Unmarshal(claims[name], &s) // "" when it is no text
		return s
	}
	subject, email := "sub:"+oneLine(token.Subject), lower(text("email"))
	verified := string(claims["email_verified"]) == `true` || text("email_verified") == "true"
	_, domain, _ := strings.Cut(email, "@")
	byEmail := strings.Count(email, "@") == 1 && (slices.Contains(o.allow, email) || slices.Contains(o.allow, "@"+domain))
	p := Principal{Name: email}
	if email == "" || !verified {
		p.Name = subject // an address that is not verified is no name
	}
	switch {
	case len(p.Name) > 320 || oneLine(p.Name) != p.Name:
		return Principal{}, refused("the name of this user cannot be one")
	case slices.Contains(o.allow, subject):
	case !byEmail:
		return Principal{}, refused("%s (%s) may not sign in here: --oidc-allow names neither", oneLine(cmp.Or(email, "no address")), subject)
	case !verified:
		return Principal{}, refused("%s does not say that %s is verified (email_verified): name the user as %s in --oidc-allow", o.name, email, subject)
	}
	if o.tenantClaim == "" {
		return p, nil
	}
	// Without a tenant a user would see them all.
	tenant, err := uuid.Parse(text(o.tenantClaim))
	if err != nil {
		return Principal{}, refused("%s gave %s no tenant: its token has no UUID in the claim %q of --oidc-tenant-claim", o.name, p.Name, o.tenantClaim)
	}
	p.Tenant = tenant.String()
	return p, nil
}

// tokenError leaves out what a server may echo: its answer holds whatever it likes.
func tokenError(err error) error {
	if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		status := "no status"
		if re.Response != nil {
			status = strconv.Itoa(re.Response.StatusCode)
		}
		return fmt.Errorf("token endpoint: %s %s", status, re.ErrorCode)
	}
	if ue, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("token endpoint: %w", ue.Err)
	}
	return errors.New("token endpoint: its answer cannot be read")
}

// oneLine is another's text as it may be shown: bounded, without line ends.
func oneLine(text string) string {
	const most = 300
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }), " ")
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "")
}
