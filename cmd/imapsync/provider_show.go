package main

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/provider"
)

// providerView is a provider as list and show print it in JSON: settings under
// the names of their flags, and state. There is no secret in it.
type providerView struct {
	Tenant                   string     `json:"tenant"`
	ID                       string     `json:"id"`
	Name                     string     `json:"name"`
	Mailbox                  string     `json:"mailbox"`
	Host                     string     `json:"host"`
	Port                     int        `json:"port"`
	TLS                      string     `json:"tls"`
	CAPEM                    string     `json:"caPem,omitempty"`
	TLSServerName            string     `json:"tlsServerName,omitempty"`
	Auth                     string     `json:"auth"`
	EagerLogin               bool       `json:"eagerLogin,omitempty"`
	OAuthPreset              string     `json:"oauthPreset,omitempty"`
	OAuthFlow                string     `json:"oauthFlow,omitempty"`
	OAuthClientID            string     `json:"oauthClientId,omitempty"`
	OAuthTenant              string     `json:"oauthTenant,omitempty"`
	OAuthScopes              string     `json:"oauthScopes,omitempty"` // here and below: absent means the preset's
	OAuthAuthorizeURL        string     `json:"oauthAuthorizeUrl,omitempty"`
	OAuthTokenURL            string     `json:"oauthTokenUrl,omitempty"`
	OAuthDeviceURL           string     `json:"oauthDeviceUrl,omitempty"`
	OAuthSecretExpires       string     `json:"oauthClientSecretExpires,omitempty"`
	AuthorisedAt             *time.Time `json:"authorisedAt,omitempty"`
	TokenExpiresAt           *time.Time `json:"tokenExpiresAt,omitempty"`
	Username                 string     `json:"username"`
	Folders                  []string   `json:"folders"` // as configured; none means INBOX
	MaxEmailsPerSync         int        `json:"maxEmailsPerSync"`
	Start                    string     `json:"start"`
	DefaultsID               string     `json:"defaultsId,omitempty"`
	ConnectTimeoutMS         int        `json:"connectTimeoutMs,omitempty"` // here and below: absent means the run's
	CommandTimeoutMS         int        `json:"commandTimeoutMs,omitempty"`
	LiteralTimeoutMS         int        `json:"literalTimeoutMs,omitempty"`
	PassTimeoutMS            int        `json:"passTimeoutMs,omitempty"`
	MaxMessageBytes          int64      `json:"maxMessageBytes,omitempty"`
	MaxAttachmentBytes       int64      `json:"maxAttachmentBytes,omitempty"`
	MaxAttachmentsTotalBytes int64      `json:"maxAttachmentsTotalBytes,omitempty"`
	MaxAttachments           int        `json:"maxAttachments,omitempty"`
	MaxBytesPerDay           int64      `json:"maxBytesPerDay,omitempty"` // absent means no quota
	Active                   bool       `json:"active"`
	Status                   string     `json:"status"`
	PausedAt                 *time.Time `json:"pausedAt,omitempty"`
	PauseReason              string     `json:"pauseReason,omitempty"`
	LastSyncAt               *time.Time `json:"lastSyncAt,omitempty"`
	LastAttemptAt            *time.Time `json:"lastAttemptAt,omitempty"`
	LastSuccessAt            *time.Time `json:"lastSuccessAt,omitempty"`
	NextAttemptAt            *time.Time `json:"nextAttemptAt,omitempty"`
	ConsecutiveFailures      int        `json:"consecutiveFailures"`
	AuthFailures             int        `json:"authFailures"`
	ErrorCode                string     `json:"errorCode,omitempty"`
	Error                    string     `json:"error,omitempty"`
	Published                int64      `json:"published"`
	Duplicates               int64      `json:"duplicates"`
	Quarantined              int64      `json:"quarantined"`
	CreatedAt                time.Time  `json:"createdAt"`
}

