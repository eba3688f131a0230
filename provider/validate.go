package provider

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"net/netip"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/oauth"
)

// Problem is one thing that is wrong with the settings of a mailbox, or with a
// credential that was given for it.
type Problem struct {
	Setting string // its name

	format string
	args   []any // an other stands for another setting
}

// Wrong is a problem that a face has found.
func Wrong(setting, format string, args ...any) Problem { return Problem{setting, format, args} }

// other is the name of another setting within a message.
type other string

// Message says what is wrong, without the setting. Call says what the face calls
// another setting; nil leaves names as they are.
func (p Problem) Message(call func(setting string) string) string {
	args := slices.Clone(p.args)
	for i, arg := range args {
		if name, ok := arg.(other); ok {
			if args[i] = string(name); call != nil {
				args[i] = call(string(name))
			}
		}
	}
	return fmt.Sprintf(p.format, args...)
}

// The names of credentials that problems stand for, beside those of settings.
const (
	Password       = "password"
	ClientSecret   = "oauth-client-secret" //nolint:gosec // G101: a name
	ServiceAccount = "oauth-service-account"
)

// Bounds of settings.
const (
	maxNameRunes = 200
	maxFolders   = 1000
	hour         = int64(time.Hour / time.Millisecond)
)

// mostBytes are the bounds of texts by their kind: an address without the brackets
// of RFC 5321 section 4.5.3.1.3.
var mostBytes = map[Kind]int64{Address: 254, Host: 253, URL: 2000}

// MinTimeout keeps a slip like 10ms (for 10m) from making every pass fail.
const MinTimeout = 100 * time.Millisecond

// Validate returns everything that is wrong with the settings of p, in the
// order of the form. Whether the server agrees is for a test to find out.
func Validate(p *db.Provider) []Problem {
	var v validation
	v.uuid("tenant", p.Tenant)
	for _, t := range settings {
		switch {
		case t.OAuth && p.AuthType != db.AuthOAuth2:
		case t.check != nil:
			t.check(&v, t, p)
		default:
			v.kind(t, &p.Settings)
		}
	}
	return v.problems
}

// Problems are those that are known of already, and those of the settings of p
// that nothing is known of.
func Problems(p *db.Provider, known []Problem) []Problem {
	all := slices.Clone(known)
	for _, problem := range Validate(p) {
		if !slices.ContainsFunc(known, func(one Problem) bool { return one.Setting == problem.Setting }) {
			all = append(all, problem)
		}
	}
	return all
}

// MissingSecrets insists on what a new mailbox cannot do without.
func MissingSecrets(p *db.Provider, account, clientSecret bool) []Problem {
	switch {
	case p.AuthType != db.AuthOAuth2:
	case p.OAuthFlow == db.FlowServiceAccount && !account:
		return []Problem{Wrong(ServiceAccount, "missing: give the JSON key of the service account")}
	case p.OAuthFlow == db.FlowClientCredentials && !clientSecret:
		return []Problem{Wrong(ClientSecret, "missing: client-credentials needs the client secret")}
	}
	return nil
}

type validation struct{ problems []Problem }

func (v *validation) wrong(field, format string, args ...any) {
	v.problems = append(v.problems, Problem{field, format, args})
}

func (v *validation) kind(t *Setting, s *db.Settings) {
	switch t.Kind { //nolint:exhaustive // the others are text
	case Number, Bytes, Duration:
		v.number(t, t.count(s))
		return
	case List:
		v.folders(t, s.Folders)
		return
	}
	check := map[Kind]func(t *Setting, text string){
		Text: func(t *Setting, text string) { v.text(t, text) }, Address: v.mailbox, Host: v.host,
		UUID: func(t *Setting, text string) { v.uuid(t.Name, text) }, URL: v.endpoint, Enum: v.enum, PEM: v.pem,
	}[t.Kind]
	if text := t.Text(s); check != nil && (text != "" || t.Missing != "" || t.Default != "") {
		check(t, text)
	}
}

