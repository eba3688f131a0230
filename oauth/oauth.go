// Package oauth gets the access tokens that IMAP servers take in place of a
// password: by authorization code with PKCE, device code, client credentials
// or a service account's signed assertion, and by refresh ever after.
//
// Invariants: a rotated refresh token is stored before the access token that
// came with it is used; no error carries a token, a code or a secret; nothing
// is sent over plain HTTP, but for a server on this machine.
package oauth

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"imapsync/secret"
)

// Flow is the way a mailbox is first opened to imapsync.
type Flow string

// The flows. Code and Device need a person once; the others need none.
const (
	Code              Flow = "code"               // RFC 6749 section 4.1 with PKCE, RFC 7636
	Device            Flow = "device"             // RFC 8628
	ClientCredentials Flow = "client-credentials" // RFC 6749 section 4.4
	ServiceAccount    Flow = "service-account"    // RFC 7523 section 2.1
)

// NeedsPerson reports whether the flow ends in a refresh token that a person
// has to grant.
func (f Flow) NeedsPerson() bool { return f == Code || f == Device }

// Settings are what a provider's settings say about OAuth2. What is empty is as
// the preset has it.
type Settings struct {
	Preset         string
	Flow           Flow
	Tenant         string // Microsoft's: a UUID, a domain, organizations, common
	ClientID       string
	ClientSecret   secret.Value
	ServiceAccount secret.Value // the JSON key that Google hands out
	AuthorizeURL   string
	TokenURL       string
	DeviceURL      string
	Scopes         string // parted by blanks
	Subject        string // who signs in; for a service account, whose mailbox
}

// Client speaks to one authorization server for one provider.
type Client struct {
	flow     Flow
	preset   preset
	conf     oauth2.Config
	subject  string
	account  *account // of the flow ServiceAccount
	secrets  []secret.Value
	http     *http.Client
	identity string
}

// requestPatience bounds one request to an authorization server.
const requestPatience = 30 * time.Second

// New makes a client. Its errors name the setting that is missing or wrong.
func New(s Settings) (*Client, error) {
	ps, ok := presets[s.Preset]
	if !ok {
		return nil, wrong("settings", fmt.Errorf("preset %q: use google, microsoft or custom", s.Preset))
	}
	tenant := s.Tenant
	if tenant == "" {
		tenant = ps.tenant
	}
	endpoint := func(own, preset string) string {
		if own != "" {
			return own
		}
		return strings.ReplaceAll(preset, "{tenant}", url.PathEscape(tenant))
	}
	c := &Client{flow: s.Flow, preset: ps, subject: s.Subject, secrets: []secret.Value{s.ClientSecret}}
	c.conf = oauth2.Config{
		ClientID: s.ClientID, ClientSecret: s.ClientSecret.Reveal(),
		Endpoint: oauth2.Endpoint{
			AuthURL: endpoint(s.AuthorizeURL, ps.authorizeURL), TokenURL: endpoint(s.TokenURL, ps.tokenURL),
			DeviceAuthURL: endpoint(s.DeviceURL, ps.deviceURL), AuthStyle: ps.authStyle,
		},
		Scopes: strings.Fields(s.Scopes),
	}
	if len(c.conf.Scopes) == 0 {
		c.conf.Scopes = strings.Fields(ps.scopes[s.Flow])
	}
	if s.Flow == ServiceAccount {
		account, err := parseAccount(s.ServiceAccount)
		if err != nil {
			return nil, wrong("service_account", err)
		}
		c.account = account
		if c.conf.Endpoint.TokenURL == "" {
			c.conf.Endpoint.TokenURL = account.tokenURI
		}
	}
	if err := c.check(); err != nil {
		return nil, wrong("settings", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the standard library's
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	c.http = &http.Client{
		Timeout: requestPatience, Transport: transport,
		// A redirected POST would hand the secrets to somebody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	sum := sha256.Sum256([]byte(strings.Join([]string{strconv.FormatBool(s.Flow.NeedsPerson()), s.ClientID, c.conf.Endpoint.TokenURL,
		strings.Join(c.conf.Scopes, " "), s.Subject}, "\x00")))
	c.identity = hex.EncodeToString(sum[:8])
	return c, nil
}

// check makes sure that the flow has what it needs.
func (c *Client) check() error {
	need := map[string]string{"token URL": c.conf.Endpoint.TokenURL}
	switch c.flow {
	case Code:
		need["authorize URL"] = c.conf.Endpoint.AuthURL
	case Device:
		need["device URL"] = c.conf.Endpoint.DeviceAuthURL
	case ClientCredentials, ServiceAccount:
	default:
		return fmt.Errorf("flow %q: use code, device, client-credentials or service-account", c.flow)
	}
	if c.flow != ServiceAccount {
		if c.conf.ClientID == "" {
			return errors.New("the client id is missing")
		}
	}
	for what, text := range need {
		if err := CheckURL(text); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

// CheckURL refuses what tokens must not be sent to: anything but https, or
// http on this machine.
func CheckURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case text == "":
		return errors.New("missing")
	case err != nil || u.Host == "" || u.Opaque != "":
		return errors.New("not a URL like https://login.example.com/oauth2/token")
	case u.User != nil:
		return errors.New("holds a user or a password: give those as client id and client secret")
	case u.Fragment != "":
		return errors.New("holds a fragment (#…)")
	case u.Scheme == "https", u.Scheme == "http" && IsLoopback(u.Hostname()):
		return nil
	}
	return errors.New("tokens are sent over https only")
}

// IsLoopback reports whether a host is this machine.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Flow returns how the provider's tokens are got.
func (c *Client) Flow() Flow { return c.flow }

// with puts the HTTP client where x/oauth2 looks for it.
func (c *Client) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, oauth2.HTTPClient, c.http)
}
