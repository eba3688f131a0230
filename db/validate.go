package db

import (
	"crypto/x509"
	"fmt"
	"net/mail"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
)

// DefaultTenant is the tenant of providers for which none was named. It is not
// the nil UUID: strict consumers of the events refuse that one.
const DefaultTenant = "00000000-0000-4000-8000-000000000000"

// AuthPassword is the value of Provider.AuthType for a login with a password.
const AuthPassword = "password"

// Problem is one thing that is wrong with a provider's settings. Field is the
// name of the flag and of the form field, such as "max-emails-per-sync".
type Problem struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

// Bounds of a provider's settings.
const (
	maxNameRunes     = 200
	maxMailboxBytes  = 254 // RFC 5321 section 4.5.3.1.3, without the brackets
	maxHostBytes     = 253
	maxUsernameBytes = 500
	maxFolderBytes   = 1000
	maxFolders       = 1000
	maxPerSync       = 1_000_000
	maxAttachmentN   = 10_000
)

// Validate returns everything that is wrong with the settings of p, in the
// order of the form. Whether the server agrees is for a test to find out.
func (p *Provider) Validate() []Problem {
	var v validation
	v.uuid("tenant", p.Tenant)
	v.text("name", p.Name, maxNameRunes*utf8.UTFMax, "give the provider a name")
	if _, err := uuid.Parse(p.Name); err == nil {
		v.wrong("name", "%q would be taken for an id: choose a name that is no UUID", p.Name)
	}
	if utf8.RuneCountInString(p.Name) > maxNameRunes {
		v.wrong("name", "longer than %d characters", maxNameRunes)
	}
	v.mailbox(p.Mailbox)
	v.host("host", p.Host, "give the IMAP server, e.g. imap.example.com")
	if p.Port < 1 || p.Port > 65535 {
		v.wrong("port", "%d is not between 1 and 65535", p.Port)
	}
	if !slices.Contains([]TLSMode{TLSImplicit, TLSStartTLS, TLSNone}, p.TLS) {
		v.wrong("tls", "%q: use implicit, starttls or none", p.TLS)
	}
	if p.CAPEM != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(p.CAPEM)) {
		v.wrong("ca-file", "it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
	}
	if p.TLSServerName != "" {
		v.host("tls-server-name", p.TLSServerName, "")
	}
	switch p.AuthType {
	case AuthPassword:
	case AuthOAuth2:
		v.oauth(p)
	default:
		v.wrong("auth", "%q: use %s or %s", p.AuthType, AuthPassword, AuthOAuth2)
	}
	if p.EagerLogin && (p.TLS != TLSImplicit || p.AuthType != AuthPassword) {
		v.wrong("eager-login", "it takes --tls implicit and --auth password: everything else waits for what the server offers")
	}
	v.text("username", p.Username, maxUsernameBytes, "give the name to log in with, most often the mailbox address")
	v.folders(p.Folders)
	if p.MaxEmailsPerSync < 1 || p.MaxEmailsPerSync > maxPerSync {
		v.wrong("max-emails-per-sync", "%d is not between 1 and %d", p.MaxEmailsPerSync, maxPerSync)
	}
	if !validStart(p.Start) {
		v.wrong("start", "%q: use recent, all, none, since:30d or since:2026-01-31", p.Start)
	}
	if p.DefaultsID != "" {
		v.uuid("defaults-id", p.DefaultsID)
	}
	v.duration("connect-timeout", p.ConnectTimeoutMS, time.Hour)
	v.duration("command-timeout", p.CommandTimeoutMS, time.Hour)
	v.duration("literal-timeout", p.LiteralTimeoutMS, time.Hour)
	v.duration("pass-timeout", p.PassTimeoutMS, 24*time.Hour)
	v.notNegative("max-message-bytes", p.MaxMessageBytes)
	v.notNegative("max-bytes-per-day", p.MaxBytesPerDay)
	v.notNegative("max-attachment-bytes", p.MaxAttachment)
	v.notNegative("max-attachments-total-bytes", p.MaxAttachments)
	if p.MaxAttachmentN < 0 || p.MaxAttachmentN > maxAttachmentN {
		v.wrong("max-attachments", "%d is not between 1 and %d (0: the default of the run)", p.MaxAttachmentN, maxAttachmentN)
	}
	return v.problems
}

