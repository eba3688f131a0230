package db

import (
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// AuthOAuth2 is the value of Provider.AuthType for a login with tokens.
const AuthOAuth2 = "oauth2"

// The values of Provider.OAuthPreset.
const (
	PresetGoogle    = "google"
	PresetMicrosoft = "microsoft"
	PresetCustom    = "custom"
)

// The values of Provider.OAuthFlow.
const (
	FlowCode              = "code"
	FlowDevice            = "device"
	FlowClientCredentials = "client-credentials"
	FlowServiceAccount    = "service-account"
)

const (
	maxURLBytes   = 2000
	maxScopeBytes = 4000
)

// oauthTenant is a UUID, a domain, or one of Microsoft's words.
var oauthTenant = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,199}$`)

// oauth checks what a login with tokens needs.
func (v *validation) oauth(p *Provider) {
	flows := map[string][]string{
		PresetGoogle:    {FlowCode, FlowServiceAccount},
		PresetMicrosoft: {FlowCode, FlowDevice, FlowClientCredentials},
		PresetCustom:    {FlowCode, FlowDevice, FlowClientCredentials, FlowServiceAccount},
	}[p.OAuthPreset]
	switch {
	case p.OAuthPreset == "":
		v.wrong("oauth-preset", "missing: give google, microsoft, or custom for another server")
	case flows == nil:
		v.wrong("oauth-preset", "%q: use google, microsoft or custom", p.OAuthPreset)
	case p.OAuthPreset == PresetGoogle && p.OAuthFlow == FlowDevice:
		v.wrong("oauth-flow", "Google gives the device flow no access to mail: use code or service-account")
	case !slices.Contains(flows, p.OAuthFlow):
		v.wrong("oauth-flow", "%q: with --oauth-preset %s use %s", p.OAuthFlow, p.OAuthPreset, strings.Join(flows, ", "))
	}
	if p.OAuthFlow != FlowServiceAccount {
		v.text("oauth-client-id", p.OAuthClientID, maxUsernameBytes, "give the id that the app was registered with")
	}
	custom := p.OAuthPreset == PresetCustom
	v.endpoint("oauth-authorize-url", p.OAuthAuthorize, custom && p.OAuthFlow == FlowCode)
	v.endpoint("oauth-token-url", p.OAuthToken, custom && p.OAuthFlow != FlowServiceAccount)
	v.endpoint("oauth-device-url", p.OAuthDevice, custom && p.OAuthFlow == FlowDevice)
	if p.OAuthScopes != "" {
		v.text("oauth-scopes", p.OAuthScopes, maxScopeBytes, "give scopes parted by blanks")
	}
	own := p.OAuthTenant != "" && !slices.Contains([]string{"common", "organizations", "consumers"}, strings.ToLower(p.OAuthTenant))
	switch {
	case p.OAuthTenant != "" && p.OAuthPreset != PresetMicrosoft:
		v.wrong("oauth-tenant", "goes with --oauth-preset microsoft only")
	case p.OAuthTenant != "" && !oauthTenant.MatchString(p.OAuthTenant):
		v.wrong("oauth-tenant", "%q is neither the id of a directory nor a domain like example.com", p.OAuthTenant)
	case p.OAuthPreset == PresetMicrosoft && p.OAuthFlow == FlowClientCredentials && !own:
		v.wrong("oauth-tenant", "client-credentials needs the directory's id, or a domain of it")
	}
}

// endpoint checks an address that tokens are sent to.
func (v *validation) endpoint(field, s string, needed bool) {
	if s == "" {
		if needed {
			v.wrong(field, "missing: --oauth-preset custom needs it")
		}
		return
	}
	if !v.text(field, s, maxURLBytes, "") {
		return
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "":
		v.wrong(field, "not a URL like https://login.example.com/oauth2/token")
	case u.User != nil:
		v.wrong(field, "holds a user or a password: give those as client id and client secret")
	case u.Fragment != "":
		v.wrong(field, "%q holds a fragment (#…)", s)
	case u.Scheme == "https", u.Scheme == "http" && loopback(u.Hostname()):
	default:
		v.wrong(field, "%q: tokens are sent over https only", s)
	}
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
