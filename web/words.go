package web

import (
	"errors"
	"regexp"
	"strings"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/provider"
)

// words are what the pages say about errors. Say ends the error's own sentence,
// or stands below it; [name] stands for the label of a setting. Do is the field
// where it is mended, which a step and a card link to. The fact "test" holds
// where a connection is tested, and for the last error of a mailbox.
var words = fault.Words{
	// Finding the server.
	{Codes: "host_not_found", Say: "check [host]", Do: "host"},
	{Codes: "dns connect", When: "test", Say: "check [host], [port] and the network in between", Do: "host"},
	{Codes: "slow_body", Say: "it is tried again; to wait longer raise [literal-timeout]"},
	{Codes: "timeout", When: "test", Say: "try again, or give it more time with [connect-timeout] and [command-timeout]"},

	// Securing the connection.
	{Codes: "tls_host", When: "no_names"},
	{Codes: "tls_host", Say: "check [host] or set [tls-server-name]", Do: "tls-server-name"},
	{Codes: "tls_self_signed", Say: "give it under [ca] if you trust it", Do: "ca"},
	{Codes: "tls_unknown_ca", Say: "give its authority under [ca], or let the server send its whole chain", Do: "ca"},
	{Codes: "tls_not_yet_valid", Say: "check both clocks"},
	{Codes: "tls_expires", Say: "the certificate must be renewed on the server, or no mail will be read from then on"},
	{Codes: "tls_not_spoken", Say: "use [tls] STARTTLS, or port 993", Do: "tls"},
	{Codes: "wrong_protocol", Say: checkPort, Do: "port"},
	{Codes: "starttls_tls", Say: "use [tls] TLS", Do: "tls"},
	{Codes: "starttls_timeout", Say: "if the server speaks TLS from the start on this port, use [tls] TLS", Do: "tls"},
	{Codes: "starttls_missing starttls_refused", Say: "use [tls] TLS; plaintext is never a fallback", Do: "tls"},
	{Codes: "privacy_required", Say: "use [tls] TLS or STARTTLS", Do: "tls"},
	{Codes: "tls", Say: "try again later, or " + checkPort, Do: "port"},
	{Codes: "greeting", When: "test", Say: checkPort, Do: "port"},
	{Codes: "ca_file tls_expired tls_certificate tls_version tls_handshake starttls_preauth starttls_injected plaintext preauth"},

	// Logging in.
	{Codes: "login_disabled", When: "eager", Say: "switch [eager-login] off"},
	{Codes: "login_disabled", Say: "use [tls] TLS or STARTTLS, or [auth] OAuth2", Do: "tls"},
	{Codes: "no_oauth", Say: "use [auth] Password, or check [host] and [tls]", Do: "auth"},
	{Codes: "invalid_grant", When: "person", Say: connect},
	{Codes: "not_authorised refresh_token", Say: connect},
	{Codes: "invalid_client", When: "test", Say: "check [oauth-client-id], and give [oauth-client-secret] anew", Do: "oauth-client-id"},
	{Codes: "client_secret", Say: "make a new client secret, then enter [oauth-client-secret] and [oauth-client-secret-expires] under “Edit”", Do: "oauth-client-secret"},
	{Codes: "token_claims", When: "clock", Say: "check the clock of this machine"},
	{Codes: "token_claims", When: "audience", Say: "set [oauth-scopes] to those of Exchange Online", Do: "oauth-scopes"},
	{Codes: "token_claims", When: "app_role", Say: "grant the app the application permission IMAP.AccessAsApp of Office 365 Exchange Online, with admin consent"},
	{Codes: "token_claims", When: "scope", Say: "add the permission to the app, then to [oauth-scopes]", Do: "oauth-scopes"},
	{Codes: "token_claims", When: "user", Say: "“Connect with OAuth” as the user of [username]; a shared mailbox is named under [mailbox]"},
	{Codes: "service_account state consent answer device no_refresh_token token_type settings"},
	{Codes: "authenticationfailed authorizationfailed expired login_refused token_refused", When: "test oauth2", Say: checkUser, Do: "username"},
	{Codes: "login_unclear", When: "oauth2", Say: unclear + checkUser, Do: "username"},
	{Codes: "login_unclear", Say: unclear + checkPassword, Do: "password"},
	{Codes: "refused", When: "test", Say: "if it goes on, ask the administrator of the server"},
	{Codes: "contactadmin", Say: "ask the administrator of the server"},
	{Class: fault.Auth, When: "test oauth2", Say: checkUser, Do: "username"},
	{Class: fault.Auth, When: "test", Say: checkPassword, Do: "password"},

	// What a mailbox logs in with.
	{Codes: "secret", When: "absent", Say: "put it there, or store it: “Edit”", Do: "auth"},
	{Codes: "secret"},

	// Reading it.
	{Codes: "folder_missing", When: "test", Say: "choose others under [folder]", Do: "folder"},
	{Codes: "folder_name", When: "test", Say: "rename it on the server, or choose others under [folder]", Do: "folder"},
	{Codes: "too_many_folders", When: "test", Say: "name those that are to be read under [folder], without a wildcard", Do: "folder"},
	{Codes: "paused", Say: "“Resume”"},
	{Codes: "message_renumbered", Say: "the mail itself can be saved if it was kept"},
	{Codes: "mailbox_taken", Say: "change it where it is"},
	{Codes: "busy", Say: "try again when it has ended"},
	{Codes: "mail_held", Say: "“Publish what is held”"},
	{Codes: "folder_unstable folder_empty"},
	{Codes: "account_taken", Say: "tick “Read this account twice” if that is meant"},
	{Codes: "no_bodies", Say: "mail waits on the server and is read when it gives bodies again; if that lasts, ask its administrator"},
	{Codes: "no_permission start never_read"},

	// All others.
	{Codes: "stopped", Say: "begin it again to go on"},
	{Codes: "unread", Say: "begin it again later to go on"},
	{Codes: "postgres_old postgres_read_only locks_pooled clock key_unknown key_old paused_auth inactive failing failing_waits day_full dead backlog exists_surplus"},
	{Codes: "unclassified"}, // input that is wrong is so as well
	{Codes: "panic sql", Say: isBug},
	{Class: fault.Bug, Say: isBug},
	{Codes: "schema pooler database_url stream_subjects stream_age stream_limit stream_message_size stream_discard stream_no_ack stream_retention stream_memory " +
		"stream_ring stream_short stream_replicas stream_gone bucket_gone events_lost events_missing"},
	{Codes: "postgres nats stream stream_full pass_timeout tls_timeout starttls secret_unavailable uidvalidity_unknown exists_mismatch dates_unknown no_header bye cancelled capability connection " +
		"fenced idle_stalled inuse limit lock_lost over_limit overquota protocol serverbug throttled token_endpoint token_race " +
		"token_throttled token_unavailable turned_away uidvalidity_changed unavailable", When: "test", Say: later},
	{Class: fault.Transient, When: "test", Say: later},
}

