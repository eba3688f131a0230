package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/provider"
)

// blank is a new provider for who is signed in.
func (s *Server) blank(r *http.Request) (*db.Provider, error) {
	tenant := who(r).Tenant
	if tenant == "" {
		tenant = db.DefaultTenant
	}
	id, err := uuid.NewRandom()
	return provider.Fresh(tenant, id), err
}

func (s *Server) newForm(w http.ResponseWriter, r *http.Request) {
	p, err := s.blank(r)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, "form.html", newPage(who(r), p, true))
}

func (s *Server) editForm(w http.ResponseWriter, r *http.Request) {
	if p, ok := s.provider(w, r); ok {
		s.render(w, r, http.StatusOK, "form.html", newPage(who(r), p, false))
	}
}

// sent reads the form of a new mailbox or of a stored one. When it reports
// false it has answered.
func (s *Server) sent(w http.ResponseWriter, r *http.Request, adding bool) (base *db.Provider, f filled, ok bool) {
	if adding {
		var err error
		if base, err = s.blank(r); err != nil {
			s.fail(w, r, err)
			return nil, f, false
		}
	} else if base, ok = s.provider(w, r); !ok {
		return nil, f, false
	}
	if !s.parseForm(w, r) {
		return nil, f, false
	}
	return base, s.fill(r, base, adding), true
}

// right is sent for a form that has to be right: one that is not comes back with
// what is wrong beside its fields.
func (s *Server) right(w http.ResponseWriter, r *http.Request, adding bool) (base *db.Provider, f filled, ok bool) {
	base, f, ok = s.sent(w, r, adding)
	if ok && !f.ok {
		s.again(w, r, http.StatusUnprocessableEntity, f)
		return nil, f, false
	}
	return base, f, ok
}

func (s *Server) add(w http.ResponseWriter, r *http.Request) {
	_, f, ok := s.right(w, r, true)
	if !ok {
		return
	}
	if _, err := s.mailboxes.Add(r.Context(), f.p, f.given, f.page.Test, who(r).Name); err != nil {
		s.refused(w, r, f, err, "nothing was stored: “Test the connection first” switched off stores it anyway")
		return
	}
	s.drafts.take(r.PostForm.Get("draft"))
	done(w, r, path(f.p, ""), "added")
}

func (s *Server) change(w http.ResponseWriter, r *http.Request) {
	was, f, ok := s.right(w, r, false)
	if !ok {
		return
	}
	_, err := s.mailboxes.Change(r.Context(), was, f.p, f.given, f.page.Test, who(r).Name)
	if errors.Is(err, provider.ErrUnchanged) {
		done(w, r, path(f.p, ""), "unchanged")
		return
	}
	if err != nil {
		s.refused(w, r, f, err, "nothing was changed: “Test the connection first” switched off stores it anyway")
		return
	}
	s.drafts.take(r.PostForm.Get("draft"))
	done(w, r, path(f.p, ""), "changed")
}

// refused shows the form again with why it was not saved: that the connection
// did not pass its test, it says with what is undone.
func (s *Server) refused(w http.ResponseWriter, r *http.Request, f filled, err error, undone string) {
	taken, nameTaken := errors.AsType[*db.NameTakenError](err)
	switch {
	case nameTaken:
		f.page.problem(provider.Wrong("name", "%s: choose another", taken))
	case errors.Is(err, db.ErrExists):
		f.page.problem(provider.Wrong("mailbox", "this tenant has that mailbox already: change it where it is"))
	case errors.Is(err, db.ErrUnreachable):
		s.fail(w, r, err)
		return
	default:
		f.page.Alert = say(f.p, err, undone)
	}
	s.again(w, r, http.StatusUnprocessableEntity, f)
}

func (s *Server) testNew(w http.ResponseWriter, r *http.Request)    { s.testForm(w, r, true) }
func (s *Server) testEdited(w http.ResponseWriter, r *http.Request) { s.testForm(w, r, false) }

