package provider

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"imapsync/db"
)

// Kind is what a setting takes, which says how it is read, checked and written.
type Kind int

// The kinds of settings.
const (
	Text     Kind = iota // a line
	Address              // of a mailbox
	Host                 // a DNS name or an IP address
	UUID                 //
	URL                  // that tokens are sent to
	Enum                 // one of Values
	Number               // from Least to Most
	Bytes                // a size
	Duration             // from MinTimeout to Most, in milliseconds
	Bool                 //
	Date                 // a day
	List                 // of names
	PEM                  // certificates
)

// Setting is one thing that a person sets of a mailbox. Flags, the form, its
// differences, the audit log, what is shown and what is checked come of it.
type Setting struct {
	Name    string // to flags, fields, problems and the audit log
	Column  string // in the database, where it is not the name with underscores
	Kind    Kind
	Help    string   // a line
	Values  []string // to choose from
	Default string   // of a new mailbox
	Unset   string   // what an empty one means, where it may be empty
	Missing string   // what to give, where it, or a name of a list, must not be empty
	Least   int64
	Most    int64 // of text, and of a name of a list: bytes

	Tested  bool // a change is proven by a test of the connection
	Consent bool // what a person granted is bound to it: a change makes that worthless
	OAuth   bool // counts for a login with OAuth2 only
	Form    bool // the page has a field
	NoFlag  bool // the command line has none

	json  string                                          // in JSON, where it is not the name in camel case
	check func(v *validation, t *Setting, p *db.Provider) // in place of its kind's
}

// What an empty setting means that has its default elsewhere.
const (
	ofRun    = "the run's"
	ofPreset = "the preset's"
)

// OfRun reports whether the run has one of the same name, which the environment
// means.
func (t *Setting) OfRun() bool { return t.Unset == ofRun }