// validation gathers problems.
type validation struct {
	problems []Problem
}

func (v *validation) wrong(field, format string, args ...any) {
	v.problems = append(v.problems, Problem{field, fmt.Sprintf(format, args...)})
}

// text checks a line of text. missing says what to give when it is empty.
func (v *validation) text(field, s string, maxBytes int, missing string) bool {
	switch {
	case strings.TrimSpace(s) == "":
		v.wrong(field, "missing: %s", missing)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		v.wrong(field, "%q holds a control character or is not UTF-8", s)
	case len(s) > maxBytes:
		v.wrong(field, "longer than %d bytes", maxBytes)
	default:
		return true
	}
	return false
}

// uuid insists on the one spelling that Postgres gives back: sealed secrets
// are tied to it.
func (v *validation) uuid(field, s string) {
	if id, err := uuid.Parse(s); err != nil || id.String() != s {
		v.wrong(field, "%q is not a UUID like %s", s, DefaultTenant)
	}
}

func (v *validation) mailbox(s string) {
	if !v.text("mailbox", s, maxMailboxBytes, "give the address of the mailbox, e.g. support@example.com") {
		return
	}
	// An address alone, without a name: what is parsed is all there is.
	if a, err := mail.ParseAddress(s); err != nil || a.Address != s {
		v.wrong("mailbox", "%q is not an address like support@example.com", s)
	}
}

// hostLabel is one part of a host name. Underscores are against RFC 1123 and
// in use.
var hostLabel = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

// host checks a DNS name or an address.
func (v *validation) host(field, s, missing string) {
	if !v.text(field, s, maxHostBytes, missing) {
		return
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return
	}
	name, port, hasPort := strings.Cut(s, ":")
	switch {
	case strings.Contains(s, "://"):
		v.wrong(field, "%q is a URL: give the host name alone, e.g. imap.example.com", s)
	case strings.HasPrefix(s, "["):
		v.wrong(field, "%q: give the IPv6 address without brackets", s)
	case hasPort && validHostName(name) && strings.Trim(port, "0123456789") == "":
		v.wrong(field, "%q holds a port: give %q, and the port by --port", s, name)
	case strings.ContainsFunc(s, func(r rune) bool { return r > unicode.MaxASCII }):
		v.wrong(field, "%q: write the name in its ASCII form (xn--…)", s)
	case !validHostName(s):
		v.wrong(field, "%q is neither a host name like imap.example.com nor an IP address", s)
	}
}

// digits is a whole host name of numbers: an address with a fault in it.
var digits = regexp.MustCompile(`^[0-9.]+$`)

func validHostName(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if !hostLabel.MatchString(label) {
			return false
		}
	}
	return !digits.MatchString(s)
}

func (v *validation) folders(names FolderNames) {
	if len(names) > maxFolders {
		v.wrong("folder", "%d folders are given, at most %d", len(names), maxFolders)
		return
	}
	for i, name := range names {
		if v.text("folder", name, maxFolderBytes, "give the name of a folder, or leave it out for INBOX") && slices.Contains(names[:i], name) {
			v.wrong("folder", "%q is given twice", name)
		}
	}
}

// since is a first sync from a number of days ago, or from a date.
var since = regexp.MustCompile(`^since:([0-9]{1,5}d|([0-9]{4}-[0-9]{2}-[0-9]{2}))$`)

func validStart(s string) bool {
	if s == "recent" || s == "all" || s == "none" {
		return true
	}
	m := since.FindStringSubmatch(s)
	if m == nil {
		return false
	}
	if m[2] == "" {
		return strings.TrimPrefix(m[1], "0") == m[1] || m[1] == "0d"
	}
	_, err := time.Parse(time.DateOnly, m[2])
	return err == nil
}

// MinTimeout keeps a slip like 10ms (for 10m) from making every pass fail.
const MinTimeout = 100 * time.Millisecond

func (v *validation) duration(field string, ms int, most time.Duration) {
	d := time.Duration(ms) * time.Millisecond
	if ms != 0 && (d < MinTimeout || d > most) {
		v.wrong(field, "%s is not between %s and %s (0: the default of the run)", d, MinTimeout, most)
	}
}

func (v *validation) notNegative(field string, n int64) {
	if n < 0 {
		v.wrong(field, "%d is not a size in bytes (0: the default of the run)", n)
	}
}
