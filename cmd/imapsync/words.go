package main

import (
	"errors"
	"maps"
	"strings"
	"time"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/oauth"
	"imapsync/provider"
	"imapsync/publish"
	mailsync "imapsync/sync"
)

// words are what the command line says about errors. Say ends a one-line error; Do is a
// line of `doctor`, to be pasted, in which capitals stand for what only a person knows,
// or who can mend what no command can. A mailbox is named by its id, which needs no
// quotes and is nobody else's in another tenant. The fact "test" holds where a
// connection is tested, and not for a run, which tries again by itself.
var words = fault.Words{
	// Finding the server.
	{Codes: "host_not_found", Say: "check --host", Do: "{set} --host HOST"},
	{Codes: "dns", When: "test", Say: checkNetwork, Do: "{doctor} # once this machine can look up {host}: see /etc/resolv.conf"},
	{Codes: "connect", When: "test", Say: checkNetwork, Do: "{set} --host HOST --port PORT # or open the way from this machine to {address}"},
	{Codes: "timeout", When: "test", Say: "try again, or give it more time with --connect-timeout and --command-timeout", Do: moreTime},
	{Codes: "slow_body", Say: "it is tried again; to wait longer use --literal-timeout and --min-body-rate", Do: "imapsync run --provider {id} --min-body-rate 4096 # or: {set} --literal-timeout 5m"},
	{Codes: "pass_timeout", When: "test", Say: later, Do: moreTime},

	// Securing the connection.
	{Codes: "tls_host", When: "no_names", Do: "{set} --tls-server-name NAME # as the certificate has it; or --host HOST"},
	{Codes: "tls_host", Say: "check --host or set --tls-server-name", Do: "{set} --tls-server-name NAME # as the certificate has it; or --host HOST"},
	{Codes: "ca_file", Do: "{set} --ca-file FILE"},
	{Codes: "tls_self_signed", Say: "give it with --ca-file if you trust it", Do: "{set} --ca-file FILE"},
	{Codes: "tls_unknown_ca", Say: "give its CA with --ca-file, or let the server send its whole chain", Do: "{set} --ca-file FILE"},
	{Codes: "tls_not_yet_valid", Say: "check both clocks", Do: "timedatectl # this machine's clock; if it is right, ask the administrator of {host} to set that of the server"},
	{Codes: "tls_expired tls_certificate", Do: "ask the administrator of {host} to renew the certificate"},
	{Codes: "tls_expires", Do: "the certificate of {certificate} must be renewed on the server, or no mail will be read from then on"},
	{Codes: "tls_version tls_handshake", Do: "ask the administrator of {host} to bring the server up to date"},
	{Codes: "tls_not_spoken", Say: "use --tls starttls, or port 993", Do: "{set} --tls starttls --port {port} # or --tls implicit --port 993"},
	{Codes: "wrong_protocol", Say: "check --host, --port and --tls: 993 is for implicit, 143 for starttls", Do: "{set} --tls implicit --port 993 # the port given is that of {protocol}; or --tls starttls --port 143"},
	{Codes: "starttls_tls", Say: "use --tls implicit", Do: "{set} --tls implicit --port {port}"},
	{Codes: "starttls_timeout", Say: "if the server speaks TLS from the start on this port, use --tls implicit", Do: "{set} --tls implicit --port {port}"},
	{Codes: "starttls_missing starttls_refused", Say: "use --tls implicit; plaintext is never a fallback", Do: implicitTLS},
	{Codes: "privacy_required", Say: "use --tls implicit or starttls", Do: implicitTLS},
	{Codes: "starttls_preauth plaintext", Do: implicitTLS},
	{Codes: "starttls_injected", Do: implicitTLS + " # and find out who stands between this machine and {host}"},
	{Codes: "tls", Say: later + ", or " + checkPort, Do: otherTLS},
	{Codes: "greeting", When: "test", Say: checkPort, Do: otherTLS},
	{Codes: "tls_timeout", Say: checkPort, Do: otherTLS},
	{Codes: "starttls", When: "test", Say: later, Do: otherTLS},

	// Logging in.
	{Codes: "login_disabled", When: "eager", Say: "use --eager-login=false", Do: "{set} --eager-login=false"},
	{Codes: "login_disabled", When: "plaintext", Say: otherLogin, Do: implicitTLS},
	{Codes: "login_disabled", Say: otherLogin, Do: "{set} --auth oauth2 --oauth-preset PRESET --oauth-client-id ID --oauth-client-secret-file FILE"},
	{Codes: "no_oauth", Say: "use --auth password, or check --host and --tls", Do: "{set} --auth password --password-prompt"},
	{Codes: "preauth", Do: "{set} --host HOST --port PORT # this one lets in whoever comes"},
	{Codes: "invalid_grant", When: "person", Say: "sign in: {auth}", Do: "{auth}"},
	{Codes: "not_authorised", Say: "sign in: {auth}", Do: "{auth}"},
	{Codes: "invalid_client", When: "test", Say: "check --oauth-client-id, and give the client secret anew with --oauth-client-secret-file",
		Do: "{set} --oauth-client-id ID --oauth-client-secret-file FILE"},
	{Codes: "service_account", Say: "give it with --oauth-service-account-file", Do: "{set} --oauth-service-account-file FILE"},
	{Codes: "authenticationfailed authorizationfailed expired login_refused token_refused", Class: fault.Auth, When: "test password",
		Say: checkPassword,
		Do:  "{set} --password-prompt # or --username NAME; some servers want an app password, or IMAP switched on in the account"},
	{Codes: "login_unclear", When: "password", Say: unclear + checkPassword, Do: "{set} --password-prompt # or --username NAME; the server does not say what is wrong: it may be the server itself"},
	{Codes: "login_unclear", Say: unclear + checkUser, Do: "{set} --username NAME # the server does not say what is wrong: it may be the server itself"},
	{Codes: "refused", When: "test", Say: refusedAgain, Do: "{doctor} # again, later; if it goes on, ask the administrator of {host}"},
	{Codes: "contactadmin", Say: "ask the administrator of the server", Do: "ask the administrator of {host} what is wrong with {mailbox}"},
	{Class: fault.Auth, When: "test person", Say: checkUser, Do: "{auth} # as somebody who may open {mailbox} by IMAP; or: {set} --username NAME"},
	{Class: fault.Auth, When: "test oauth2", Say: checkUser, Do: "{set} --username NAME # and let the app open that mailbox by IMAP"},
	{Codes: "state consent answer device no_refresh_token token_type settings", Class: fault.Config, When: "token", Do: namedSettings},
	{Class: fault.Config, When: "token", Do: namedSettings}, // by a code of the server's own
	{Codes: "token_claims", When: "clock", Do: "check this machine's clock: {now}"},
	{Codes: "token_claims", When: "audience", Do: exchangeScopes + " # an app by itself: 'https://outlook.office365.com/.default', and nobody signs in"},
	{Codes: "token_claims", When: "app_role", Do: "grant the app the application permission IMAP.AccessAsApp of Office 365 Exchange Online, with admin consent"},
	{Codes: "token_claims", When: "scope", Do: exchangeScopes + " # add the permission to the app first"},
	{Codes: "token_claims", When: "user", Do: "{auth} # as the user of --username; or: {set} --username USERNAME (a shared mailbox is named by --mailbox)"},
	{Codes: "refresh_token", Do: "{auth}"},
	{Codes: "client_secret", Do: "make a new client secret, then: {set} --oauth-client-secret-file FILE --oauth-client-secret-expires DATE"},

	// What a mailbox logs in with.
	{Codes: "secret secret_unavailable", When: "vault unavailable", Do: "vault status -address={vault}"},
	{Codes: "secret secret_unavailable", When: "vault", Do: "vault token lookup -address={vault} # or what IMAPSYNC_VAULT_AUTH logs in with"},
	{Codes: "secret", When: "absent test", Say: "put it there, or store it: `{set} --password-prompt`", Do: "{renew} # or put it where it was looked for"},
	{Codes: "secret", When: "absent", Do: "{renew} # or put it where it was looked for"},
	{Codes: "secret", When: "unknown_key", Do: "{renew} # or put the old key back into the key file, below the first line"},
	{Codes: "secret", When: "unreadable", Do: "{renew}"},
	{Codes: "secret", When: "settings", Do: "{doctor} # again, with the settings that it names put right"},
	{Codes: "secret", When: "mode", Say: "run: chmod 600 {path}", Do: "chmod 600 {path}"},
	{Codes: "secret", When: "no_key sealed", Say: oldKeyFile, Do: oldKey},
	{Codes: "secret", When: "no_key", Say: newKey, Do: "imapsync secret keygen --out imapsync.key && export IMAPSYNC_SECRET_KEY_FILE=$PWD/imapsync.key"},
	{Codes: "secret", When: "key_file sealed", Say: oldKeyFile, Do: oldKey},
	{Codes: "secret", When: "key_file directory", Say: "name the file in it with IMAPSYNC_SECRET_KEY_FILE", Do: "export IMAPSYNC_SECRET_KEY_FILE={path}/FILE"},
	{Codes: "secret", When: "key_file", Say: newKeyFile, Do: "imapsync secret keygen --out {path}"},
	{Codes: "secret", Do: oldKey},
	{Codes: "secret_unavailable", When: "test", Say: later, Do: "{doctor} # again, later"},

	// Reading it.
	{Codes: "folder_missing", When: "test", Say: "choose others with --folder", Do: otherFolders},
	{Codes: "folder_name", When: "test", Say: "rename it on the server, or choose others with --folder", Do: otherFolders},
	{Codes: "too_many_folders", When: "test", Say: "name those that are to be read with --folder, without a wildcard", Do: otherFolders},
	{Codes: "no_permission", When: "test", Do: otherFolders},
	{Codes: "mail_held", Say: "to publish them: `{resync} --accept`", Do: "{resync} --accept"},
	{Codes: "folder_unstable", Do: "ask the administrator of {host} for a UIDVALIDITY that stays (RFC 3501 section 2.3.1.1)"},
	{Codes: "folder_empty", Say: later, Do: "{doctor} # again, later"},
	{Codes: "account_taken", Do: "{set} --same-account # its mail is published twice; or imapsync provider rm {id}"},
	{Codes: "uidvalidity_unknown", When: "test", Say: later, Do: "{set} --folder FOLDER # others, or ask the administrator of {host}"},
	{Codes: "exists_mismatch", When: "test", Say: later, Do: "imapsync reconcile {id} # again, later; if it goes on, ask the administrator of {host}"},
	{Codes: "exists_mismatch", Do: "imapsync reconcile {id} # again, later; if it goes on, ask the administrator of {host}"},
	{Codes: "dates_unknown", Do: "{doctor} # again, later; if it goes on, ask the administrator of {host} for INTERNALDATE (RFC 3501 section 2.3.3)"},
	{Codes: "exists_surplus", Do: "ask the administrator of {host}: new mail is read all the same"},
	{Codes: "paused_auth", When: "oauth2", Do: "{auth} && imapsync provider resume {id}"},
	{Codes: "paused_auth", Do: "{set} --password-prompt && imapsync provider resume {id}"},
	{Codes: "inactive", Do: "switch it on where it was switched off (is_active, auto_process_emails)"},
	{Codes: "failing", Do: "imapsync run --provider {id}"},
	{Codes: "failing_waits", Do: "imapsync run --provider {id} # does not wait"},
	{Codes: "dead", Do: "imapsync quarantine list --provider {id} --state dead"},
	{Codes: "day_full", Say: "it goes on at midnight UTC: run it again then, or raise --max-bytes-per-day", Do: "{set} --max-bytes-per-day BYTES # or wait: it goes on at midnight UTC"},
	{Codes: "backlog", Do: "imapsync run --provider {id} --drain # or more a pass: {set} --max-emails-per-sync N"},
	{Codes: "paused", Say: "`imapsync provider resume {id}`", Do: "imapsync provider resume {id}"},
	{Codes: "mailbox_taken", Say: "`imapsync provider list` shows it, `imapsync provider set` changes it", Do: "imapsync provider show {id}"},
	{Codes: "never_read", Say: "`imapsync status {id}` shows the folders", Do: "imapsync status {id}"},
	{Codes: "message_renumbered", Say: "`imapsync quarantine export {message}` has the mail if it was kept", Do: "imapsync quarantine list --provider {id}"},
	{Codes: "start", Do: "{set} --start recent"},
	{Codes: "no_bodies", Say: "mail waits on the server and is read when it gives bodies again; if that lasts, ask its administrator",
		Do: "ask the administrator of {host}: bodies of messages cannot be read (FETCH BODY[]); here there is nothing to do: each pass tries again"},
	{Codes: "no_header", When: "test", Say: later, Do: "imapsync quarantine list --provider {id}"},

	// The database and the broker.
	{Codes: "postgres database_url", When: "asked", Say: "check [database][locks]"},
	{Codes: "schema", When: "old", Say: "run `imapsync migrate`"},
	{Codes: "schema", When: "new", Say: "use a newer imapsync"},
	{Codes: "pooler", Say: "set LOCK_DATABASE_URL (or --lock-database-url) to a direct connection to Postgres",
		Do: "set LOCK_DATABASE_URL to a direct connection to Postgres"},
	{Codes: "postgres_old", Do: "update it to 13 or newer"},
	{Codes: "postgres_read_only", When: "asked", Say: "check [database][locks]: is it a standby, or is default_transaction_read_only on?"},
	{Codes: "postgres_read_only", Do: "let DATABASE_URL name the primary"},
	{Codes: "locks_pooled", Do: "let LOCK_DATABASE_URL name Postgres itself, past the pooler"},
	{Codes: "clock", Do: "run a time service (chrony, systemd-timesyncd) on both"},
	{Codes: "key_unknown", When: "asked", Say: "check --secret-key-file (IMAPSYNC_SECRET_KEY_FILE)[key]: it is not the key file that they were sealed with"},
	{Codes: "key_unknown", Do: "put the old key back into [key], below the first line, or give each credential anew: imapsync provider set NAME --password-prompt"},
	{Codes: "key_old", Do: "imapsync secret rotate"},
	{Codes: "nats", When: "asked", Say: checkNATS},
	{Codes: "stream", When: "asked nats_url", Say: checkNATS},
	{Codes: "stream", When: "asked no_jetstream", Say: "start nats-server with -js, or enable JetStream for the account"},
	{Codes: "stream_full", When: "asked", Say: "give it more room, or keep events for a shorter time: `imapsync doctor` shows how full it is"},
	{Codes: "postgres nats stream stream_full", When: "test", Say: later, Do: "{doctor} # again, later"},
	{Codes: "stream_subjects", Do: "nats stream edit {stream} --subjects '{want}'"},
	{Codes: "stream_age", Do: "nats stream edit {stream} --max-age {want}"},
	{Codes: "stream_limit", Do: "nats stream edit {stream} --max-{want} …"},
	{Codes: "stream_message_size", Do: "nats stream edit {stream} --max-msg-size={want} or more"},
	{Codes: "stream_discard", Do: "nats stream edit {stream} without --discard-per-subject"},
	{Codes: "stream_no_ack", Do: "make it again without --no-ack"},
	{Codes: "stream_retention", Do: "make it again with --retention {want}"},
	{Codes: "stream_memory", Do: "make it again with --storage {want}"},
	{Codes: "stream_ring", Do: "nats stream edit {stream} --discard {want}"},
	{Codes: "stream_short", Do: "nats stream edit {stream} --max-age {want}"},
	{Codes: "stream_replicas", Do: "set sync_interval: always in jetstream {} of nats-server.conf; or, with three servers: nats stream edit {stream} --replicas {want}"},
	{Codes: "stream_gone bucket_gone", Say: "if it will not come back: `" + makeStream + "`", Do: makeStream + " # or bring back what NATS kept it in"},
	{Codes: "events_lost", Do: "imapsync run --provider {id}"},
	{Codes: "events_missing", Say: "`" + republish + "`", Do: republish},

	// All others.
	{Codes: "stopped", Say: "run it again to go on", Do: "{doctor} # again, to its end"},
	{Codes: "unread", Say: "run it again later to go on", Do: "{doctor} # says what the server does"},
	{Codes: "bye busy cancelled capability connection fenced idle_stalled inuse limit lock_lost over_limit overquota protocol " +
		"serverbug throttled token_endpoint token_race token_throttled token_unavailable turned_away uidvalidity_changed unavailable",
		When: "test", Say: later, Do: "{doctor} # again, later"},
	{Class: fault.Transient, When: "test", Say: later, Do: "{doctor} # again, later"}, // by a code of the server's own
	{Codes: "unclassified", Do: report},                                               // said by the exit code: input that is wrong is unclassified as well
	{Codes: "panic sql", Say: isBug, Do: report},
	{Class: fault.Bug, Say: isBug, Do: report},
	{When: "test", Do: "imapsync provider show {id} # what is set, to compare with what the administrator of {host} says"},
}