// settings are all that a person sets of a mailbox, in the order of the form.
// One more is a column, a field of db.Settings, and a row here.
var settings = []*Setting{
	{Name: "name", Column: "provider_name", Most: maxNameRunes * utf8.UTFMax, Form: true, check: checkName,
		Missing: "give the provider a name", Help: "what to call it, once in a tenant (default: the mailbox)"},
	{Name: "mailbox", Kind: Address, Form: true, Missing: "give the address of the mailbox, e.g. support@example.com", Help: "address of the mailbox, once in a tenant"},
	{Name: "host", Kind: Host, Tested: true, Form: true, Missing: "give the IMAP server, e.g. imap.example.com", Help: "IMAP server"},
	{Name: "port", Kind: Number, Least: 1, Most: 65535, Default: "993", Tested: true, Form: true, Help: "its port (default: 993, or 143 for starttls and none)"},
	{Name: "tls", Kind: Enum, Values: []string{"implicit", "starttls", "none"}, Default: "implicit", Tested: true, Form: true,
		Help: "implicit, starttls, or none for plaintext (default: implicit)"},
	{Name: "ca", Column: "ca_pem", Kind: PEM, Unset: "the system's", Tested: true, Form: true, json: "caPem",
		Help: "certificate of the authority that signed the server's, in PEM (default: the system's)"},
	{Name: "tls-server-name", Kind: Host, Unset: "the host", Tested: true, Form: true, Help: "name in the server's certificate (default: the host)"},
	{Name: "auth", Column: "auth_type", Kind: Enum, Values: []string{db.AuthPassword, db.AuthOAuth2}, Default: db.AuthPassword, Tested: true, Consent: true, Form: true,
		Help: "how to log in: password or oauth2 (default: password)"},
	{Name: "username", Most: 500, Tested: true, Form: true,
		Missing: "give the name to log in with, most often the mailbox address", Help: "login name (default: the mailbox)"},
	{Name: "eager-login", Kind: Bool, Tested: true, check: checkEagerLogin,
		Help: "log in before the server has greeted: a round trip less, for servers that keep what comes early, such as Dovecot"},
	{Name: "folder", Column: "folder_filters", Kind: List, Most: 1000, Unset: "INBOX", Tested: true, Form: true, json: "folders",
		Missing: "give the name of a folder, or leave it out for INBOX", Help: "folder to read, * and % are wildcards, which leave out special ones such as sent, trash and junk: name those (repeatable; default: INBOX)"},
	{Name: "max-emails-per-sync", Kind: Number, Least: 1, Most: 1_000_000, Default: "50", Form: true,
		Help: "messages downloaded in one pass, all folders together (default: 50)"},
	{Name: "max-connections", Kind: Number, Least: 1, Most: 100, Unset: "3", Form: true, Help: "most IMAP connections at a time, of which a pass takes one (default: 3)"},
	{Name: "start", Values: []string{"recent", "all", "none", "since:30d"}, Default: "recent", Form: true, check: checkStart,
		Help: "where to start in a folder that has never been read: recent, all, none, since:30d or since:2026-01-31 (default: recent)"},
	{Name: "defaults-id", Column: "inbound_ticket_defaults_id", Kind: UUID, Unset: "none", Form: true, Help: "goes into each event as inboundDefaultsId"},
	{Name: "active", Column: "is_active", Kind: Bool, Default: "true", Form: true, NoFlag: true, Help: "runs read this mailbox"},
	{Name: "connect-timeout", Column: "connection_timeout_ms", Kind: Duration, Most: hour, Unset: ofRun,
		Help: "longest wait for the TCP and TLS handshake (default: the run's)"},
	{Name: "command-timeout", Column: "command_timeout_ms", Kind: Duration, Most: hour, Unset: ofRun,
		Help: "longest silence of the server while it works (default: the run's)"},
	{Name: "literal-timeout", Column: "literal_timeout_ms", Kind: Duration, Most: hour, Unset: ofRun,
		Help: "longest pause while a message body is downloaded (default: the run's)"},
	{Name: "pass-timeout", Column: "pass_timeout_ms", Kind: Duration, Most: 24 * hour, Unset: ofRun, Help: "longest time for one pass (default: the run's)"},
	{Name: "max-message-bytes", Kind: Bytes, Unset: ofRun, Help: "larger messages go out as headers only (default: the run's)"},
	{Name: "max-attachment-bytes", Kind: Bytes, Unset: ofRun, Help: "largest attachment kept (default: the run's)"},
	{Name: "max-attachments-total-bytes", Kind: Bytes, Unset: ofRun, Help: "attachments kept of one message, together (default: the run's)"},
	{Name: "max-attachments", Kind: Number, Least: 1, Most: 10_000, Unset: ofRun, Help: "number of attachments kept of one message (default: the run's)"},
	{Name: "max-bytes-per-day", Kind: Bytes, Unset: "no quota", Help: "a pass ends when it has downloaded so much since midnight UTC (0: no quota)"},
	{Name: "oauth-preset", Kind: Enum, Values: []string{db.PresetGoogle, db.PresetMicrosoft, db.PresetCustom}, OAuth: true, Tested: true, Consent: true, Form: true,
		Missing: "give google, microsoft, or custom for another server", Help: "with oauth2: google, microsoft or custom"},
	{Name: "oauth-flow", Values: []string{db.FlowCode, db.FlowDevice, db.FlowClientCredentials, db.FlowServiceAccount}, OAuth: true, Tested: true, Consent: true, Form: true, check: checkFlow,
		Help: "how tokens are got first: code, device, client-credentials or service-account (default: code)"},
	{Name: "oauth-client-id", Most: 500, Unset: "none", OAuth: true, Tested: true, Consent: true, Form: true, check: checkClientID,
		Missing: "give the id that the app was registered with", Help: "the id that the app was registered with"},
	{Name: "oauth-client-secret-expires", Kind: Date, Unset: "not known", OAuth: true, Form: true,
		Help: "the last day of the client secret, as in 2027-01-31, to be warned before"},
	{Name: "oauth-authorize-url", Kind: URL, Unset: ofPreset, OAuth: true, Form: true, check: neededBy(db.FlowCode), Help: "where a person signs in (default: the preset's)"},
	{Name: "oauth-token-url", Kind: URL, Unset: ofPreset, OAuth: true, Tested: true, Consent: true, Form: true, check: neededBy(db.FlowCode, db.FlowDevice, db.FlowClientCredentials),
		Help: "where tokens are got (default: the preset's)"},
	{Name: "oauth-device-url", Kind: URL, Unset: ofPreset, OAuth: true, Form: true, check: neededBy(db.FlowDevice),
		Help: "where a device code is got (default: the preset's)"},
	{Name: "oauth-scopes", Most: 4000, Unset: ofPreset, OAuth: true, Tested: true, Consent: true, Form: true,
		Help: "scopes to request, separated by spaces (default: the preset's)"},
	{Name: "oauth-tenant", Unset: ofPreset, OAuth: true, Tested: true, Consent: true, Form: true, check: checkDirectory,
		Help: "Microsoft's directory: its id or a domain (default: organizations)"},
}

