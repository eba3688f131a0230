// Package web serves the settings page: the mailboxes, their settings, where
// they stand, and what is done to them by hand.
//
// Pages are made on the server and work without a script; the script only saves
// reloading them. Invariants: nobody sees or changes anything without having
// signed in, and then of one tenant if the sign-in names one; a credential is
// never sent to a browser, neither a stored one nor one that was typed; what a
// mail, a server or a person wrote reaches a page escaped, and HTML of a mail
// only in a frame that may do nothing.
package web

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/provider"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed assets
var assetFiles embed.FS

// Options say what the page works on, where it is and how people sign in: by
// one-time links alone where there is neither a token nor an OpenID provider.
type Options struct {
	Mailboxes *provider.Service
	Log       *slog.Logger // gets sign-ins and refusals
	Listen    ListenOptions
	TokenFile string // empty: none
	OIDC      OIDCOptions
}

// Page is the settings page at its open address.
type Page struct {
	URL  string // scheme and host
	Link string // a one-time link to sign in by; empty where people sign in otherwise

	listener *listener
	handler  http.Handler
	server   *server
}

// Open opens the address of the page. Tasks that people begin there end with ctx.
// Each error is one of configuration and names the flag that mends it.
func Open(ctx context.Context, o Options) (*Page, error) {
	l, err := listen(ctx, o.Listen)
	if err != nil {
		return nil, err
	}
	o.Log.Info("listen", "address", l.Addr().String())
	g := newGate(l.site, o.Log)
	link, err := g.open(ctx, o)
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s := newServer(ctx, o.Mailboxes, o.Log, l.site)
	return &Page{URL: l.site.URL.String(), Link: link, listener: l, handler: s.handler(g.handler), server: s}, nil
}

// Serve answers until ctx ends, then lets requests and tasks end: a pass ends its
// chunk and commits, which has a bound.
func (p *Page) Serve(ctx context.Context) error {
	defer p.server.tasks.wg.Wait()
	if err := p.listener.serve(ctx, p.handler, p.server.log); err != nil {
		p.server.log.Error("listen_failed", "error", err.Error())
		return fmt.Errorf("serve %s: %w", p.listener.Addr(), err)
	}
	return nil
}

// server serves the pages. It is safe for concurrent use.
type server struct {
	mailboxes *provider.Service
	store     *db.Store
	log       *slog.Logger
	at        origin
	lookup    lookupSRV
	openRaw   func(ctx context.Context, q *db.Quarantine) (io.ReadCloser, error)
	templates *template.Template
	tasks     *tasks
	drafts    *kept[draft]
	logins    *kept[login]
}

func newServer(ctx context.Context, mailboxes *provider.Service, log *slog.Logger, at origin) *server {
	return &server{
		mailboxes: mailboxes, store: mailboxes.Store, log: log, at: at, lookup: net.DefaultResolver.LookupSRV, openRaw: mailboxes.OpenRaw,
		templates: template.Must(template.New("").Funcs(functions()).ParseFS(templateFiles, "templates/*.html")),
		tasks:     &tasks{ctx: ctx, known: map[taskKey]*taskView{}}, drafts: newDrafts(), logins: newLogins(),
	}
}

// handler returns the pages behind gate, which says who is signed in. Not
// behind it are the assets, and the address that an authorization server sends
// a browser back to: that one has a proof of its own.
func (s *server) handler(gate func(http.Handler) http.Handler) http.Handler {
	pages := gate(s.pages())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /assets/{file}", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFileFS(w, r, assetFiles, "assets/"+r.PathValue("file"))
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if isCallback(r) {
			s.callback(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	})
	return mux
}

// pages are those for whoever is signed in.
func (s *server) pages() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.list)
	mux.HandleFunc("GET /presets", s.presets)
	const one, message = "/t/{tenant}/{id}", "/t/{tenant}/{id}/quarantine/{message}"
	mux.HandleFunc("GET "+one, s.onProvider(s.show))
	mux.HandleFunc("GET "+one+"/tasks", s.onProvider(s.showTasks))
	for form, on := range map[string]func(providerHandler) http.HandlerFunc{"/providers/new": onNew, one + "/edit": s.onProvider} {
		mux.HandleFunc("GET "+form, on(s.showForm))
		mux.HandleFunc("POST "+form, on(s.form(true, s.save)))
		mux.HandleFunc("POST "+form+"/test", on(s.form(true, s.testForm)))
		mux.HandleFunc("POST "+form+"/lookup", on(s.form(false, s.lookupForm)))
	}
	mux.HandleFunc("POST "+one+"/test", s.onProvider(s.test))
	mux.HandleFunc("POST "+one+"/pause", s.onProvider(s.act("paused", s.pause)))
	mux.HandleFunc("POST "+one+"/resume", s.onProvider(s.act("resumed", s.resume)))
	mux.HandleFunc("POST "+one+"/resync", s.onProvider(s.act("resynced", s.resync)))
	mux.HandleFunc("POST "+one+"/sync", s.onProvider(s.task(taskSync, s.sync)))
	mux.HandleFunc("POST "+one+"/reconcile", s.onProvider(s.task(taskReconcile, s.reconcile)))
	mux.HandleFunc("GET "+one+"/remove", s.onProvider(s.remove))
	mux.HandleFunc("POST "+one+"/remove", s.onProvider(s.remove))
	mux.HandleFunc("POST "+one+"/connect", s.onProvider(s.connect))
	mux.HandleFunc("GET "+message, s.onMessage(s.quarantined))
	mux.HandleFunc("GET "+message+"/html", s.onMessage(s.quarantinedHTML))
	mux.HandleFunc("GET "+message+"/mail.eml", s.onMessage(s.quarantinedRaw))
	mux.HandleFunc("POST "+message+"/{verb}", s.onMessage(s.setQuarantine))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.fail(w, r, db.ErrNotFound) })
	return mux
}