// What several rows have in common.
const (
	later          = "try again later"
	checkNetwork   = "check --host, --port and the network in between"
	checkPort      = "check --port and --tls: 993 is for implicit, 143 for starttls"
	checkUser      = "check --mailbox and --username, and that whoever signed in may open this mailbox by IMAP"
	checkPassword  = "check --username and the password; some servers want an app password, or IMAP switched on in the account"
	refusedAgain   = "if it goes on, ask the administrator of the server"
	unclear        = "the server does not say why: if it goes on, "
	checkNATS      = "check [nats]"
	moreTime       = "{set} --connect-timeout 1m --command-timeout 2m # or later again: {doctor}"
	implicitTLS    = "{set} --tls implicit --port 993"
	otherTLS       = implicitTLS + " # or --tls starttls --port 143; when it is so already, later again: {doctor}"
	makeStream     = "imapsync verify --make-stream --since {since} --republish"
	republish      = "imapsync verify --provider {id} --since {since} --republish"
	otherLogin     = "use --tls implicit or starttls, or --auth oauth2"
	otherFolders   = "imapsync provider folders {id} && {set} --folder FOLDER # all that are to be read, each with --folder"
	namedSettings  = "{set} --oauth-scopes SCOPES --oauth-tenant TENANT --oauth-token-url URL # those of them that the server names"
	exchangeScopes = "{set} --oauth-scopes 'https://outlook.office.com/IMAP.AccessAsUser.All offline_access' && {auth}"
	newKey         = "make one with `imapsync secret keygen --out imapsync.key` and set IMAPSYNC_SECRET_KEY_FILE to its path"
	oldKeyFile     = "put back the key file that stored credentials were sealed with, or name it with IMAPSYNC_SECRET_KEY_FILE: a new key of `imapsync secret keygen` opens none of them"
	newKeyFile     = "make a key with `imapsync secret keygen --out {path}`"
	isBug          = "this is a bug: please report this line with what `imapsync version` prints"
	report         = "imapsync version # to be reported, with this line"
	oldKey         = "export IMAPSYNC_SECRET_KEY_FILE=FILE # the key file that stored credentials were sealed with"
)

