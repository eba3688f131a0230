package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/provider"
	"imapsync/secret"
)

// formPage is the form of a mailbox, new or stored, as somebody filled it in.
type formPage struct {
	chrome

	Adding   bool
	Tenant   string
	ID       string // empty while adding
	Name     string // as it is stored
	Action   string // where the form goes
	Values   map[string]string
	Active   bool
	Test     bool                // before it is saved
	Problems map[string][]string // by field
	Draft    string
	Kept     map[string]bool // credentials typed before, by field
	Stored   bool            // credentials may be stored: blank keeps them
	Folders  folderChoice
	Steps    []Step
	Tested   bool // Steps are of a test
	Passed   bool
	Found    []preset // of a look-up
	LookedUp bool
	Presets  []string // the names to choose from
}

// folderChoice are the folders to read: of a list of the server's, and others.
type folderChoice struct {
	Listed []Folder
	Others string // one a line
	Errors []string
	Label  string
}

// settings are the fields of the form that are settings of the same name.
func settings() []string {
	return []string{"name", "mailbox", "host", "port", "tls", "tls-server-name", "auth", "username", "max-emails-per-sync", "defaults-id"}
}

// oauthSettings go with OAuth2 only.
func oauthSettings() []string {
	return []string{"oauth-preset", "oauth-flow", "oauth-client-id", "oauth-client-secret-expires", "oauth-tenant", "oauth-scopes",
		"oauth-authorize-url", "oauth-token-url", "oauth-device-url"}
}

// valuesOf are the settings of p as the form has them.
func valuesOf(p *db.Provider) map[string]string {
	v := map[string]string{
		"tenant": p.Tenant, "name": p.Name, "mailbox": p.Mailbox, "host": p.Host, "port": strconv.Itoa(p.Port), "tls": string(p.TLS),
		"ca-file": p.CAPEM, "tls-server-name": p.TLSServerName, "auth": p.AuthType, "username": p.Username,
		"max-emails-per-sync": strconv.Itoa(p.MaxEmailsPerSync), "start": p.Start, "defaults-id": p.DefaultsID,
		"oauth-preset": p.OAuthPreset, "oauth-flow": p.OAuthFlow, "oauth-client-id": p.OAuthClientID, "oauth-tenant": p.OAuthTenant,
		"oauth-scopes": p.OAuthScopes, "oauth-authorize-url": p.OAuthAuthorize, "oauth-token-url": p.OAuthToken, "oauth-device-url": p.OAuthDevice,
	}
	if since, ok := strings.CutPrefix(p.Start, "since:"); ok {
		v["start"], v["start-since"] = "since", since
	}
	if p.SecretExpiresAt != nil {
		v["oauth-client-secret-expires"] = p.SecretExpiresAt.Format(time.DateOnly)
	}
	return v
}

// newPage is the form of p as it stands.
func newPage(who Principal, p *db.Provider, adding bool) *formPage {
	page := &formPage{
		chrome: chrome{Title: "Edit " + p.Name, Who: who}, Adding: adding, Tenant: p.Tenant, ID: p.ID, Name: p.Name, Action: path(p, "/edit"),
		Values: valuesOf(p), Active: p.Active, Test: true, Problems: map[string][]string{}, Kept: map[string]bool{}, Stored: !adding,
		Folders: folderChoice{Others: strings.Join(p.Folders, "\n"), Label: labels()["folder"]},
	}
	if adding {
		page.Title, page.ID, page.Name, page.Action = "Add an IMAP mailbox", "", "", "/providers/new"
		page.Values["port"], page.Values["max-emails-per-sync"] = "", strconv.Itoa(p.MaxEmailsPerSync)
	}
	for _, k := range known() {
		if !slices.Contains(page.Presets, k.Name) {
			page.Presets = append(page.Presets, k.Name)
		}
	}
	return page
}

// field is one field of the form.
type field struct {
	Name, Label, Value string
	Errors             []string
}

// Field gives a template one field.
func (p *formPage) Field(name string) field {
	return field{Name: name, Label: labels()[name], Value: p.Values[name], Errors: p.Problems[name]}
}

// Secret is a field whose value never comes back.
type secretField struct {
	field

	Kept   bool // typed before
	Stored bool // one may be stored
}

// Secret gives a template the field of a credential.
func (p *formPage) Secret(name string) secretField {
	return secretField{p.Field(name), p.Kept[name], p.Stored}
}

// problem puts what is wrong beside its field, and on top what has none.
func (p *formPage) problem(list []provider.Problem) {
	var elsewhere []string
	for _, one := range list {
		name := fieldOf(one)
		if slices.Contains(fieldless(), name) {
			elsewhere = append(elsewhere, inWords("--"+name+": "+one.Message(labelled)))
			continue
		}
		p.Problems[name] = append(p.Problems[name], inWords(one.Message(labelled)))
	}
	p.Folders.Errors = p.Problems["folder"]
	if len(elsewhere) > 0 {
		p.Alert = "Nothing was saved. What this page has no field for is wrong: " + strings.Join(elsewhere, "; ")
	}
}