func viewOf(p *db.Provider) providerView {
	return providerView{
		Tenant: p.Tenant, ID: p.ID, Name: p.Name, Mailbox: p.Mailbox, Host: p.Host, Port: p.Port, TLS: string(p.TLS),
		OAuthPreset: p.OAuthPreset, OAuthFlow: p.OAuthFlow, OAuthClientID: p.OAuthClientID, OAuthTenant: p.OAuthTenant,
		OAuthScopes: p.OAuthScopes, OAuthAuthorizeURL: p.OAuthAuthorize, OAuthTokenURL: p.OAuthToken,
		OAuthDeviceURL: p.OAuthDevice, OAuthSecretExpires: provider.DateOf(p.SecretExpiresAt), AuthorisedAt: p.AuthorisedAt,
		TokenExpiresAt: p.TokenExpiresAt,
		CAPEM:          p.CAPEM, TLSServerName: p.TLSServerName, EagerLogin: p.EagerLogin, Auth: p.AuthType, Username: p.Username,
		Folders: append([]string{}, p.Folders...), MaxEmailsPerSync: p.MaxEmailsPerSync, Start: p.Start,
		DefaultsID: p.DefaultsID, ConnectTimeoutMS: p.ConnectTimeoutMS, CommandTimeoutMS: p.CommandTimeoutMS,
		LiteralTimeoutMS: p.LiteralTimeoutMS, PassTimeoutMS: p.PassTimeoutMS, MaxMessageBytes: p.MaxMessageBytes, MaxAttachmentBytes: p.MaxAttachment,
		MaxAttachmentsTotalBytes: p.MaxAttachments, MaxAttachments: p.MaxAttachmentN, MaxBytesPerDay: p.MaxBytesPerDay, Active: p.Active, Status: p.Status,
		PausedAt: p.PausedAt, PauseReason: p.PauseReason, LastSyncAt: p.LastSyncAt, LastAttemptAt: p.LastAttemptAt,
		LastSuccessAt: p.LastSuccessAt, NextAttemptAt: p.NextAttemptAt, ConsecutiveFailures: p.ConsecutiveFailures,
		AuthFailures: p.AuthFailures, ErrorCode: p.LastErrorCode, Error: cmp.Or(p.LastError, p.ErrorMessage),
		Published: p.Published, Duplicates: p.Duplicates, Quarantined: p.Quarantined, CreatedAt: p.CreatedAt,
	}
}

func newProviderList(a *app) *cobra.Command {
	var tenant, output string
	cmd := &cobra.Command{
		Use: "list", Short: "List the mailboxes", Long: "List the mailboxes of all tenants, or of one." + exitCodesPointer,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			list, err := store.ListProviders(cmd.Context(), tenant)
			if err != nil {
				return err
			}
			views := []providerView{}
			for _, p := range list {
				views = append(views, viewOf(p))
			}
			if output == "json" {
				return a.printJSON(views)
			}
			return a.printProviders(views)
		},
	}
	tenantFlag(cmd, &tenant)
	outputFlag(cmd, &output)
	return cmd
}

// maxErrorRunes is how much of an error a table shows.
const maxErrorRunes = 60

func (a *app) printProviders(list []providerView) error {
	if len(list) == 0 {
		a.notef(noProvider)
		return nil
	}
	now := time.Now()
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tID\tMAILBOX\tHOST\tSTATUS\tPAUSED\tLAST SYNC\tLAST ERROR")
	for _, p := range list {
		paused := "-"
		if p.PausedAt != nil {
			paused = cmp.Or(p.PauseReason, "yes")
		}
		message := []rune(provider.OneLine(p.Error))
		if len(message) > maxErrorRunes {
			message = append(message[:maxErrorRunes], '…')
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, p.ID, p.Mailbox, p.Host, p.Status, paused,
			ago(p.LastSyncAt, now), string(message))
	}
	return w.Flush()
}

func newProviderShow(a *app) *cobra.Command {
	var tenant, output string
	cmd := &cobra.Command{
		Use: "show PROVIDER", Short: "Show all settings and the state of a mailbox",
		Long: "Show all settings and the state of a mailbox. A password is never shown. Where its folders\n" +
			"stand is for `imapsync status`." + exitCodesPointer,
		Example: "  imapsync provider show support -o json",
		Args:    oneProvider,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withProvider(cmd.Context(), args[0], tenant, func(_ *db.Store, p *db.Provider) error {
				if output == "json" {
					return a.printJSON(viewOf(p))
				}
				return a.printProvider(viewOf(p))
			})
		},
	}
	tenantFlag(cmd, &tenant)
	outputFlag(cmd, &output)
	return cmd
}