func (v *validation) pem(t *Setting, text string) {
	if !isPEM(text) {
		v.wrong(t.Name, "%s", noPEM)
	}
}

const noPEM = "it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)"

func isPEM(text string) bool { return x509.NewCertPool().AppendCertsFromPEM([]byte(text)) }

// ReadPEM reads a file of certificates. Its error does not name the file.
func ReadPEM(path string) (string, error) {
	const most = 1 << 20 // bytes
	f, err := os.Open(path)
	if err != nil {
		return "", errors.Unwrap(err)
	}
	defer f.Close()
	pem, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return "", errors.Unwrap(err)
	case len(pem) > most:
		return "", fmt.Errorf("larger than %d bytes", most)
	case !isPEM(string(pem)):
		return "", errors.New(noPEM)
	}
	return string(pem), nil
}

func (v *validation) number(t *Setting, n int64) {
	zero := "" // what it means, where it may be
	switch {
	case t.OfRun() || t.Kind == Bytes:
		zero = " (0: the default of the run)"
	case t.Unset != "":
		zero = " (0: " + t.Unset + ")"
	}
	millis := func(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
	least := t.Least
	if t.Kind == Duration {
		least = MinTimeout.Milliseconds()
	}
	switch {
	case n == 0 && zero != "":
	case t.Kind == Bytes && n < 0:
		v.wrong(t.Name, "%d is not a size in bytes%s", n, zero)
	case t.Kind == Bytes || n >= least && n <= t.Most:
	case t.Kind == Duration:
		v.wrong(t.Name, "%s is not between %s and %s%s", millis(n), MinTimeout, millis(t.Most), zero)
	default:
		v.wrong(t.Name, "%d is not between %d and %d%s", n, least, t.Most, zero)
	}
}

func (v *validation) enum(t *Setting, text string) {
	if text == "" && t.Missing != "" {
		v.wrong(t.Name, "missing: %s", t.Missing)
	} else if last := len(t.Values) - 1; !slices.Contains(t.Values, text) {
		v.wrong(t.Name, "%q: use %s or %s", text, strings.Join(t.Values[:last], ", "), t.Values[last])
	}
}

func checkName(v *validation, t *Setting, p *db.Provider) {
	v.text(t, p.Name)
	if _, err := uuid.Parse(p.Name); err == nil {
		v.wrong(t.Name, "%q would be taken for an id: choose a name that is no UUID", p.Name)
	}
	if utf8.RuneCountInString(p.Name) > maxNameRunes {
		v.wrong(t.Name, "longer than %d characters", maxNameRunes)
	}
}

func checkEagerLogin(v *validation, t *Setting, p *db.Provider) {
	if p.EagerLogin && (p.TLS != db.TLSImplicit || p.AuthType != db.AuthPassword) {
		v.wrong(t.Name, "it takes %s implicit and %s password: everything else waits for what the server offers", other("tls"), other("auth"))
	}
}

func checkStart(v *validation, t *Setting, p *db.Provider) {
	if !validStart(p.Start) {
		v.wrong(t.Name, "%q: use recent, all, none, since:30d or since:2026-01-31", p.Start)
	}
}

var flows = map[string][]string{ // of a preset
	db.PresetGoogle:    {db.FlowCode, db.FlowServiceAccount},
	db.PresetMicrosoft: {db.FlowCode, db.FlowDevice, db.FlowClientCredentials},
	db.PresetCustom:    {db.FlowCode, db.FlowDevice, db.FlowClientCredentials, db.FlowServiceAccount},
}

func checkFlow(v *validation, t *Setting, p *db.Provider) {
	switch usable := flows[p.OAuthPreset]; {
	case usable == nil: // the preset is wrong
	case p.OAuthPreset == db.PresetGoogle && p.OAuthFlow == db.FlowDevice:
		v.wrong(t.Name, "Google gives the device flow no access to mail: use code or service-account")
	case !slices.Contains(usable, p.OAuthFlow):
		v.wrong(t.Name, "%q: with %s %s use %s", p.OAuthFlow, other("oauth-preset"), p.OAuthPreset, strings.Join(usable, ", "))
	}
}

func checkClientID(v *validation, t *Setting, p *db.Provider) {
	if p.OAuthFlow != db.FlowServiceAccount {
		v.kind(t, &p.Settings)
	}
}

// neededBy checks an address that a server of one's own needs for some flows.
func neededBy(flows ...string) func(v *validation, t *Setting, p *db.Provider) {
	return func(v *validation, t *Setting, p *db.Provider) {
		if t.Text(&p.Settings) == "" && p.OAuthPreset == db.PresetCustom && slices.Contains(flows, p.OAuthFlow) {
			v.wrong(t.Name, "missing: %s custom needs it", other("oauth-preset"))
		}
		v.kind(t, &p.Settings)
	}
}

// directory is a UUID, a domain, or one of Microsoft's words.
var directory = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.-]{0,199}$`)

func checkDirectory(v *validation, t *Setting, p *db.Provider) {
	own := p.OAuthTenant != "" && !slices.Contains([]string{"common", "organizations", "consumers"}, strings.ToLower(p.OAuthTenant))
	switch {
	case p.OAuthTenant != "" && p.OAuthPreset != db.PresetMicrosoft:
		v.wrong(t.Name, "goes with %s microsoft only", other("oauth-preset"))
	case p.OAuthTenant != "" && !directory.MatchString(p.OAuthTenant):
		v.wrong(t.Name, "%q is neither the id of a directory nor a domain like example.com", p.OAuthTenant)
	case p.OAuthPreset == db.PresetMicrosoft && p.OAuthFlow == db.FlowClientCredentials && !own:
		v.wrong(t.Name, "client-credentials needs the directory's id, or a domain of it")
	}
}

func (v *validation) text(t *Setting, s string) bool {
	most := cmp.Or(t.Most, mostBytes[t.Kind])
	switch {
	case strings.TrimSpace(s) == "":
		v.wrong(t.Name, "missing: %s", t.Missing)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		v.wrong(t.Name, "%q holds a control character or is not UTF-8", s)
	case int64(len(s)) > most:
		v.wrong(t.Name, "longer than %d bytes", most)
	default:
		return true
	}
	return false
}

// uuid insists on the one spelling that Postgres gives back: sealed secrets
// are tied to it.
func (v *validation) uuid(field, s string) {
	if id, err := uuid.Parse(s); err != nil || id.String() != s {
		v.wrong(field, "%q is not a UUID like %s", s, db.DefaultTenant)
	}
}

func (v *validation) mailbox(t *Setting, s string) {
	if !v.text(t, s) {
		return
	}
	// An address alone, without a name: what is parsed is all there is.
	if a, err := mail.ParseAddress(s); err != nil || a.Address != s {
		v.wrong(t.Name, "%q is not an address like support@example.com", s)
	}
}

// hostLabel is one part of a host name. Underscores are against RFC 1123 and in use.
var hostLabel = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?$`)

func (v *validation) host(t *Setting, s string) {
	field := t.Name
	if !v.text(t, s) {
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
		v.wrong(field, "%q holds a port: give %q, and the port by %s", s, name, other("port"))
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

func (v *validation) folders(t *Setting, names db.FolderNames) {
	if len(names) > maxFolders {
		v.wrong(t.Name, "%d folders are given, at most %d", len(names), maxFolders)
		return
	}
	for i, name := range names {
		if v.text(t, name) && slices.Contains(names[:i], name) {
			v.wrong(t.Name, "%q is given twice", name)
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

// endpoint checks an address that tokens are sent to.
func (v *validation) endpoint(t *Setting, s string) {
	field := t.Name
	if !v.text(t, s) {
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
	case u.Scheme == "https", u.Scheme == "http" && oauth.IsLoopback(u.Hostname()):
	default:
		v.wrong(field, "%q: tokens are sent over https only", s)
	}
}