// chrome is what all pages have.
type chrome struct {
	Title   string
	Who     Principal
	Done    string // what has just been done
	Alert   string // what went wrong
	Refresh string // where the browser goes by itself, such as "2;url=/"
}

// provider finds the provider of a path, for who may see it.
func (s *server) provider(r *http.Request) (*db.Provider, error) {
	ref := db.Ref{Tenant: r.PathValue("tenant"), ID: r.PathValue("id")}
	if sees := who(r).Tenant; !isUUID(ref.Tenant) || !isUUID(ref.ID) || sees != "" && sees != ref.Tenant {
		return nil, db.ErrNotFound
	}
	return s.store.Provider(r.Context(), ref)
}

// providerHandler answers a request about a mailbox.
type providerHandler func(w http.ResponseWriter, r *http.Request, p *db.Provider)

// onProvider has the provider of the path handled.
func (s *server) onProvider(handle providerHandler) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := s.provider(r)
		if err != nil {
			s.fail(w, r, err)
			return
		}
		handle(w, r, p)
	}
}

func isUUID(s string) bool {
	id, err := uuid.Parse(s)
	return err == nil && id.String() == s
}

func path(p *db.Provider, more string) string { return "/t/" + p.Tenant + "/" + p.ID + more }

// render answers with a page, whole or not at all.
func (s *server) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var page bytes.Buffer
	if err := s.templates.ExecuteTemplate(&page, name, data); err != nil {
		s.log.Error("page_failed", "path", r.URL.Path, "error", err.Error())
		http.Error(w, "The page could not be made; the log says why.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // a browser that went away
}

type failPage struct {
	chrome

	Text string
}

// fail answers with what went wrong. What the database said stays in the log.
func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := failPage{chrome: chrome{Title: "Something went wrong", Who: who(r)}, Text: "The log says what it was."}
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, db.ErrNotFound):
		status = http.StatusNotFound
		p.Title, p.Text = "Not found", "There is no such page, or no such mailbox any more."
	case errors.Is(err, db.ErrUnreachable):
		status = http.StatusServiceUnavailable
		p.Text = "PostgreSQL cannot be reached. Try again in a moment."
	case errors.Is(err, context.Canceled):
		return // the browser went away
	}
	if status != http.StatusNotFound {
		s.log.Error("page_failed", "path", r.URL.Path, "error", err.Error())
	}
	s.render(w, r, status, "fail.html", p)
}

// parseForm reads a form. When it reports false it has answered.
func (s *server) parseForm(w http.ResponseWriter, r *http.Request) bool {
	if err := r.ParseMultipartForm(maxBody); err != nil && !errors.Is(err, http.ErrNotMultipart) { //nolint:gosec // G120: the listener bounds bodies
		p := failPage{chrome: chrome{Title: "The form cannot be read", Who: who(r)}, Text: "It is broken, or larger than 1 MB."}
		s.render(w, r, http.StatusBadRequest, "fail.html", p)
		return false
	}
	return true
}

func done(w http.ResponseWriter, r *http.Request, to, what string) {
	if what != "" {
		to += "?done=" + what
	}
	http.Redirect(w, r, to, http.StatusSeeOther) //nolint:gosec // G710: paths of this page
}

// doneText is what a page says of what has just been done. Only these words get
// from an address into a page.
func doneText(r *http.Request) string {
	return map[string]string{
		"added": "The mailbox was added.", "changed": "The settings were saved.", "unchanged": "Nothing was changed.",
		"paused": "Paused. Mail waits on the server.", "resumed": "Resumed. The next run reads it.", "removed": "The mailbox was removed.",
		"resynced": "The next pass goes through the folders again.", "retry": "The message is tried again by the next pass.",
		"release": "The message goes out by its headers with the next pass.", "discard": "The message was given up.",
		"connected": "Signed in. What was granted is stored.",
	}[r.URL.Query().Get("done")]
}

// site is where the browser finds this server: what the request says, unless
// that was given.
func (s *server) site(r *http.Request) origin {
	at := s.at.given
	if at == nil {
		at = &url.URL{Scheme: "http", Host: r.Host}
		if r.TLS != nil {
			at.Scheme = "https"
		}
	}
	return origin{URL: at}
}
