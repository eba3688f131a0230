package provider

import (
	"slices"
	"time"

	"imapsync/db"
)

// DefaultPort is the usual port of a mode.
func DefaultPort(mode db.TLSMode) int {
	if mode == db.TLSStartTLS || mode == db.TLSNone {
		return 143
	}
	return 993
}

// orInbox spells out what no folder means.
func orInbox(names db.FolderNames) db.FolderNames {
	if len(names) == 0 {
		return db.FolderNames{"INBOX"}
	}
	return names
}

// Changed names the settings that differ, for the audit log.
func Changed(was, is *db.Provider) []string {
	var fields []string
	for _, f := range []struct {
		name    string
		changed bool
	}{
		{"name", was.Name != is.Name}, {"mailbox", was.Mailbox != is.Mailbox}, {"host", was.Host != is.Host},
		{"port", was.Port != is.Port}, {"tls", was.TLS != is.TLS}, {"ca-file", was.CAPEM != is.CAPEM},
		{"eager-login", was.EagerLogin != is.EagerLogin},
		{"tls-server-name", was.TLSServerName != is.TLSServerName}, {"auth", was.AuthType != is.AuthType},
		{"username", was.Username != is.Username}, {"folder", !slices.Equal(orInbox(was.Folders), orInbox(is.Folders))},
		{"max-emails-per-sync", was.MaxEmailsPerSync != is.MaxEmailsPerSync}, {"start", was.Start != is.Start},
		{"defaults-id", was.DefaultsID != is.DefaultsID}, {"active", was.Active != is.Active},
		{"connect-timeout", was.ConnectTimeoutMS != is.ConnectTimeoutMS},
		{"command-timeout", was.CommandTimeoutMS != is.CommandTimeoutMS},
		{"literal-timeout", was.LiteralTimeoutMS != is.LiteralTimeoutMS},
		{"pass-timeout", was.PassTimeoutMS != is.PassTimeoutMS},
		{"max-message-bytes", was.MaxMessageBytes != is.MaxMessageBytes},
		{"max-attachment-bytes", was.MaxAttachment != is.MaxAttachment},
		{"max-attachments-total-bytes", was.MaxAttachments != is.MaxAttachments},
		{"max-attachments", was.MaxAttachmentN != is.MaxAttachmentN},
		{"max-bytes-per-day", was.MaxBytesPerDay != is.MaxBytesPerDay},
		{"oauth-preset", was.OAuthPreset != is.OAuthPreset}, {"oauth-flow", was.OAuthFlow != is.OAuthFlow},
		{"oauth-client-id", was.OAuthClientID != is.OAuthClientID}, {"oauth-authorize-url", was.OAuthAuthorize != is.OAuthAuthorize},
		{"oauth-token-url", was.OAuthToken != is.OAuthToken}, {"oauth-device-url", was.OAuthDevice != is.OAuthDevice},
		{"oauth-scopes", was.OAuthScopes != is.OAuthScopes}, {"oauth-tenant", was.OAuthTenant != is.OAuthTenant},
		{"oauth-client-secret-expires", DateOf(was.SecretExpiresAt) != DateOf(is.SecretExpiresAt)},
	} {
		if f.changed {
			fields = append(fields, f.name)
		}
	}
	return fields
}

// connectionFields are the settings that a test of the connection proves.
var connectionFields = [...]string{"host", "port", "tls", "ca-file", "tls-server-name", "auth", "username", "eager-login", "folder",
	"oauth-preset", "oauth-flow", "oauth-client-id", "oauth-token-url", "oauth-scopes", "oauth-tenant"}

// signInFields are the settings that a person's consent is bound to: when one
// changes, what was granted is worth nothing and there is nothing to test.
var signInFields = [...]string{"auth", "oauth-preset", "oauth-flow", "oauth-client-id", "oauth-token-url", "oauth-scopes", "oauth-tenant"}

func needsTest(changed []string) bool {
	return slices.ContainsFunc(changed, func(field string) bool { return slices.Contains(connectionFields[:], field) })
}

// SignInAgain reports whether a change makes what a person granted worthless.
func SignInAgain(p *db.Provider, changed []string) bool {
	return NeedsPerson(p) && slices.ContainsFunc(changed, func(field string) bool { return slices.Contains(signInFields[:], field) })
}

// DateOf writes a day.
func DateOf(t *time.Time) string {
	if t == nil {
		return ""
	}
	return t.Format(time.DateOnly)
}