func (a *app) printProvider(p providerView) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	folders := "INBOX"
	if len(p.Folders) > 0 {
		folders = strings.Join(p.Folders, ", ")
	}
	rows := [][2]string{
		{"name", p.Name}, {"id", p.ID}, {"tenant", p.Tenant}, {"mailbox", p.Mailbox},
		{"server", net.JoinHostPort(p.Host, strconv.Itoa(p.Port))}, {"tls", p.TLS}, {"ca-file", authority(p.CAPEM)},
		{"tls-server-name", cmp.Or(p.TLSServerName, "the host")}, {"auth", p.Auth}, {"username", p.Username}, {"eager-login", strconv.FormatBool(p.EagerLogin)},
		{"folder", folders}, {"max-emails-per-sync", strconv.Itoa(p.MaxEmailsPerSync)}, {"start", p.Start},
		{"defaults-id", cmp.Or(p.DefaultsID, "none")}, {"connect-timeout", ownTime(p.ConnectTimeoutMS)},
		{"command-timeout", ownTime(p.CommandTimeoutMS)}, {"literal-timeout", ownTime(p.LiteralTimeoutMS)},
		{"pass-timeout", ownTime(p.PassTimeoutMS)}, {"max-message-bytes", ownCap(p.MaxMessageBytes)}, {"max-attachment-bytes", ownCap(p.MaxAttachmentBytes)},
		{"max-attachments-total-bytes", ownCap(p.MaxAttachmentsTotalBytes)},
		{"max-attachments", ownCap(int64(p.MaxAttachments))}, {"max-bytes-per-day", quota(p.MaxBytesPerDay)}, {"", ""},
		{"status", p.Status}, {"active", strconv.FormatBool(p.Active)}, {"paused", pausedText(p)},
		{"created", moment(&p.CreatedAt)}, {"last sync", moment(p.LastSyncAt)}, {"last attempt", moment(p.LastAttemptAt)},
		{"last success", moment(p.LastSuccessAt)}, {"next attempt", nextAttempt(p)},
		{"failures in a row", strconv.Itoa(p.ConsecutiveFailures)}, {"login failures in a row", strconv.Itoa(p.AuthFailures)},
		{"last error", cmp.Or(strings.TrimPrefix(p.ErrorCode+": "+provider.OneLine(p.Error), ": "), "none")},
		{"published", strconv.FormatInt(p.Published, 10)}, {"duplicates", strconv.FormatInt(p.Duplicates, 10)},
		{"quarantined", strconv.FormatInt(p.Quarantined, 10)},
	}
	for _, row := range append(rows, p.oauthRows()...) {
		fmt.Fprintf(w, "%s\t%s\n", row[0], row[1])
	}
	return w.Flush()
}

// oauthRows are what a mailbox with tokens has beside.
func (p providerView) oauthRows() [][2]string {
	if p.Auth != db.AuthOAuth2 {
		return nil
	}
	return [][2]string{
		{"", ""}, {"oauth-preset", p.OAuthPreset}, {"oauth-flow", p.OAuthFlow}, {"oauth-client-id", cmp.Or(p.OAuthClientID, "none")},
		{"oauth-tenant", cmp.Or(p.OAuthTenant, "the preset's")}, {"oauth-scopes", cmp.Or(p.OAuthScopes, "the preset's")},
		{"oauth-authorize-url", cmp.Or(p.OAuthAuthorizeURL, "the preset's")}, {"oauth-token-url", cmp.Or(p.OAuthTokenURL, "the preset's")},
		{"oauth-device-url", cmp.Or(p.OAuthDeviceURL, "the preset's")},
		{"oauth-client-secret-expires", cmp.Or(p.OAuthSecretExpires, "not known")},
		{"authorised", moment(p.AuthorisedAt)}, {"token expires", moment(p.TokenExpiresAt)},
	}
}

// authority names the certificates of a PEM.
func authority(caPEM string) string {
	if caPEM == "" {
		return "the system's"
	}
	var names []string
	for rest := []byte(caPEM); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return cmp.Or(strings.Join(names, "; "), "of its own")
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			names = append(names, provider.OneLine(cert.Subject.String()))
		}
	}
}

func ownTime(ms int) string {
	if ms == 0 {
		return "the run's"
	}
	return (time.Duration(ms) * time.Millisecond).String()
}

func ownCap(n int64) string {
	if n == 0 {
		return "the run's"
	}
	return strconv.FormatInt(n, 10)
}

func quota(n int64) string {
	if n == 0 {
		return "no quota"
	}
	return strconv.FormatInt(n, 10)
}

func pausedText(p providerView) string {
	if p.PausedAt == nil {
		return "no"
	}
	return fmt.Sprintf("since %s (%s)", moment(p.PausedAt), cmp.Or(p.PauseReason, "no reason given"))
}

func nextAttempt(p providerView) string {
	if p.NextAttemptAt == nil {
		return "with the next run"
	}
	return moment(p.NextAttemptAt)
}

// moment writes a time, in UTC.
func moment(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}
