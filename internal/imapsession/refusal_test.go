package imapsession

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"imapsync/internal/imapwire"
)

// TestLoginRefusals is what servers in the field say to a login, and what it means.
func TestLoginRefusals(t *testing.T) {
	const user = "offline@ldap.example"
	for said, want := range map[string]string{
		// Gmail
		"NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)":                                                                             "auth authenticationfailed",
		"NO [ALERT] Invalid credentials (Failure)":                                                                                            "auth login_refused",
		"NO [ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)":                      "auth login_refused",
		"NO [ALERT] Please log in via your web browser: https://support.google.com/mail/accounts/answer/78754 (Failure)":                      "auth login_refused",
		"NO [ALERT] Your account is not enabled for IMAP use. Please visit your Gmail settings page and enable your account for IMAP access.": "auth login_refused",
		"NO [ALERT] IMAP access is disabled for your domain. Please contact your domain administrator for questions about this feature.":      "auth login_refused",
		"NO [WEBALERT https://accounts.google.com/signin/continue?sarp=1&plt=busy] Web login required.":                                       "auth login_refused",
		"NO [ALERT] Too many simultaneous connections. (Failure)":                                                                             "transient throttled",
		"NO [ALERT] Account exceeded command or bandwidth limits. (Failure)":                                                                  "transient throttled",
		"NO [UNAVAILABLE] Temporary System Error (Failure)":                                                                                   "transient unavailable",
		"NO [ALERT] Lookup failed (Failure)":                                                                                                  "transient serverbug",
		// QQ, 163
		"NO Login fail. Account is abnormal, service is not open, password is incorrect, login frequency limited, or system is busy. More information at https://service.mail.qq.com/detail/0/1010": "auth login_refused",
		"NO LOGIN Login error or password error":                                "auth login_refused",
		"NO LOGIN Unsafe Login. Please contact kefu@188.com for help":           "auth login_refused",
		"NO [AUTHENTICATIONFAILED] LOGIN Login error password error, try later": "auth authenticationfailed",
		// GNU imap4d, Courier, Cyrus, UW
		"NO LOGIN User name or passwd rejected":                                  "auth login_refused",
		"NO Login failed.":                                                       "auth login_refused",
		"NO LOGIN Login failed.":                                                 "auth login_refused",
		"NO Login failed: authentication failure":                                "auth login_refused",
		"NO Login failed: user not found":                                        "auth login_refused",
		"NO Login failed: generic failure":                                       "transient serverbug",
		"NO Login incorrect":                                                     "auth login_refused",
		"NO LOGIN Bad LOGIN user name and/or password":                           "auth login_refused",
		"NO Error: authdaemon: s_connect() failed: Resource not there (Failure)": "transient serverbug",
		// Dovecot
		"NO [AUTHENTICATIONFAILED] Authentication failed.":                                                      "auth authenticationfailed",
		"NO [AUTHORIZATIONFAILED] Password correct, but login not allowed":                                      "auth authorizationfailed",
		"NO [EXPIRED] Password expired":                                                                         "auth expired",
		"NO [UNAVAILABLE] Temporary authentication failure. [mx1:2026-01-02 03:04:05]":                          "transient unavailable",
		"NO [UNAVAILABLE] Internal error occurred. Refer to server log for more information.":                   "transient unavailable",
		"NO Internal error occurred. Refer to server log for more information.":                                 "transient serverbug",
		"NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)": "transient unavailable",
		"NO [INUSE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)":       "transient inuse",
		"NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.":         "config privacy_required",
		"NO [ALERT] country blocked":                     "auth login_refused",
		"NO [CONTACTADMIN] User account has been locked": "auth login_refused",
		"NO [CONTACTADMIN] See the notice":               "transient contactadmin",
		"NO [NOPERM] You may not read mail by IMAP":      "auth authorizationfailed",
		"BYE [UNAVAILABLE] Too many connections":         "transient unavailable",
		"BYE Disconnected: Too many invalid commands":    "transient throttled",
		"BYE [ALERT] Your account has been disabled":     "transient login_unclear",
		"BYE Invalid user name or password":              "transient login_unclear",
		"BYE LOGIN failed":                               "transient bye",
		"BYE [AUTHENTICATIONFAILED] Goodbye":             "auth authenticationfailed",
		// Exchange, Outlook
		"NO LOGIN failed.":        "auth login_refused",
		"NO AUTHENTICATE failed.": "auth login_refused",
		"NO Logon failure: unknown user name or bad password.":                  "auth login_refused",
		"BAD User is authenticated but not connected.":                          "transient throttled",
		"NO User is authenticated but not connected.":                           "transient throttled",
		"BAD Request is throttled. Suggested Backoff Time: 299072 milliseconds": "transient throttled",
		"NO Server Unavailable. 15":                                             "transient unavailable",
		// Yahoo, AOL, iCloud, GMX, Zoho, Yandex, mail.ru
		"NO [AUTHENTICATIONFAILED] LOGIN Invalid credentials":                                                 "auth authenticationfailed",
		"NO [AUTHENTICATIONFAILED] (#MBR1212) Incorrect username or password":                                 "auth authenticationfailed",
		"NO LOGIN failure. Server error occurred":                                                             "transient serverbug",
		"NO [SERVERBUG] LOGIN Server error - Please try again later":                                          "transient serverbug",
		"NO [LIMIT] LOGIN Rate limit hit.":                                                                    "transient limit",
		"NO [OVERQUOTA] LOGIN Quota":                                                                          "transient overquota",
		"NO authentication failed":                                                                            "auth login_refused",
		"NO IMAP and POP3 are not enabled: https://postmaster.gmx.net/later":                                  "auth login_refused",
		"NO [ALERT] You are yet to enable IMAP for your account. Please contact your administrator (Failure)": "auth login_refused",
		"NO LOGIN invalid credentials or IMAP is disabled":                                                    "auth login_refused",
		"NO [AUTHENTICATIONFAILED] Please verify your account by going to https://account.mail.ru/login":      "auth authenticationfailed",
		"NO IMAP is not available for your account":                                                           "auth login_refused",
		// James, Zimbra, hMailServer, Kerio, Openwave, CommuniGate
		"NO LOGIN processing failed.":                                                   "transient serverbug",
		"NO LOGIN failed. Invalid login/password.":                                      "auth login_refused",
		"NO LOGIN failed. Authentication failed.":                                       "auth login_refused",
		"NO LOGIN failed":                                                               "auth login_refused",
		"NO account is in maintenance mode":                                             "transient unavailable",
		"NO Invalid user name or password.":                                             "auth login_refused",
		"NO Invalid user name or password. Please use full email address as user name.": "auth login_refused",
		"NO Too many login attempts, your address is blocked":                           "transient throttled",
		"NO Login failed: the user account is disabled":                                 "auth login_refused",
		"NO LOGIN incorrect password or account name":                                   "auth login_refused",
		"NO account or user password is incorrect":                                      "auth login_refused",
		"NO Authentication failed. Please check your credentials and try again":         "auth login_refused",
		// A server's fault, in any wording
		"NO Internal server error":                                 "transient serverbug",
		"NO LOGIN backend error":                                   "transient serverbug",
		"NO LDAP server unreachable":                               "transient unavailable",
		"NO Unable to verify password: LDAP server unreachable":    "transient unavailable",
		"NO Authentication failed: cannot connect to SQL database": "transient serverbug",
		"NO Password verification failed: connection refused":      "transient serverbug",
		"NO authentication server timed out":                       "transient serverbug",
		"NO Mailbox is being migrated":                             "transient unavailable",
		"NO Your account is being moved to another server":         "transient unavailable",
		"NO Mailbox in use":                                        "transient throttled",
		"NO Mailbox is locked by another session, try again later": "transient throttled",
		"NO System error":                                          "transient serverbug",
		"NO [X-PROXY host=busy] Login failed":                      "auth login_refused",
		"NO Login failed: disk full":                               "transient serverbug",
		"NO Login failed: can't stat mailbox directory":            "transient serverbug",
		"NO Authentication failed: RADIUS server not responding":   "transient serverbug",
		"NO Authentication failed: connection to 10.0.0.1 closed":  "transient serverbug",
		"NO Login rejected: system is being upgraded":              "transient unavailable",
		"NO Authentication failed: directory lookup error":         "transient serverbug",
		"NO Password check failed: authd not running":              "transient serverbug",
		"NO could not validate password at this time":              "transient serverbug",
		"NO Login failed, please try again in a few minutes":       "transient throttled",
		"NO Login refused: load too high":                          "transient unavailable",
		"NO mailbox locked by POP server":                          "transient throttled",
		"NO Login vorübergehend nicht möglich":                     "transient throttled",
		"NO Errore interno durante la verifica della password":     "transient serverbug",
		// A fault of the server's makes it doubtful that the credentials are wrong
		"NO unknown user: LDAP timeout":                                               "transient login_unclear",
		"NO user not found, or database error":                                        "transient login_unclear",
		"NO Invalid login: the mailbox server is unavailable":                         "transient login_unclear",
		"NO LDAP: error code 49 - Invalid Credentials":                                "auth login_refused",
		"NO bad username or password - please try again later":                        "auth login_refused",
		"NO [WEBALERT https://a.example] Web login required. Please try again later.": "auth login_refused",
		// For a person to mend, or for time
		"NO Login failed - Account temporarily locked":              "transient login_unclear",
		"NO Account has been migrated, please use imap.new.example": "transient login_unclear",
		"NO account locked": "auth login_refused",
		// TLS is wanted, whatever code comes with it
		"NO Plaintext authentication disallowed on non-secure (SSL/TLS) connections.": "config privacy_required",
		"NO [ALERT] Plaintext authentication not allowed without SSL/TLS":             "config privacy_required",
		"NO cleartext logins not permitted: use STARTTLS":                             "config privacy_required",
		"BAD LOGIN only available on SSL connections":                                 "config privacy_required",
		// The user's own name is no word of the server's
		"NO Login failed for user offline":                               "auth login_refused",
		`NO Login of "offline@ldap.example" failed: invalid credentials`: "auth login_refused",
		// Nothing either way
		"NO":                         "transient login_unclear",
		"NO LOGIN":                   "transient login_unclear",
		"NO Failure":                 "transient login_unclear",
		"NO Access denied":           "transient login_unclear",
		"NO Please try again":        "transient login_unclear",
		"NO [ALERT] Happy new year":  "transient login_unclear",
		"NO Anmeldung nicht möglich": "transient login_unclear",
		"BAD":                        "transient login_unclear",
		"BAD Unknown command":        "transient login_unclear",
		"BAD invalid password":       "transient login_unclear",
	} {
		st := status(said)
		class, code := Classify(loginError(asImap(st), st, user))
		if got := fmt.Sprint(class, " ", code); got != want {
			t.Errorf("%s: %s, want %s", said, got, want)
		}
	}
}