// find returns the words for an error of p, or of none when p is nil.
func find(p *db.Provider, err error, facts ...string) fault.Word {
	about := mailsync.About(err)
	about.Facts = append(about.Facts, facts...)
	for _, name := range []string{"path", "folder", "vault"} {
		if value, ok := about.Params[name]; ok {
			about.Params[name] = shellQuote(value)
		}
	}
	if path := about.Params["path"]; strings.HasPrefix(path, "-") {
		about.Params["path"] = "./" + path // no flag
	}
	if p != nil {
		about = provider.AboutProvider(p, about)
		set, auth := "imapsync provider set "+p.ID, "imapsync provider auth "+p.ID
		renew := set + " --password-prompt"
		switch {
		case provider.NeedsPerson(p):
			renew = auth
		case p.AuthType == db.AuthOAuth2 && p.OAuthFlow == db.FlowServiceAccount:
			renew = set + " --oauth-service-account-file FILE"
		case p.AuthType == db.AuthOAuth2:
			renew = set + " --oauth-client-secret-file FILE"
		}
		maps.Copy(about.Params, map[string]string{
			"set": set, "renew": renew, "auth": auth, "doctor": "imapsync doctor " + p.ID,
			"resync": "imapsync provider resync " + p.ID + " --folder " + about.Params["folder"],
		})
		if p.LostSince != nil {
			about.Params["since"] = p.LostSince.UTC().Format(time.DateOnly)
		}
	}
	word := words.Find(about)
	if strings.Contains(word.Say, "{") {
		word.Say = "" // it is about a mailbox, of which nothing is known here
	}
	return word
}

