package oauth

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"imapsync/secret"
)

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
	decoder := json.NewDecoder(bytes.NewReader(raw["exp"]))
	decoder.UseNumber()
	if decoder.Decode(&exp) == nil {
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
