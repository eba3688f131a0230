package web

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/provider"
	"imapsync/secret"
)

// formPage is the form of a mailbox, new or stored, as somebody filled it in.
type formPage struct {
	chrome
	tested

	Adding   bool
	Tenant   string
	ID       string // empty while adding
	Name     string // as it is stored
	Action   string // where the form goes
	Values   map[string]string
	Active   bool
	Test     bool                // before it is saved
	Same     bool                // it is meant to read an account that another provider reads
	Taken    bool                // another provider does
	Problems map[string][]string // by field
	Draft    string
	Kept     map[string]bool // credentials typed before, by field
	Stored   bool            // credentials may be stored: blank keeps them
	Folders  folderChoice
	Found    []preset // of a look-up
	LookedUp bool
	Presets  []string // the names to choose from
}

// folderChoice are the folders to read: of a list of the server's, and others.
type folderChoice struct {
	Listed []provider.Folder
	Others string // one a line
	Errors []string
	Label  string
}

// newPage is the form of p as it stands, which is new where the path names none.
func newPage(r *http.Request, p *db.Provider) *formPage {
	adding := r.PathValue("id") == ""
	page := &formPage{
		chrome: chrome{Title: "Edit " + p.Name, Who: who(r)}, Adding: adding, Tenant: p.Tenant, ID: p.ID, Name: p.Name, Action: path(p, "/edit"),
		Values: map[string]string{"tenant": p.Tenant}, Active: p.Active, Test: true, Problems: map[string][]string{}, Kept: map[string]bool{}, Stored: !adding,
		Folders: folderChoice{Others: strings.Join(p.Folders, "\n"), Label: labels["folder"]},
	}
	for _, t := range provider.Settings() {
		page.Values[t.Name] = t.Text(&p.Settings)
	}
	if since, ok := strings.CutPrefix(p.Start, "since:"); ok {
		page.Values["start"], page.Values["start-since"] = "since", since
	}
	if adding {
		page.Title, page.ID, page.Name, page.Action = "Add an IMAP mailbox", "", "", "/providers/new"
		page.Values["port"] = ""
	}
	for _, k := range known() {
		if !slices.Contains(page.Presets, k.Name) {
			page.Presets = append(page.Presets, k.Name)
		}
	}
	return page
}

// field is one field of the form. The value of a credential never comes back.
type field struct {
	Name, Label, Value string
	Errors             []string
	Kept, Stored       bool // of a credential: typed before; one may be stored
}

// Field gives a template one field.
func (p *formPage) Field(name string) field {
	return field{name, labels[name], p.Values[name], p.Problems[name], p.Kept[name], p.Stored}
}

// problem puts what is wrong beside its field, and on top what has none.
func (p *formPage) problem(list ...provider.Problem) {
	var elsewhere []string
	for _, one := range list {
		message := one.Message(called)
		if t := provider.Find(one.Setting); t != nil && !t.Form {
			elsewhere = append(elsewhere, called(one.Setting)+": "+message)
			continue
		}
		p.Problems[one.Setting] = append(p.Problems[one.Setting], message)
	}
	p.Folders.Errors = p.Problems["folder"]
	if len(elsewhere) > 0 {
		p.Alert = "Nothing was saved. What this page has no field for is wrong: " + strings.Join(elsewhere, "; ")
	}
}