// Settings are all that a person sets of a mailbox, in the order of the form.
func Settings() []*Setting { return settings }

// Find returns the setting of a name, nil where there is none.
func Find(name string) *Setting {
	if i := slices.IndexFunc(settings, func(t *Setting) bool { return t.Name == name }); i >= 0 {
		return settings[i]
	}
	return nil
}

// columns are the fields of db.Settings by the columns that they are tagged with.
var columns = func() map[string]int {
	byName := map[string]int{}
	for i, fields := 0, reflect.TypeFor[db.Settings](); i < fields.NumField(); i++ {
		byName[fields.Field(i).Tag.Get("db")] = i
	}
	return byName
}()

func (t *Setting) column() string { return cmp.Or(t.Column, strings.ReplaceAll(t.Name, "-", "_")) }

// at is where s keeps the setting: a pointer to a string, a number, a truth, a day
// or names.
func (t *Setting) at(s *db.Settings) any {
	field := reflect.ValueOf(s).Elem().Field(columns[t.column()]).Addr().Interface()
	if mode, ok := field.(*db.TLSMode); ok {
		return (*string)(mode)
	}
	return field
}

// Text is what s has, as a person would give it: "" where it is empty, names of
// a list a line each.
func (t *Setting) Text(s *db.Settings) string {
	switch v := t.at(s).(type) {
	case *string:
		return *v
	case *bool:
		return strconv.FormatBool(*v)
	case *db.FolderNames:
		return strings.Join(*v, "\n")
	case **time.Time:
		if *v == nil {
			return ""
		}
		return (*v).Format(time.DateOnly)
	}
	switch n := t.count(s); {
	case n == 0:
		return ""
	case t.Kind == Duration:
		return (time.Duration(n) * time.Millisecond).String()
	default:
		return strconv.FormatInt(n, 10)
	}
}

// Shown is Text for people: what an empty one means, lists in one line, and
// certificates by the names in them.
func (t *Setting) Shown(s *db.Settings) string {
	if t.Kind == PEM && t.Text(s) != "" {
		var names []string
		for block, rest := pem.Decode([]byte(t.Text(s))); block != nil; block, rest = pem.Decode(rest) {
			if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
				names = append(names, OneLine(cert.Subject.String()))
			}
		}
		return cmp.Or(strings.Join(names, "; "), "of its own")
	}
	return cmp.Or(strings.ReplaceAll(t.Text(s), "\n", ", "), t.Unset)
}

func (t *Setting) count(s *db.Settings) int64 {
	return reflect.ValueOf(t.at(s)).Elem().Int()
}