func storedError(p *db.Provider) string {
	return fault.Ended(p.LastError, find(p, &fault.Error{Code: p.LastErrorCode}).Say)
}

// remedy is what to do about a step of a stored mailbox that is not ok.
func remedy(p *db.Provider, s provider.Step) string {
	switch {
	case s.State == provider.StepOK:
		return ""
	case s.Err == nil:
		s.Err = &fault.Error{Class: s.Class, Code: s.Code}
	}
	return find(p, s.Err, "test", "sealed", s.Name).Do
}

type worded struct {
	err  error
	text string
}

func (e *worded) Error() string { return e.text }
func (e *worded) Unwrap() error { return e.err }

// inWords is an error of a mailbox in the words of the command line.
func inWords(p *db.Provider, err error, facts ...string) error {
	if err == nil || p == nil {
		return err
	}
	return &worded{err, told(err, func(err error) string { return find(p, err, facts...).Say })}
}

// message is what a person is told: one line for each thing that is wrong. What
// is about Postgres or NATS names the setting and where it leads.
func (a *app) message(err error) string {
	servers, _ := publish.Servers(a.natsURL) // unreadable: the error says so
	locks := ""
	if a.lockDatabaseURL != "" {
		locks = " and --lock-database-url (LOCK_DATABASE_URL)" + led(", now ", db.Servers(a.lockDatabaseURL))
	}
	settings := strings.NewReplacer("[locks]", locks, "[key]", led(", now ", a.secretKeyFile),
		"[database]", "--database-url (DATABASE_URL)"+led(", now ", db.Servers(a.databaseURL)),
		"[nats]", "--nats-url (NATS_URL)"+led(", now ", servers)+led(" and --nats-creds (NATS_CREDS), now ", a.natsCreds))
	return told(err, func(err error) string { return settings.Replace(find(nil, err, "asked").Say) })
}