// Summary counts what is wrong, for the top of the form.
func (p *formPage) Summary() (list []field) {
	for _, name := range append(append([]string{"tenant"}, settings()...), append(oauthSettings(), "password", "oauth-client-secret",
		"oauth-service-account", "ca-file", "folder", "start")...) {
		if f := p.Field(name); len(f.Errors) > 0 {
			list = append(list, f)
		}
	}
	return list
}

// filled is a form that was sent: the provider it makes, and the page that
// shows it again.
type filled struct {
	page  *formPage
	p     *db.Provider
	given Given
	ok    bool // nothing is wrong with the settings
}

// fill reads the form into a copy of base.
func (s *Server) fill(r *http.Request, base *db.Provider, adding bool) filled {
	me, now := who(r), time.Now()
	is := *base
	page := newPage(me, base, adding)
	f := filled{page: page, p: &is}
	text := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }

	values := map[string][]string{}
	names := settings()
	if text("auth") == db.AuthOAuth2 {
		names = append(names, oauthSettings()...)
	}
	for _, name := range names {
		values[name] = []string{text(name)}
	}
	for _, name := range append(append(settings(), oauthSettings()...), "start", "start-since", "preset") {
		page.Values[name] = text(name)
	}
	if adding && me.Tenant == "" {
		is.Tenant = text("tenant")
		if id, err := uuid.Parse(is.Tenant); err == nil {
			is.Tenant = id.String()
		}
		page.Values["tenant"], page.Tenant = is.Tenant, is.Tenant
	}
	is.CAPEM = strings.ReplaceAll(text("ca-file"), "\r\n", "\n")
	page.Values["ca-file"] = is.CAPEM
	is.Active = text("active") != ""
	page.Active, page.Test = is.Active, text("test") != ""
	start := text("start")
	if start == "since" {
		start = "since:" + text("start-since")
	}
	values["start"] = []string{start}
	values["folder"] = page.Folders.read(r)

	f.given = Given{Password: secret.New(r.PostForm.Get("password")), ClientSecret: secret.New(text("oauth-client-secret")),
		ServiceAccount: secret.New(text("oauth-service-account"))}
	s.drafts.fill(r.PostForm.Get("draft"), me, &f.given, now)
	if is.AuthType = text("auth"); is.AuthType == db.AuthOAuth2 {
		f.given.Password = secret.Value{}
	} else {
		f.given.ClientSecret, f.given.ServiceAccount = secret.Value{}, secret.Value{}
	}
	problems := s.do.Apply(r.Context(), &is, values, f.given, adding)
	page.problem(problems)
	f.ok = len(problems) == 0
	return f
}

// again shows the form once more, with all that was typed but the credentials:
// those stay here.
func (s *Server) again(w http.ResponseWriter, r *http.Request, status int, f filled) {
	s.drafts.forget(r.PostForm.Get("draft"))
	f.page.Draft = s.drafts.keep(who(r), f.given, time.Now())
	f.page.Kept["password"] = !f.given.Password.IsZero()
	f.page.Kept["oauth-client-secret"] = !f.given.ClientSecret.IsZero()
	f.page.Kept["oauth-service-account"] = !f.given.ServiceAccount.IsZero()
	s.render(w, r, status, "form.html", f.page)
}

// read takes the folders that were ticked, and those that were written.
func (c *folderChoice) read(r *http.Request) []string {
	ticked := r.PostForm["folder"]
	c.Others = strings.ReplaceAll(r.PostForm.Get("folders"), "\r\n", "\n")
	c.Listed = nil
	for i, name := range r.PostForm["listed"] {
		f := Folder{Name: name, Messages: -1, Read: slices.Contains(ticked, name)}
		if counts := r.PostForm["listed-messages"]; i < len(counts) {
			if n, err := strconv.ParseInt(counts[i], 10, 64); err == nil {
				f.Messages = n
			}
		}
		if uses := r.PostForm["listed-use"]; i < len(uses) {
			f.SpecialUse = uses[i]
		}
		c.Listed = append(c.Listed, f)
	}
	names := slices.Clone(ticked)
	for line := range strings.SplitSeq(c.Others, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			names = append(names, line)
		}
	}
	if len(names) == 0 {
		names = []string{""} // INBOX
	}
	return names
}

// list offers the folders of the server to choose from: names are those that
// the settings name, of which some may be patterns or not be there.
func (c *folderChoice) list(folders []Folder, names []string) {
	c.Listed = nil
	var others []string
	for _, f := range folders {
		f.Read = slices.Contains(names, f.Name) || len(names) == 0 && f.Read
		c.Listed = append(c.Listed, f)
	}
	for _, name := range names {
		if !slices.ContainsFunc(folders, func(f Folder) bool { return f.Name == name }) {
			others = append(others, name)
		}
	}
	c.Others = strings.Join(others, "\n")
}