// set takes what a person gave. An empty number or truth leaves what is there.
func (t *Setting) set(s *db.Settings, given []string) error {
	text := ""
	if len(given) > 0 {
		text = given[len(given)-1]
	}
	switch v := t.at(s).(type) {
	case *string:
		if id, err := uuid.Parse(text); t.Kind == UUID && err == nil {
			text = id.String()
		}
		*v = text
	case *db.FolderNames:
		if *v = given; text == "" && len(given) <= 1 {
			*v = nil
		}
	case **time.Time:
		if *v = nil; text == "" {
			return nil
		}
		day, err := time.Parse(time.DateOnly, text)
		if *v = &day; err != nil {
			return fmt.Errorf("%q is not a date like 2027-01-31", text)
		}
	case *bool:
		is, err := strconv.ParseBool(cmp.Or(text, strconv.FormatBool(*v)))
		if err != nil {
			return fmt.Errorf("%q: use true or false", text)
		}
		*v = is
	default:
		if text == "" {
			return nil
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if t.Kind == Duration {
			var d time.Duration
			if d, err = time.ParseDuration(text); err != nil {
				return fmt.Errorf("%q is not a duration like 10s or 2m", text)
			}
			if n = d.Milliseconds(); d > 0 && n == 0 {
				n = 1 // not the default: too short, as the checks will say
			}
		}
		if err != nil || int64(int(n)) != n {
			return fmt.Errorf("%q is not a number, or too large", text)
		}
		reflect.ValueOf(v).Elem().SetInt(n)
	}
	return nil
}

// Values are settings as a person gave them, by their names: text, and each name
// of a list. What is not there was not given.
type Values map[string][]string

// Apply puts what was given into p, and returns what cannot be taken. A new
// mailbox takes the name and the login of its address where none was given.
func Apply(p *db.Provider, given Values, adding bool) []Problem {
	var problems []Problem
	port := defaultPort(p.TLS)
	for _, t := range settings {
		if values, ok := given[t.Name]; ok {
			if err := t.set(&p.Settings, values); err != nil {
				problems = append(problems, Problem{t.Name, "%s", []any{err}})
			}
		}
	}
	if p.Port == port && strings.Join(given["port"], "") == "" {
		p.Port = defaultPort(p.TLS) // follows the mode unless it was chosen
	}
	if p.AuthType == db.AuthOAuth2 {
		p.OAuthFlow = cmp.Or(p.OAuthFlow, db.FlowCode)
	}
	// A missing mailbox is told once, not three times.
	if _, ok := given["name"]; adding && !ok {
		p.Name = cmp.Or(p.Mailbox, "-")
	}
	if _, ok := given["username"]; adding && !ok {
		p.Username = cmp.Or(p.Mailbox, "-")
	}
	return problems
}

// defaultPort is the usual port of a mode.
func defaultPort(mode db.TLSMode) int {
	if mode == db.TLSStartTLS || mode == db.TLSNone {
		return 143
	}
	return 993
}

// Fresh is a provider of the defaults, before anybody has set anything.
func Fresh(tenant string, id uuid.UUID) *db.Provider {
	p := &db.Provider{
		Settings: db.Settings{Tenant: tenant, ID: id.String(), AutoProcess: true, CreatedAt: time.Now().UTC()},
		State:    db.State{Status: db.StatusConfiguring},
	}
	for _, t := range settings {
		if t.Default != "" {
			_ = t.set(&p.Settings, []string{t.Default}) // a test sets them all
		}
	}
	return p
}

// Changed are the names of the settings that differ.
func Changed(was, is *db.Provider) []string {
	var names []string
	for _, t := range settings {
		if !t.same(&was.Settings, &is.Settings) {
			names = append(names, t.Name)
		}
	}
	return names
}

func (t *Setting) same(a, b *db.Settings) bool {
	if t.Kind == List { // an empty one has the name that it means
		return cmp.Or(t.Text(a), t.Unset) == cmp.Or(t.Text(b), t.Unset)
	}
	return t.Text(a) == t.Text(b)
}

func anyOf(names []string, has func(t *Setting) bool) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		t := Find(name)
		return t != nil && has(t)
	})
}

