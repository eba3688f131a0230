package oauth

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"imapsync/secret"
)

// account is a service account's key.
type account struct {
	email    string
	keyID    string
	tokenURI string
	key      *rsa.PrivateKey
}

// parseAccount reads the JSON key that Google's console hands out.
func parseAccount(key secret.Value) (*account, error) {
	if key.IsZero() {
		return nil, errors.New("service account: the key is missing")
	}
	var f struct {
		Type         string `json:"type"`
		ClientEmail  string `json:"client_email"`
		PrivateKeyID string `json:"private_key_id"`
		PrivateKey   string `json:"private_key"`
		TokenURI     string `json:"token_uri"`
	}
	if json.Unmarshal([]byte(key.Reveal()), &f) != nil {
		return nil, errors.New("service account: not the JSON key of a service account")
	}
	if f.Type != "service_account" || f.ClientEmail == "" {
		return nil, errors.New(`service account: the key must be JSON with "type": "service_account" and a "client_email"`)
	}
	block, _ := pem.Decode([]byte(f.PrivateKey))
	if block == nil {
		return nil, errors.New(`service account: "private_key" is not in PEM form`)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	}
	rsaKey, ok := parsed.(*rsa.PrivateKey)
	if err != nil || !ok {
		return nil, errors.New(`service account: "private_key" is not an RSA key`)
	}
	return &account{email: f.ClientEmail, keyID: f.PrivateKeyID, tokenURI: f.TokenURI, key: rsaKey}, nil
}

// CheckServiceAccount reports what is wrong with a service account's key.
func CheckServiceAccount(key secret.Value) error {
	_, err := parseAccount(key)
	return err
}

// assertionLife is as long as Google lets an assertion live; assertionSlack is
// how far a clock may be ahead of the server's.
const (
	assertionLife  = time.Hour
	assertionSlack = 30 * time.Second
)

// assertion is a JWT (RFC 7523 section 3), signed by RS256, by which the
// account acts for subject.
func (a *account) assertion(subject, audience string, scopes []string, now time.Time) (secret.Value, error) {
	issued := now.Add(-assertionSlack)
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
		KeyID     string `json:"kid,omitempty"`
	}{"RS256", "JWT", a.keyID})
	if err != nil {
		return secret.Value{}, err
	}
	claims, err := json.Marshal(struct {
		Issuer   string `json:"iss"`
		Subject  string `json:"sub,omitempty"`
		Scope    string `json:"scope,omitempty"`
		Audience string `json:"aud"`
		Issued   int64  `json:"iat"`
		Expires  int64  `json:"exp"`
	}{a.email, subject, strings.Join(scopes, " "), audience, issued.Unix(), issued.Add(assertionLife).Unix()})
	if err != nil {
		return secret.Value{}, err
	}
	enc := base64.RawURLEncoding
	text := enc.EncodeToString(header) + "." + enc.EncodeToString(claims)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, a.key, crypto.SHA256, sum[:])
	if err != nil {
		return secret.Value{}, errors.New("service account: the key cannot sign")
	}
	return secret.New(text + "." + enc.EncodeToString(sig)), nil
}

// Claims are what an access token says of itself (RFC 7519, and Microsoft's
// names). They are for telling a person what is wrong: nobody has verified them.
type Claims struct {
	Audience []string  // aud: the API that the token is for
	Scopes   []string  // scp or scope: what a person has granted
	Roles    []string  // roles: what an app may do by itself
	User     string    // upn, preferred_username, unique_name or email
	Tenant   string    // tid
	App      string    // appid or azp
	Expiry   time.Time // exp; zero when it does not say
}

// Decode reads a token that is a JWT. Google's are not, nor need any be: ok is
// false then.
func Decode(token secret.Value) (claims Claims, ok bool) {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 || len(parts[1]) > 64<<10 {
		return Claims{}, false
	}
	data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return Claims{}, false
	}
	var raw map[string]json.RawMessage
	if json.Unmarshal(data, &raw) != nil {
		return Claims{}, false
	}
	text := func(names ...string) string {
		for _, name := range names {
			var s string
			if json.Unmarshal(raw[name], &s) == nil && s != "" {
				return s
			}
		}
		return ""
	}
	list := func(name string) []string {
		var many []string
		if json.Unmarshal(raw[name], &many) == nil {
			return many
		}
		return strings.Fields(text(name))
	}
	c := Claims{
		Audience: list("aud"), Scopes: append(list("scp"), list("scope")...), Roles: list("roles"),
		User: text("upn", "preferred_username", "unique_name", "email"), Tenant: text("tid"), App: text("appid", "azp"),
	}
	var exp json.Number
	if json.Unmarshal(raw["exp"], &exp) == nil {
		if seconds, err := exp.Float64(); err == nil && seconds > 0 && seconds < 1e11 {
			c.Expiry = time.Unix(int64(seconds), 0).UTC()
		}
	}
	return c, true
}

// String names the claims for a person, but for those that are absent.
func (c Claims) String() string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	add("aud", strings.Join(c.Audience, " "))
	add("scp", strings.Join(c.Scopes, " "))
	add("roles", strings.Join(c.Roles, " "))
	add("upn", c.User)
	add("tid", c.Tenant)
	add("app", c.App)
	if !c.Expiry.IsZero() {
		add("exp", c.Expiry.Format(time.RFC3339))
	}
	if len(parts) == 0 {
		return "the token says nothing of itself"
	}
	return strings.Join(parts, ", ")
}

// exchange is who reads Microsoft's tokens for IMAP.
var exchange = [...]string{"https://outlook.office365.com", "https://outlook.office.com", "00000002-0000-0ff1-ce00-000000000000"}

// Problem tells what would keep a preset's mail server from taking the token
// for a user: a word for the reason (clock, audience, app_role, scope, user) and
// a sentence. Both are empty when nothing is known.
func (c Claims) Problem(preset, user string, now time.Time) (reason, what string) {
	if !c.Expiry.IsZero() && !now.Before(c.Expiry) {
		return "clock", "it has ended"
	}
	if preset != "microsoft" {
		return "", ""
	}
	forExchange := slices.ContainsFunc(c.Audience, func(aud string) bool {
		return slices.Contains(exchange[:], strings.TrimRight(strings.ToLower(aud), "/"))
	})
	application := len(c.Roles) > 0 && len(c.Scopes) == 0
	switch {
	case !forExchange:
		return "audience", fmt.Sprintf("it is for %q, not for Exchange Online", strings.Join(c.Audience, " "))
	case application && !slices.Contains(c.Roles, "IMAP.AccessAsApp"):
		return "app_role", "the app may not read mail by IMAP"
	case !application && !slices.Contains(c.Scopes, "IMAP.AccessAsUser.All"):
		return "scope", "nobody has granted IMAP.AccessAsUser.All"
	case !application && c.User != "" && !strings.EqualFold(c.User, user):
		return "user", fmt.Sprintf("%s has signed in, and the username is %s", c.User, user)
	}
	return "", ""
}
