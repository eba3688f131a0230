package main

import (
	"errors"
	"net"
	"strconv"
	"strings"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/provider"
	"imapsync/secret"
	mailsync "imapsync/sync"
)

// remedy is what to do about a step of a stored mailbox that is not ok: one line
// to paste, in which capitals stand for what only a person knows; where no
// command can mend it, who can. It names the mailbox by its id, which needs no
// quotes and is nobody else's in another tenant.
func remedy(p *db.Provider, s mailsync.Step) string {
	if s.State == mailsync.StepOK || s.Fix != "" {
		return s.Fix
	}
	set, again := "imapsync provider set "+p.ID, "imapsync doctor "+p.ID
	switch s.Code {
	case "secret", "secret_unavailable":
		return credentialRemedy(p, s.Err)
	case "host_not_found":
		return set + " --host HOST"
	case "dns":
		return again + " # once this machine can look up " + p.Host + ": see /etc/resolv.conf"
	case "connect":
		return set + " --host HOST --port PORT # or open the way from this machine to " + net.JoinHostPort(p.Host, strconv.Itoa(p.Port))
	case "timeout", "pass_timeout":
		return set + " --connect-timeout 1m --command-timeout 2m # or later again: " + again
	case "folder_missing", "no_permission":
		return "imapsync provider folders " + p.ID + " && " + set + " --folder FOLDER # all that are to be read, each with --folder"
	case "start":
		return set + " --start recent"
	case "no_header":
		return "imapsync quarantine list --provider " + p.ID
	}
	if fix := tlsRemedy(p, s.Code, set, again); fix != "" {
		return fix
	}
	if fix := loginRemedy(p, s, set); fix != "" {
		return fix
	}
	switch s.Class {
	case fault.Config, fault.Auth, fault.Message:
		return "imapsync provider show " + p.ID + " # what is set, to compare with what whoever runs " + p.Host + " says"
	case fault.Bug:
		return "imapsync version # to be reported, with this line"
	case fault.Transient:
	}
	return again + " # again, later"
}

// tlsRemedy is what to do when a connection cannot be secured; "" when that is
// not what is wrong.
func tlsRemedy(p *db.Provider, code, set, again string) string {
	const implicit = " --tls implicit --port 993"
	switch code {
	case "tls_host":
		return set + " --tls-server-name NAME # as the certificate has it; or --host HOST"
	case "ca_file", "tls_self_signed", "tls_unknown_ca":
		return set + " --ca-file FILE"
	case "tls_not_yet_valid":
		return "timedatectl # this machine's clock; if it is right, let whoever runs " + p.Host + " set that of the server"
	case "tls_expired", "tls_certificate":
		return "let whoever runs " + p.Host + " renew its certificate"
	case "tls_version", "tls_handshake":
		return "let whoever runs " + p.Host + " bring it up to date"
	case "tls_not_spoken":
		return set + " --tls starttls --port " + strconv.Itoa(p.Port) + " # or" + implicit
	case "starttls_tls", "starttls_timeout":
		return set + " --tls implicit --port " + strconv.Itoa(p.Port)
	case "starttls_missing", "starttls_refused", "starttls_preauth", "privacy_required":
		return set + implicit
	case "starttls_injected":
		return set + implicit + " # and find out who stands between this machine and " + p.Host
	case "tls", "tls_timeout", "starttls", "greeting":
		return set + implicit + " # or --tls starttls --port 143; when it is so already, later again: " + again
	}
	return ""
}