// What several rows have in common.
const (
	later         = "try again later"
	connect       = "“Connect with OAuth”"
	checkPort     = "check [port] and [tls]: 993 is for TLS, 143 for STARTTLS"
	checkPassword = "check [username] and the password; some servers want an app password, or IMAP switched on in the account"
	unclear       = "the server does not say why: if it goes on, "
	checkUser     = "check [mailbox] and [username], and that whoever signed in may open this mailbox by IMAP"
	isBug         = "this is a bug: please report it, with the version of imapsync"
)

var settingName = regexp.MustCompile(`\[[a-z-]+\]`)

// find returns the words for an error, with the labels of the form.
func find(about fault.About) fault.Word {
	word := words.Find(about)
	word.Say = settingName.ReplaceAllStringFunc(word.Say, func(name string) string { return called(name[1 : len(name)-1]) })
	return word
}

// say is an error in the words of the pages. Of a connection that did not pass
// its test it ends with what is undone.
func say(p *db.Provider, err error, undone string) string {
	text := strings.TrimSpace(err.Error())
	failed, isTest := errors.AsType[*provider.TestError](err)
	about := provider.About(p, err)
	if isTest && failed.Reached {
		about.Facts = append(about.Facts, "test")
	}
	if text = fault.Ended(text, find(about).Say); isTest && undone != "" {
		text += "; " + undone
	}
	return text
}

// findLast is what to do about the last error of p. Its class is known by the
// login failures that were counted; else its code says enough.
func findLast(p *db.Provider) fault.Word {
	about := provider.AboutProvider(p, fault.About{Code: p.LastErrorCode, Facts: []string{"test"}})
	if p.AuthFailures > 0 {
		about.Class = fault.Auth
	}
	return find(about)
}

// step is one of a test, with what to do about it and where.
type step struct {
	provider.Step

	Fix, Link string
}

// worded gives a step its words; form is the address of the form.
func worded(p *db.Provider, s provider.Step, form string) step {
	one := step{Step: s}
	one.Text = provider.OneLine(s.Text)
	if s.State != provider.StepOK {
		about := provider.About(p, s.Err)
		about.Class, about.Code = s.Class, s.Code
		about.Facts = append(about.Facts, "test")
		word := find(about)
		one.Fix, one.Link = word.Say, place(form, word)
	}
	return one
}

// place is the address of the field where something is mended, if there is one.
func place(form string, word fault.Word) string {
	if word.Do == "" {
		return ""
	}
	return form + "#" + word.Do
}

// labels are the words of the form for settings and credentials.
var labels = map[string]string{
	"tenant": "Tenant", "name": "Configuration name", "mailbox": "Mailbox", "host": "Server", "port": "Port", "tls": "Encryption",
	"ca": "Certificate authority", "tls-server-name": "Name in the certificate", "auth": "Authentication",
	"username": "Username", "password": "Password", "folder": "Folders",
	"max-emails-per-sync": "Max emails per sync", "max-connections": "Max connections", "start": "Where to start", "defaults-id": "Inbound ticket defaults id",
	"oauth-preset": "OAuth2 provider", "oauth-flow": "Way to sign in", "oauth-client-id": "Client id",
	"oauth-client-secret":         "Client secret",
	"oauth-client-secret-expires": "Last day of the client secret", "oauth-service-account": "Service account key", "oauth-tenant": "Microsoft directory", "oauth-scopes": "Scopes",
	"oauth-authorize-url": "Authorise URL", "oauth-token-url": "Token URL", "oauth-device-url": "Device URL",
	"since": "Go through again since",
}

// called is what the page calls a setting within a sentence: by its label, and
// by its command when it has no field.
func called(setting string) string {
	if label, ok := labels[setting]; ok {
		return "“" + label + "”"
	}
	return "`imapsync provider set … --" + setting + "`"
}