// Summary counts what is wrong, for the top of the form.
func (p *formPage) Summary() (list []field) {
	names := []string{"tenant"}
	for _, t := range provider.Settings() {
		names = append(names, t.Name)
	}
	for _, name := range append(names, provider.Password, provider.ClientSecret, provider.ServiceAccount) {
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
	was   *db.Provider
	p     *db.Provider
	given provider.CredentialInput
	ok    bool // nothing is wrong with the settings
}

// fill reads the form into a copy of base.
func (s *server) fill(r *http.Request, base *db.Provider) filled {
	me, is, page := who(r), *base, newPage(r, base)
	adding := page.Adding
	f := filled{page: page, was: base, p: &is, given: provider.CredentialInput{}}
	text := func(name string) string { return strings.TrimSpace(r.PostForm.Get(name)) }

	given := provider.Values{}
	for _, t := range provider.Settings() {
		if !t.Form {
			continue
		}
		page.Values[t.Name] = text(t.Name)
		values := []string{page.Values[t.Name]}
		switch {
		case t.Kind == provider.List:
			values = page.Folders.read(r)
		case t.Kind == provider.PEM:
			values[0] = strings.ReplaceAll(values[0], "\r\n", "\n")
			page.Values[t.Name] = values[0]
		case t.Kind == provider.Bool:
			values[0] = strconv.FormatBool(values[0] != "")
		case t.Name == "start" && values[0] == "since":
			values[0] = "since:" + text("start-since")
		}
		// What is left blank in a new form is as if it was not given.
		blank := strings.Join(values, "") == ""
		if (!t.OAuth || text("auth") == db.AuthOAuth2) && !(adding && blank) {
			given[t.Name] = values
		}
	}
	page.Values["start-since"], page.Values["preset"] = text("start-since"), text("preset")
	if adding && me.Tenant == "" {
		is.Tenant = text("tenant")
		if id, err := uuid.Parse(is.Tenant); err == nil {
			is.Tenant = id.String()
		}
		page.Values["tenant"], page.Tenant = is.Tenant, is.Tenant
	}
	page.Test, page.Same = text("test") != "", text("same-account") != ""
	before, _ := s.drafts.find(r.PostForm.Get("draft"))
	maps.Copy(f.given, before.of(me)) // what is typed now goes before
	f.given.Give(provider.Password, secret.New(r.PostForm.Get("password")))
	f.given.Give(provider.ClientSecret, secret.New(text("oauth-client-secret")))
	f.given.Give(provider.ServiceAccount, secret.New(text("oauth-service-account")))
	problems := provider.Apply(&is, given, adding)
	page.Active = is.Active
	if is.AuthType == db.AuthOAuth2 {
		delete(f.given, provider.Password)
	} else {
		delete(f.given, provider.ClientSecret)
		delete(f.given, provider.ServiceAccount)
	}
	problems = provider.Problems(&is, append(problems, s.mailboxes.CredentialProblems(r.Context(), &is, f.given, adding)...))
	page.problem(problems...)
	f.ok = len(problems) == 0
	return f
}

// again shows the form once more, with all that was typed but the credentials:
// those stay here.
func (s *server) again(w http.ResponseWriter, r *http.Request, status int, f filled) {
	s.drafts.take(r.PostForm.Get("draft"))
	if len(f.given) > 0 {
		f.page.Draft = s.drafts.keep(draft{f.given, who(r)})
	}
	for name := range f.given {
		f.page.Kept[name] = true
	}
	s.render(w, r, status, "form.html", f.page)
}

// read takes the folders that were ticked, and those that were written.
func (c *folderChoice) read(r *http.Request) []string {
	ticked := r.PostForm["folder"]
	c.Others = strings.ReplaceAll(r.PostForm.Get("folders"), "\r\n", "\n")
	c.Listed = nil
	for i, name := range r.PostForm["listed"] {
		f := provider.Folder{Configured: slices.Contains(ticked, name)}
		f.Name, f.Messages = name, -1
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
func (c *folderChoice) list(folders []provider.Folder, names []string) {
	c.Listed = nil
	var others []string
	for _, f := range folders {
		f.Configured = slices.Contains(names, f.Name) || len(names) == 0 && f.Configured
		c.Listed = append(c.Listed, f)
	}
	for _, name := range names {
		if !slices.ContainsFunc(folders, func(f provider.Folder) bool { return f.Name == name }) {
			others = append(others, name)
		}
	}
	c.Others = strings.Join(others, "\n")
}