// testForm tests what a form says and stores nothing. A script gets each step as
// it is done; without one the form comes back with all of them.
func (s *Server) testForm(w http.ResponseWriter, r *http.Request, adding bool) {
	_, f, ok := s.right(w, r, adding)
	if !ok {
		return
	}
	if adding && provider.NeedsPerson(f.p) {
		f.page.Alert = "Save it first: then somebody signs in with “Connect with OAuth”, and the connection is tested."
		s.again(w, r, http.StatusUnprocessableEntity, f)
		return
	}
	names := f.p.Folders
	if wantsSteps(r) {
		st := s.stream(w)
		folders, passed := s.mailboxes.Test(r.Context(), f.p, f.given, adding, func(s provider.Step) { st.step(f.p, s) })
		if folders != nil {
			f.page.Folders.list(folders, names)
			st.send("folders", "folders", f.page.Folders)
		}
		st.send("end", "test-end", passed)
		return
	}
	f.page.Tested = true
	folders, passed := s.mailboxes.Test(r.Context(), f.p, f.given, adding, func(s provider.Step) { f.page.Steps = append(f.page.Steps, worded(f.p, s)) })
	f.page.Passed = passed
	if folders != nil {
		f.page.Folders.list(folders, names)
	}
	s.again(w, r, http.StatusOK, f)
}

// stepsType is the type of an answer that comes step by step, a JSON object a
// line: what it is, and its HTML.
const stepsType = "application/x-ndjson"

func wantsSteps(r *http.Request) bool { return r.Header.Get("Accept") == stepsType }

// stepStream is an answer that comes step by step.
type stepStream struct {
	server *Server
	w      http.ResponseWriter
}

func (s *Server) stream(w http.ResponseWriter) stepStream {
	w.Header().Set("Content-Type", stepsType)
	return stepStream{s, w}
}

func (st stepStream) step(p *db.Provider, s provider.Step) {
	st.send("step", "step", worded(p, s))
}

func (st stepStream) send(kind, template string, data any) {
	var html strings.Builder
	if err := st.server.templates.ExecuteTemplate(&html, template, data); err != nil {
		st.server.log.Error("page_failed", "path", template, "error", err.Error())
		return
	}
	line := struct {
		Kind string `json:"kind"`
		HTML string `json:"html"`
	}{kind, html.String()}
	_ = json.NewEncoder(st.w).Encode(line)       // a browser that went away
	_ = http.NewResponseController(st.w).Flush() // likewise
}

func (s *Server) lookupNew(w http.ResponseWriter, r *http.Request)    { s.lookupForm(w, r, true) }
func (s *Server) lookupEdited(w http.ResponseWriter, r *http.Request) { s.lookupForm(w, r, false) }

// lookupForm fills in where the mailbox lives, without a script.
func (s *Server) lookupForm(w http.ResponseWriter, r *http.Request, adding bool) {
	_, f, ok := s.sent(w, r, adding)
	if !ok {
		return
	}
	page := f.page
	clear(page.Problems) // it is not done yet
	page.Folders.Errors, page.Alert = nil, ""
	page.LookedUp, page.Found = true, s.presetsOf(r, page.Values["mailbox"], page.Values["preset"])
	if len(page.Found) > 0 {
		page.Found[0].into(page.Values)
	}
	s.again(w, r, http.StatusOK, f)
}

// into fills a form in.
func (p preset) into(values map[string]string) {
	values["host"], values["tls"] = p.Host, p.TLS
	values["port"] = portText(p.Port)
	if p.Auth != "" {
		values["auth"] = p.Auth
	}
	if p.OAuthPreset != "" && values["oauth-preset"] == "" {
		values["oauth-preset"] = p.OAuthPreset
	}
	if values["username"] == "" {
		values["username"] = values["mailbox"]
	}
}

// presets answers the script of the form, as JSON.
func (s *Server) presets(w http.ResponseWriter, r *http.Request) {
	found := s.presetsOf(r, strings.TrimSpace(r.URL.Query().Get("mailbox")), r.URL.Query().Get("preset"))
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(append([]preset{}, found...)) // a browser that went away
}

// presetsOf are those of a company that was chosen, else of the mailbox.
func (s *Server) presetsOf(r *http.Request, mailbox, name string) []preset {
	for _, k := range known() {
		if name != "" && k.Name == name {
			p := k.preset
			p.Port, p.TLS = 993, string(db.TLSImplicit)
			return []preset{p}
		}
	}
	return presetsFor(r.Context(), s.lookup, mailbox)
}