// SignInAgain reports whether a change makes what a person granted worthless.
func SignInAgain(p *db.Provider, changed []string) bool {
	return NeedsPerson(p) && anyOf(changed, func(t *Setting) bool { return t.Consent })
}

// jsonName is the name in camel case; that of a duration ends in its unit.
func (t *Setting) jsonName() string {
	if t.json != "" {
		return t.json
	}
	words := strings.Split(t.Name, "-")
	for i := 1; i < len(words); i++ {
		words[i] = strings.ToUpper(words[i][:1]) + words[i][1:]
	}
	if t.Kind == Duration {
		words = append(words, "Ms")
	}
	return strings.Join(words, "")
}

// jsonValue is nil where it is left out: the default holds.
func (t *Setting) jsonValue(s *db.Settings) any {
	always := t.Default != "" || t.Missing != "" && !t.OAuth
	switch v := t.at(s).(type) {
	case *db.FolderNames:
		return append([]string{}, *v...)
	case *bool:
		if always || *v {
			return *v
		}
	case *int, *int64:
		if n := t.count(s); always || n != 0 {
			return n
		}
	default:
		if text := t.Text(s); always || text != "" {
			return text
		}
	}
	return nil
}

// View is a provider as programs get it, in JSON: its settings and its state.
// There is no secret in it.
type View struct {
	*db.Provider

	Check *Check // nil where it was not tested
}

// MarshalJSON writes the settings in their order, then the state.
func (v View) MarshalJSON() ([]byte, error) {
	p := v.Provider
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false) // that is for who prints it to decide
	var failed error
	member := func(name string, value any) {
		fmt.Fprintf(&b, "%q:", name)
		failed = errors.Join(failed, out.Encode(value))
		b.WriteByte(',')
	}
	b.WriteByte('{')
	member("tenant", p.Tenant)
	member("id", p.ID)
	for _, t := range settings {
		if value := t.jsonValue(&p.Settings); value != nil {
			member(t.jsonName(), value)
		}
	}
	state := b.Len()
	failed = errors.Join(failed, out.Encode(struct {
		Status              string     `json:"status"`
		AuthorisedAt        *time.Time `json:"authorisedAt,omitempty"`
		TokenExpiresAt      *time.Time `json:"tokenExpiresAt,omitempty"`
		PausedAt            *time.Time `json:"pausedAt,omitempty"`
		PauseReason         string     `json:"pauseReason,omitempty"`
		LastSyncAt          *time.Time `json:"lastSyncAt,omitempty"`
		LastAttemptAt       *time.Time `json:"lastAttemptAt,omitempty"`
		LastSuccessAt       *time.Time `json:"lastSuccessAt,omitempty"`
		NextAttemptAt       *time.Time `json:"nextAttemptAt,omitempty"`
		ConsecutiveFailures int        `json:"consecutiveFailures"`
		AuthFailures        int        `json:"authFailures"`
		ErrorCode           string     `json:"errorCode,omitempty"`
		Error               string     `json:"error,omitempty"`
		Published           int64      `json:"published"`
		Duplicates          int64      `json:"duplicates"`
		Quarantined         int64      `json:"quarantined"`
		CreatedAt           time.Time  `json:"createdAt"`
		Check               *Check     `json:"check,omitempty"`
	}{p.Status, p.AuthorisedAt, p.TokenExpiresAt, p.PausedAt, p.PauseReason, p.LastSyncAt, p.LastAttemptAt, p.LastSuccessAt,
		p.NextAttemptAt, p.ConsecutiveFailures, p.AuthFailures, p.LastErrorCode, cmp.Or(p.LastError, p.ErrorMessage),
		p.Published, p.Duplicates, p.Quarantined, p.CreatedAt, v.Check}))
	if failed != nil {
		return nil, failed
	}
	b.Bytes()[state] = ' ' // its brace: one object has both
	return b.Bytes(), nil
}
