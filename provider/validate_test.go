package provider

import (
	"strings"
	"testing"

	"imapsync/db"

	"github.com/google/go-cmp/cmp"
)

func valid() *db.Provider {
	return &db.Provider{
		Settings: db.Settings{
			Tenant: db.DefaultTenant, Name: "support", Mailbox: "support@example.com", Host: "imap.example.com", Port: 993,
			TLS: db.TLSImplicit, AuthType: db.AuthPassword, Username: "support@example.com", MaxEmailsPerSync: 50, Start: "recent",
		},
	}
}

// withOAuth makes a provider one that logs in with tokens.
func withOAuth(preset, flow string, change func(p *db.Provider)) func(p *db.Provider) {
	return func(p *db.Provider) {
		p.AuthType, p.OAuthPreset, p.OAuthFlow, p.OAuthClientID = db.AuthOAuth2, preset, flow, "app"
		if change != nil {
			change(p)
		}
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		name   string
		change func(p *db.Provider)
		want   []string // fields, in this order
	}{
		{"a good one", func(*db.Provider) {}, nil},
		{"nothing at all", func(p *db.Provider) { *p = db.Provider{} },
			[]string{"tenant", "name", "mailbox", "host", "port", "tls", "auth", "username", "max-emails-per-sync", "start"}},
		{"IPv4", func(p *db.Provider) { p.Host = "192.0.2.1" }, nil},
		{"IPv6", func(p *db.Provider) { p.Host = "2001:db8::1" }, nil},
		{"localhost", func(p *db.Provider) { p.Host = "localhost" }, nil},
		{"a digit too many", func(p *db.Provider) { p.Host = "192.0.2.1.1" }, []string{"host"}},
		{"IPv6 in brackets", func(p *db.Provider) { p.Host = "[2001:db8::1]" }, []string{"host"}},
		{"URL", func(p *db.Provider) { p.Host = "imaps://imap.example.com" }, []string{"host"}},
		{"host and port", func(p *db.Provider) { p.Host = "imap.example.com:993" }, []string{"host"}},
		{"space in host", func(p *db.Provider) { p.Host = "imap example" }, []string{"host"}},
		{"umlaut in host", func(p *db.Provider) { p.Host = "müller.example" }, []string{"host"}},
		{"port 0", func(p *db.Provider) { p.Port = 0 }, []string{"port"}},
		{"port 65536", func(p *db.Provider) { p.Port = 65536 }, []string{"port"}},
		{"highest port", func(p *db.Provider) { p.Port = 65535 }, nil},
		{"mailbox without at", func(p *db.Provider) { p.Mailbox = "support" }, []string{"mailbox"}},
		{"mailbox with a name", func(p *db.Provider) { p.Mailbox = "Support <support@example.com>" }, []string{"mailbox"}},
		{"two mailboxes", func(p *db.Provider) { p.Mailbox = "a@example.com, b@example.com" }, []string{"mailbox"}},
		{"mailbox in UTF-8", func(p *db.Provider) { p.Mailbox = "почта@example.com" }, nil},
		{"a line break in the user name", func(p *db.Provider) { p.Username = "a\r\nA1 LOGOUT" }, []string{"username"}},
		{"a UUID for a name", func(p *db.Provider) { p.Name = db.DefaultTenant }, []string{"name"}},
		{"NUL in the name", func(p *db.Provider) { p.Name = "a\x00" }, []string{"name"}},
		{"nil tenant", func(p *db.Provider) { p.Tenant = "00000000-0000-0000-0000-000000000000" }, nil},
		{"tenant in braces", func(p *db.Provider) { p.Tenant = "{" + db.DefaultTenant + "}" }, []string{"tenant"}},
		{"tenant in capitals", func(p *db.Provider) { p.Tenant = "ABCDEF00-0000-4000-8000-000000000000" }, []string{"tenant"}},
		{"another login", func(p *db.Provider) { p.AuthType = "kerberos" }, []string{"auth"}},
		{"oauth2 with nothing", func(p *db.Provider) { p.AuthType = db.AuthOAuth2 }, []string{"oauth-preset", "oauth-client-id"}},
		{"google", withOAuth(db.PresetGoogle, db.FlowCode, nil), nil},
		{"google by device", withOAuth(db.PresetGoogle, db.FlowDevice, nil), []string{"oauth-flow"}},
		{"google service account", withOAuth(db.PresetGoogle, db.FlowServiceAccount, func(p *db.Provider) { p.OAuthClientID = "" }), nil},
		{"microsoft by device", withOAuth(db.PresetMicrosoft, db.FlowDevice, nil), nil},
		{"microsoft app", withOAuth(db.PresetMicrosoft, db.FlowClientCredentials, func(p *db.Provider) { p.OAuthTenant = "example.com" }), nil},
		{"microsoft app of no tenant", withOAuth(db.PresetMicrosoft, db.FlowClientCredentials, func(p *db.Provider) { p.OAuthTenant = "common" }), []string{"oauth-tenant"}},
		{"a path for a tenant", withOAuth(db.PresetMicrosoft, db.FlowCode, func(p *db.Provider) { p.OAuthTenant = "../x" }), []string{"oauth-tenant"}},
		{"custom without addresses", withOAuth(db.PresetCustom, db.FlowCode, nil), []string{"oauth-authorize-url", "oauth-token-url"}},
		{"custom device without addresses", withOAuth(db.PresetCustom, db.FlowDevice, nil), []string{"oauth-token-url", "oauth-device-url"}},
		{"token address in the clear", withOAuth(db.PresetGoogle, db.FlowCode, func(p *db.Provider) { p.OAuthToken = "http://login.example.com/token" }), []string{"oauth-token-url"}},
		{"token address on this machine", withOAuth(db.PresetGoogle, db.FlowCode, func(p *db.Provider) { p.OAuthToken = "http://127.0.0.1:8080/token" }), nil},
		{"password in an address", withOAuth(db.PresetGoogle, db.FlowCode, func(p *db.Provider) { p.OAuthToken = "https://a:b@example.com/token" }), []string{"oauth-token-url"}},
		{"no address", withOAuth(db.PresetGoogle, db.FlowCode, func(p *db.Provider) { p.OAuthToken = "login.example.com" }), []string{"oauth-token-url"}},
		{"folders", func(p *db.Provider) { p.Folders = db.FolderNames{"INBOX", "Support/Neu, alt", "Archive/*", "受信"} }, nil},
		{"bad folders", func(p *db.Provider) { p.Folders = db.FolderNames{"", "a\n", "b", "b"} }, []string{"folder", "folder", "folder"}},
		{"no budget", func(p *db.Provider) { p.MaxEmailsPerSync = 0 }, []string{"max-emails-per-sync"}},
		{"CA", func(p *db.Provider) { p.CAPEM = "not PEM" }, []string{"ca"}},
		{"TLS server name", func(p *db.Provider) { p.TLSServerName = "a b" }, []string{"tls-server-name"}},
		{"defaults", func(p *db.Provider) { p.DefaultsID = "7" }, []string{"defaults-id"}},
		{"timeouts", func(p *db.Provider) {
			p.ConnectTimeoutMS, p.CommandTimeoutMS, p.LiteralTimeoutMS, p.PassTimeoutMS = 1, -1, 3_600_001, 86_400_001
		}, []string{"connect-timeout", "command-timeout", "literal-timeout", "pass-timeout"}},
		{"caps", func(p *db.Provider) {
			p.MaxMessageBytes, p.MaxAttachment, p.MaxAttachments, p.MaxAttachmentN = -1, -1, -1, -1
		}, []string{"max-message-bytes", "max-attachment-bytes", "max-attachments-total-bytes", "max-attachments"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := valid()
			tt.change(p)
			var got []string
			for _, problem := range Validate(p) {
				got = append(got, problem.Setting)
				if problem.Message(nil) == "" || strings.ContainsFunc(problem.Message(nil), func(r rune) bool { return r < ' ' }) {
					t.Errorf("%s: %q is not one clear line", problem.Setting, problem.Message(nil))
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("fields (-want +got):\n%s%v", diff, Validate(p))
			}
		})
	}
}

func TestValidStart(t *testing.T) {
	for start, want := range map[string]bool{
		"recent": true, "all": true, "none": true, "since:30d": true, "since:0d": true, "since:2026-01-31": true,
		"": false, "Recent": false, "since:": false, "since:030d": false, "since:-1d": false, "since:30": false,
		"since:2026-02-30": false, "30d": false, "since:30d\n": false,
	} {
		if got := validStart(start); got != want {
			t.Errorf("validStart(%q) = %v, want %v", start, got, want)
		}
	}
}
