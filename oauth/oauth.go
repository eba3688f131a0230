// Package oauth gets the access tokens that IMAP servers take in place of a
// password: by authorization code with PKCE, device code, client credentials
// or a service account's signed assertion, and by refresh ever after.
//
// Invariants: a rotated refresh token is stored before the access token that
// came with it is used; no error carries a token, a code or a secret; nothing
// is sent over plain HTTP, but for a server on this machine.
package oauth

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
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
	identity string // of the settings that tokens belong to: other settings, other tokens
}

// requestPatience bounds one request to an authorization server.
const requestPatience = 30 * time.Second

// New makes a client. Its errors name the setting that is missing or wrong.
func New(s Settings) (*Client, error) {
	ps, ok := presets[s.Preset]
	if !ok {
		return nil, wrong("settings", fmt.Errorf("preset %q: use google, microsoft or custom", s.Preset))
	}
	tenant := url.PathEscape(cmp.Or(s.Tenant, ps.tenant))
	endpoint := func(own, preset string) string {
		return cmp.Or(own, strings.ReplaceAll(preset, "{tenant}", tenant))
	}
	c := &Client{flow: s.Flow, preset: ps, subject: s.Subject, secrets: []secret.Value{s.ClientSecret}}
	c.conf = oauth2.Config{
		ClientID: s.ClientID, ClientSecret: s.ClientSecret.Reveal(),
		Endpoint: oauth2.Endpoint{
			AuthURL: endpoint(s.AuthorizeURL, ps.authorizeURL), TokenURL: endpoint(s.TokenURL, ps.tokenURL),
			DeviceAuthURL: endpoint(s.DeviceURL, ps.deviceURL), AuthStyle: oauth2.AuthStyleInParams,
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
		c.conf.Endpoint.TokenURL = cmp.Or(c.conf.Endpoint.TokenURL, account.tokenURI)
	}
	if err := c.check(); err != nil {
		return nil, wrong("settings", err)
	}
	c.http = &http.Client{
		Timeout: requestPatience,
		// Connections of its own: a POST over one that went stale is not repeated.
		Transport: http.DefaultTransport.(*http.Transport).Clone(), //nolint:forcetypeassert // the standard library's
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
	if !slices.Contains([]Flow{Code, Device, ClientCredentials, ServiceAccount}, c.flow) {
		return fmt.Errorf("flow %q: use code, device, client-credentials or service-account", c.flow)
	}
	if c.flow != ServiceAccount && c.conf.ClientID == "" {
		return errors.New("the client id is missing")
	}
	for _, needed := range []struct {
		by        Flow
		what, url string
	}{
		{c.flow, "token URL", c.conf.Endpoint.TokenURL},
		{Code, "authorize URL", c.conf.Endpoint.AuthURL},
		{Device, "device URL", c.conf.Endpoint.DeviceAuthURL},
	} {
		if err := checkURL(needed.url); needed.by == c.flow && err != nil {
			return fmt.Errorf("%s: %w", needed.what, err)
		}
	}
	return nil
}

// checkURL refuses what tokens must not be sent to: anything but https, or
// http on this machine.
func checkURL(text string) error {
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
