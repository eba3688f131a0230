package oauth

import (
	"time"

	"golang.org/x/oauth2"
)

// preset is what is known about one kind of authorization server.
type preset struct {
	authorizeURL, tokenURL, deviceURL string // {tenant} stands for the tenant
	tenant                            string // when none is given
	scopes                            map[Flow]string
	authStyle                         oauth2.AuthStyle
	authorize                         map[string]string // more parameters of the authorize URL
	redirectHost                      string            // of the loopback redirect
	sliding                           time.Duration     // a refresh token dies unused after this; 0: not known
	slidingRule                       string
	testing                           string // what may end it sooner, for people
}

const day = 24 * time.Hour

// presets by their name.
//
// Google gives no mail scope to the device flow, and a refresh token only when
// asked for offline access by a consent screen. Microsoft leaves the port of a
// redirect to "localhost" open, and that of 127.0.0.1 does not; its
// application-only tokens go by ".default".
var presets = map[string]preset{
	"google": { //nolint:gosec // addresses, no credentials
		authorizeURL: "https://accounts.google.com/o/oauth2/v2/auth",
		tokenURL:     "https://oauth2.googleapis.com/token",
		scopes:       map[Flow]string{Code: "https://mail.google.com/", ServiceAccount: "https://mail.google.com/"},
		authStyle:    oauth2.AuthStyleInParams,
		authorize:    map[string]string{"access_type": "offline", "prompt": "consent"},
		redirectHost: "127.0.0.1",
		sliding:      180 * day, slidingRule: "Google ends a refresh token that was not used for six months",
		testing: "while the app's publishing status is Testing, Google ends it seven days after it was granted",
	},
	"microsoft": { //nolint:gosec // addresses, no credentials
		authorizeURL: "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/authorize",
		tokenURL:     "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/token",
		deviceURL:    "https://login.microsoftonline.com/{tenant}/oauth2/v2.0/devicecode",
		tenant:       "organizations",
		scopes: map[Flow]string{ //nolint:gosec // names of permissions
			Code:              "https://outlook.office.com/IMAP.AccessAsUser.All offline_access",
			Device:            "https://outlook.office.com/IMAP.AccessAsUser.All offline_access",
			ClientCredentials: "https://outlook.office365.com/.default",
		},
		authStyle:    oauth2.AuthStyleInParams,
		redirectHost: "localhost",
		sliding:      90 * day, slidingRule: "Microsoft ends a refresh token that was not renewed for 90 days",
	},
	"custom": {
		authStyle:    oauth2.AuthStyleInParams,
		authorize:    map[string]string{"access_type": "offline"},
		redirectHost: "127.0.0.1",
	},
}

// RedirectHost is the host of the loopback redirect that the server takes
// without a port of its own (RFC 8252 section 7.3).
func (c *Client) RedirectHost() string { return c.preset.redirectHost }