// loginRemedy is what to do when the server does not take who logs in, or the
// token endpoint gives nothing to log in with; "" when that is not what is wrong.
func loginRemedy(p *db.Provider, s mailsync.Step, set string) string {
	auth := "imapsync provider auth " + p.ID
	switch {
	case s.Code == "login_disabled" && p.EagerLogin:
		return set + " --eager-login=false"
	case s.Code == "login_disabled" && p.TLS == db.TLSNone:
		return set + " --tls implicit --port 993"
	case s.Code == "login_disabled":
		return set + " --auth oauth2 --oauth-preset PRESET --oauth-client-id ID --oauth-client-secret-file FILE"
	case s.Code == "no_oauth":
		return set + " --auth password --password-prompt"
	case s.Code == "preauth":
		return set + " --host HOST --port PORT # this one lets in whoever comes"
	case s.Class == fault.Auth && p.AuthType != db.AuthOAuth2:
		return set + " --password-prompt # or --username NAME; some servers want an app password, or IMAP switched on in the account"
	case s.Code == "invalid_client":
		return set + " --oauth-client-id ID --oauth-client-secret-file FILE"
	case s.Code == "service_account":
		return set + " --oauth-service-account-file FILE"
	case s.Code == "not_authorised", s.Code == "invalid_grant" && provider.NeedsPerson(p):
		return auth
	case s.Class == fault.Auth && provider.NeedsPerson(p):
		return auth + " # as somebody who may open " + p.Mailbox + " by IMAP; or: " + set + " --username NAME"
	case s.Class == fault.Auth:
		return set + " --username NAME # and let the app open that mailbox by IMAP"
	case s.Class == fault.Config && s.Name == "token":
		return set + " --oauth-scopes SCOPES --oauth-tenant TENANT --oauth-token-url URL # those of them that the server names"
	}
	return ""
}

// credentialRemedy is what to do when what a mailbox logs in with cannot be had.
func credentialRemedy(p *db.Provider, err error) string {
	anew := "imapsync provider set " + p.ID + " --password-prompt"
	switch {
	case p.AuthType == db.AuthOAuth2 && provider.NeedsPerson(p):
		anew = "imapsync provider auth " + p.ID
	case p.AuthType == db.AuthOAuth2 && p.OAuthFlow == db.FlowServiceAccount:
		anew = "imapsync provider set " + p.ID + " --oauth-service-account-file FILE"
	case p.AuthType == db.AuthOAuth2:
		anew = "imapsync provider set " + p.ID + " --oauth-client-secret-file FILE"
	}
	switch {
	case errors.Is(err, secret.ErrAbsent):
		return anew + " # or put it where it was looked for"
	case errors.Is(err, secret.ErrUnknownKey):
		return anew + " # or put the old key back into the key file, below the first line"
	case errors.Is(err, secret.ErrNotAuthentic), errors.Is(err, secret.ErrEnvelope):
		return anew
	case errors.Is(err, secret.ErrUnavailable):
		return "imapsync doctor " + p.ID + " # again, later"
	case errors.Is(err, secret.ErrSettings):
		return "imapsync doctor " + p.ID + " # again, with the settings that it names put right"
	}
	return keyRemedy(err, true)
}

// keyRemedy is what to do when there is no key to open stored credentials with;
// sealed says that there are some, which a new key does not open.
func keyRemedy(err error, sealed bool) string {
	fe, isFile := errors.AsType[*secret.FileError](err)
	switch {
	case isFile && fe.Fix != "":
		return strings.TrimPrefix(fe.Fix, "run: ")
	case sealed:
		return "export IMAPSYNC_SECRET_KEY_FILE=FILE # the key file that stored credentials were sealed with"
	case isFile:
		return "imapsync secret keygen --out " + shellQuote(fe.Path)
	}
	return "imapsync secret keygen --out imapsync.key && export IMAPSYNC_SECRET_KEY_FILE=$PWD/imapsync.key"
}

// vaultRemedy is what to do when Vault gives nothing.
func vaultRemedy(address string, err error) string {
	if errors.Is(err, secret.ErrUnavailable) {
		return "vault status -address=" + shellQuote(address)
	}
	return "vault token lookup -address=" + shellQuote(address) + " # or what IMAPSYNC_VAULT_AUTH logs in with"
}
