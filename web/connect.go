package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"imapsync/db"
	"imapsync/oauth"
	"imapsync/provider"
)

// login is a sign-in with OAuth2 under way, by the id in the cookie of the
// browser that began it. The session's own cookie does not come along when an
// authorization server sends the browser back; this one does, and it proves that
// the browser which comes back is the one that went.
type login struct {
	*oauth.Login

	ref db.Ref
	by  Principal
}

const (
	loginCookie = "imapsync_login"
	loginLife   = 15 * time.Minute
)

func newLogins() *kept[login] { return &kept[login]{idle: loginLife, life: loginLife, most: 500} }

type connectPage struct {
	chrome

	Provider *db.Provider
	URL      string
	Server   string // that the person signs in at
	Redirect string
	Err      string
	Back     string
}

// connect begins a sign-in. It ends in a link and not in a redirect, which the
// pages' policy lets go to this server only.
func (s *server) connect(w http.ResponseWriter, r *http.Request, p *db.Provider) {
	if p.OAuthFlow == db.FlowDevice {
		s.task(taskDevice, s.deviceLogin)(w, r, p)
		return
	}
	page := connectPage{chrome: chrome{Title: "Connect " + p.Name, Who: who(r)}, Provider: p, Redirect: s.site(r).URL.String(), Back: path(p, "")}
	client, err := s.mailboxes.SignIn(r.Context(), p)
	if err != nil {
		s.alert(w, r, http.StatusUnprocessableEntity, p, say(p, err, ""))
		return
	}
	begun := client.Begin(page.Redirect)
	// Lax, where the session's is Strict: it comes along when the browser is sent back.
	http.SetCookie(w, s.site(r).cookie(loginCookie, s.logins.keep(login{begun, p.Ref(), who(r)}), http.SameSiteLaxMode, loginLife))
	page.URL = begun.URL
	if u, err := url.Parse(begun.URL); err == nil {
		page.Server = u.Hostname()
	}
	s.render(w, r, http.StatusOK, "connect.html", page)
}

// isCallback reports whether a browser is sent back by an authorization server.
func isCallback(r *http.Request) bool {
	q := r.URL.Query()
	return r.Method == http.MethodGet && r.URL.Path == "/" && q.Has("state") && (q.Has("code") || q.Has("error")) && q.Get("state") != ""
}

// callback ends a sign-in: the cookie says which one, its state has to be that
// of the address, and the code is worth nothing without its PKCE verifier.
func (s *server) callback(w http.ResponseWriter, r *http.Request) {
	page := connectPage{chrome: chrome{Title: "Connect"}, Back: "/"}
	answer := func(status int, err string) {
		page.Err = err
		s.render(w, r, status, "connected.html", page)
	}
	site := s.site(r)
	cookie := site.cookieValue(r, loginCookie)
	if cookie == "" {
		answer(http.StatusBadRequest, "This browser has begun no sign-in: begin with “Connect with OAuth”.")
		return
	}
	http.SetCookie(w, site.cookie(loginCookie, "", http.SameSiteLaxMode, 0))
	begun, ok := s.logins.take(cookie)
	if !ok {
		answer(http.StatusBadRequest, "The sign-in took too long, or was begun twice: begin anew with “Connect with OAuth”.")
		return
	}
	p, err := s.store.Provider(r.Context(), begun.ref)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	page.Provider, page.Back = p, path(p, "")
	tokens, err := begun.Finish(r.Context(), site.URL.String()+"/?"+r.URL.RawQuery)
	if err != nil {
		err = fmt.Errorf("%s: %w", p.Name, err)
	} else {
		err = s.mailboxes.KeepTokens(r.Context(), p, tokens, begun.by.Name)
	}
	if err != nil {
		s.log.Warn("login_failed", "tenant", p.Tenant, "provider_id", p.ID, "provider", p.Name, "error", err.Error())
		answer(http.StatusUnprocessableEntity, say(p, err, ""))
		return
	}
	// A page of ours asks for the next one, so the session's cookie comes along.
	page.Refresh = "1;url=" + path(p, "?done=connected")
	answer(http.StatusOK, "")
}

// deviceLogin has somebody sign in on another device: it reports what to open
// and type there, and waits for it.
func (s *server) deviceLogin(ctx context.Context, p *db.Provider, by string, report func(provider.Progress)) (string, error) {
	client, err := s.mailboxes.SignIn(ctx, p)
	if err != nil {
		return "", err
	}
	device, err := client.BeginDevice(ctx)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.Name, err)
	}
	report(provider.Progress{Text: "Open " + device.URL + " on any device and type " + device.UserCode})
	tokens, err := device.Wait(ctx)
	if err != nil {
		return "", fmt.Errorf("%s: %w", p.Name, err)
	}
	if err := s.mailboxes.KeepTokens(ctx, p, tokens, by); err != nil {
		return "", err
	}
	return "signed in; what was granted is stored", nil
}