// led is text behind what leads to it, nothing when there is none.
func led(by, text string) string {
	if text == "" {
		return ""
	}
	return by + text
}

// forecast is when a credential will die, and what to do before.
type forecast struct {
	oauth.Forecast
	Fix string `json:"fix,omitempty"`
}

func forecasts(p *db.Provider, now time.Time) (list []forecast) {
	for _, f := range provider.Forecasts(p, now) {
		one := forecast{Forecast: f}
		if f.Warn {
			one.Fix = find(p, &fault.Error{Code: f.Credential}).Do
		}
		list = append(list, one)
	}
	return list
}

// told is the text of an error with what say has to say about it; of several
// that were joined, about each.
func told(err error, say func(error) string) string {
	text := strings.TrimSpace(err.Error())
	if _, done := errors.AsType[*worded](err); done {
		return text
	}
	for inner := err; inner != nil; inner = errors.Unwrap(inner) {
		several, ok := inner.(interface{ Unwrap() []error })
		if !ok {
			continue
		}
		if lines := strings.Split(inner.Error(), "\n"); len(lines) == len(several.Unwrap()) && len(lines) > 1 && strings.Contains(text, inner.Error()) {
			for i, one := range several.Unwrap() {
				lines[i] = told(one, say)
			}
			return strings.Replace(text, inner.Error(), strings.Join(lines, "\n"), 1)
		}
		break
	}
	return fault.Ended(text, say(err))
}