// A token is refused by the same table, and the challenge is heard.
func TestTokenRefusals(t *testing.T) {
	const google = `{"status":"400","schemes":"Bearer","scope":"https://mail.google.com/"}`
	for _, tt := range []struct{ challenge, said, want string }{
		{google, "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", "auth authenticationfailed"},
		{google, "NO SASL authentication failed", "auth token_refused"},
		{google, "NO", "auth token_refused"},
		{`{"status":"invalid_token"}`, "NO AUTHENTICATE failed.", "auth token_refused"},
		{google, "NO Internal server error", "transient serverbug"},
		{google, "NO [UNAVAILABLE] Temporary authentication failure", "transient unavailable"},
		{`{"status":"503"}`, "NO AUTHENTICATE failed.", "transient unavailable"},
		{"", "NO AUTHENTICATE failed.", "auth login_refused"},
		{"", "NO", "transient login_unclear"},
	} {
		st := status(tt.said)
		class, code := Classify(tokenError(loginError(asImap(st), st, "u"), tt.challenge, tt.challenge))
		if got := fmt.Sprint(class, " ", code); got != tt.want {
			t.Errorf("%s, %s: %s, want %s", tt.challenge, tt.said, got, tt.want)
		}
	}
}

// TestRefusals is what refusals of other commands mean.
func TestRefusals(t *testing.T) {
	for said, want := range map[string]string{
		"NO [NONEXISTENT] Unknown Mailbox":                         "config folder_missing",
		"NO [noperm] no":                                           "config no_permission",
		"NO [UNAVAILABLE] backend down":                            "transient unavailable",
		"NO Internal server error":                                 "transient serverbug",
		"NO Mailbox is being migrated":                             "transient unavailable",
		"NO Mailbox in use":                                        "transient throttled",
		"NO LOGIN User name or passwd rejected":                    "transient refused",
		"NO EXAMINE Unsafe Login. Please contact kefu@188.com":     "transient refused",
		"BAD Request is throttled. Suggested Backoff Time: 299072": "transient throttled",
		"BYE Autologout; idle for too long":                        "transient bye",
		"BYE [LIMIT] Session expired":                              "transient limit",
	} {
		st := status(said)
		code := about(st.Type, st.Code, st.Text)
		if got := fmt.Sprint(classes[code], " ", code); got != want {
			t.Errorf("%s: %s, want %s", said, got, want)
		}
	}
}

// status takes apart what a server said, as the wire does.
func status(said string) (st imapwire.Status) {
	st.Type, st.Text, _ = strings.Cut(said, " ")
	if code, text, ok := strings.Cut(strings.TrimPrefix(st.Text, "["), "]"); ok && strings.HasPrefix(st.Text, "[") {
		st.Code, st.Args, _ = strings.Cut(code, " ")
		st.Code, st.Text = strings.ToUpper(st.Code), strings.TrimSpace(text)
	}
	return st
}

// asImap is what go-imap makes of it: a BYE only ends the connection.
func asImap(st imapwire.Status) error {
	if st.Type == "BYE" {
		return errors.New("connection closed")
	}
	return &imap.Error{Type: imap.StatusResponseType(st.Type), Code: imap.ResponseCode(st.Code), Text: st.Text}
}
