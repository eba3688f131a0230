package web

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/provider"
)

// onNew has a new provider handled, for who is signed in.
func onNew(handle providerHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		handle(w, r, provider.Fresh(cmp.Or(who(r).Tenant, db.DefaultTenant), uuid.New()))
	}
}

func (s *server) showForm(w http.ResponseWriter, r *http.Request, p *db.Provider) {
	s.render(w, r, http.StatusOK, "form.html", newPage(r, p))
}

// form has a form that was sent handled. Where it must be right, one that is not
// comes back with what is wrong beside its fields.
func (s *server) form(right bool, handle func(w http.ResponseWriter, r *http.Request, f filled)) providerHandler {
	return func(w http.ResponseWriter, r *http.Request, base *db.Provider) {
		if !s.parseForm(w, r) {
			return
		}
		f := s.fill(r, base)
		if right && !f.ok {
			s.again(w, r, http.StatusUnprocessableEntity, f)
			return
		}
		handle(w, r, f)
	}
}

// save stores what a form says, or shows it again with why it was not stored.
func (s *server) save(w http.ResponseWriter, r *http.Request, f filled) {
	var err error
	what, undone := "changed", "changed"
	how := provider.Storing{Test: f.page.Test, SameAccount: f.page.Same}
	if f.page.Adding {
		what, undone = "added", "stored"
		_, err = s.mailboxes.Add(r.Context(), f.p, f.given, how, who(r).Name)
	} else if _, err = s.mailboxes.Change(r.Context(), f.was, f.p, f.given, how, who(r).Name); errors.Is(err, provider.ErrUnchanged) {
		what, err = "unchanged", nil
	}
	name, nameTaken := errors.AsType[*db.NameTakenError](err)
	switch {
	case err == nil:
		s.drafts.take(r.PostForm.Get("draft"))
		done(w, r, path(f.p, ""), what)
		return
	case errors.Is(err, db.ErrUnreachable):
		s.fail(w, r, err)
		return
	case nameTaken:
		f.page.problem(provider.Wrong("name", "%s: choose another", name))
	case errors.Is(err, db.ErrExists):
		f.page.problem(provider.Wrong("mailbox", "this tenant has that mailbox already: change it where it is"))
	case taken(err):
		f.page.Taken = true
		f.page.Alert = say(f.p, err, "")
		if e, _ := fault.Of(err); who(r).Tenant != "" && e.Params["tenant"] != who(r).Tenant {
			f.page.Alert = "Another tenant reads this account already: tick “Read this account twice” if that is meant."
		}
	default:
		f.page.Alert = say(f.p, err, "nothing was "+undone+": “Test the connection first” switched off stores it anyway")
	}
	s.again(w, r, http.StatusUnprocessableEntity, f)
}

// taken reports whether another provider reads the account.
func taken(err error) bool {
	e, ok := fault.Of(err)
	return ok && e.Code == "account_taken"
}

// testForm tests what a form says and stores nothing.
func (s *server) testForm(w http.ResponseWriter, r *http.Request, f filled) {
	if f.page.Adding && provider.NeedsPerson(f.p) {
		f.page.Alert = "Save it first: then somebody signs in with “Connect with OAuth”, and the connection is tested."
		s.again(w, r, http.StatusUnprocessableEntity, f)
		return
	}
	var told bool
	f.page.tested, told = s.runTest(w, r, f.p, "", func(report func(provider.Step)) (*folderChoice, bool) {
		folders, passed := s.mailboxes.Test(r.Context(), f.p, f.given, f.page.Adding, report)
		if folders == nil {
			return nil, passed
		}
		f.page.Folders.list(folders, f.p.Folders)
		return &f.page.Folders, passed
	})
	if !told {
		s.again(w, r, http.StatusOK, f)
	}
}

// tested is how a test went, on a page that is made when it has ended.
type tested struct {
	Steps  []step
	Tested bool
	Passed bool
}

// stepsType is the type of an answer that comes step by step, a JSON object a
// line: what it is, and its HTML.
const stepsType = "application/x-ndjson"

// runTest tests p, whose form is another page or, when it is "", this one. A script
// gets each step as it is done: told says so. Without one all of it is for a page.
func (s *server) runTest(w http.ResponseWriter, r *http.Request, p *db.Provider, form string, test func(report func(provider.Step)) (*folderChoice, bool)) (t tested, told bool) {
	if r.Header.Get("Accept") != stepsType {
		_, t.Passed = test(func(one provider.Step) { t.Steps = append(t.Steps, worded(p, one, form)) })
		t.Tested = true
		return t, false
	}
	w.Header().Set("Content-Type", stepsType)
	send := func(kind, template string, data any) {
		var html strings.Builder
		if err := s.templates.ExecuteTemplate(&html, template, data); err != nil {
			s.log.Error("page_failed", "path", template, "error", err.Error())
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"kind": kind, "html": html.String()}) // a browser that went away
		_ = http.NewResponseController(w).Flush()                                             // likewise
	}
	folders, passed := test(func(one provider.Step) { send("step", "step", worded(p, one, form)) })
	if folders != nil {
		send("folders", "folders", folders)
	}
	send("end", "test-end", passed)
	return t, true
}

// lookupForm fills in where the mailbox lives, without a script.
func (s *server) lookupForm(w http.ResponseWriter, r *http.Request, f filled) {
	page := f.page
	clear(page.Problems) // it is not done yet
	page.Folders.Errors, page.Alert = nil, ""
	page.LookedUp, page.Found = true, presetsOf(r.Context(), s.lookup, page.Values["mailbox"], page.Values["preset"])
	if len(page.Found) > 0 {
		page.Found[0].into(page.Values)
	}
	s.again(w, r, http.StatusOK, f)
}

// presets answers the script of the form, as JSON.
func (s *server) presets(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	found := presetsOf(r.Context(), s.lookup, strings.TrimSpace(q.Get("mailbox")), q.Get("preset"))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(append([]preset{}, found...)) // a browser that went away
}
