package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

var signinTemplate = template.Must(template.ParseFS(templateFiles, "templates/signin.html"))

// The cookies: of a session, which no other site can make a browser send, and of
// a sign-in under way at an OpenID provider, which comes back from there.
const (
	sessionCookie = "imapsync_session"
	flowCookie    = "imapsync_signin"
)

// How people sign in, as logs have it.
const (
	byLink  = "link"
	byToken = "token"
	byOIDC  = "oidc"
	unnamed = "web-" // and how, for who has no name
)

// gate lets in who has signed in: by a one-time link, by a token or at an OpenID
// provider. It keeps sessions and failures in memory, both bounded.
type gate struct {
	site     origin
	token    verifier
	oidc     *openID // nil: none
	log      *slog.Logger
	link     link
	sessions *kept[Principal]
	limit    *limiter
}

func newGate(site origin, log *slog.Logger) *gate {
	return &gate{site: site, log: log, sessions: newSessions(), limit: newLimiter()}
}

// open reads what people sign in with. Where nothing else signs them in, link is
// a one-time link: whoever opens it within 15 minutes signs in for all tenants.
func (g *gate) open(ctx context.Context, o Options) (link string, err error) {
	if o.TokenFile != "" {
		token, err := readToken(o.TokenFile)
		if err != nil {
			return "", fmt.Errorf("--web-token-file: %w", err)
		}
		g.token = newVerifier(token.Reveal())
	}
	if g.oidc, err = newOIDC(ctx, o.OIDC, g.site); err != nil || g.oidc != nil || g.token.set {
		return "", err
	}
	return g.newLink(), nil
}

// newLink makes a one-time link, and ends the one before.
func (g *gate) newLink() string { return g.site.URL.String() + "/signin?token=" + g.link.renew() }

// handler answers who is not signed in, and hands all others to next with their
// Principal in the context. The assets are for everybody: the sign-in page needs them.
func (g *gate) handler(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /signin", g.showSignin)
	mux.HandleFunc("POST /signin", g.signIn)
	mux.HandleFunc("POST /signout", g.signOut)
	if g.oidc != nil {
		mux.HandleFunc("GET /signin/oidc", g.beginOIDC)
		mux.HandleFunc("GET "+callbackPath, g.finishOIDC)
	}
	mux.Handle("GET /assets/", next)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if p, ok := g.principal(w, r); ok {
			next.ServeHTTP(w, r.WithContext(withPrincipal(r.Context(), p)))
		}
	})
	return mux
}

// principal tells who asks, or answers that nobody has signed in.
func (g *gate) principal(w http.ResponseWriter, r *http.Request) (Principal, bool) {
	if token, given := bearer(r); given && g.token.set {
		if !g.attempt(w, r, byToken) {
			return Principal{}, false
		}
		if g.token.is(token) {
			g.limit.giveBack(g.address(r))
			return Principal{Name: unnamed + byToken}, true
		}
		g.logRefusal(r, byToken, errTokenWrong)
		g.unauthorised(w, errTokenWrong.Error())
		return Principal{}, false
	}
	if p, ok := g.sessions.find(g.site.cookieValue(r, sessionCookie)); ok {
		return p, true
	}
	page := r.Method == http.MethodGet || r.Method == http.MethodHead
	if !page || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		g.unauthorised(w, "sign in first: "+g.site.URL.String()+"/signin")
		return Principal{}, false
	}
	to := "/signin"
	if from := localPath(r.URL.RequestURI()); from != "/" {
		to += "?next=" + url.QueryEscape(from)
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return Principal{}, false
}

var errTokenWrong = errors.New("the token is wrong")

func (g *gate) unauthorised(w http.ResponseWriter, text string) {
	if g.token.set {
		w.Header().Set("WWW-Authenticate", `Bearer realm="imapsync"`)
	}
	http.Error(w, text, http.StatusUnauthorized)
}

// attempt counts a try to sign in, or answers that there were too many. The one
// who gets it right gives it back.
func (g *gate) attempt(w http.ResponseWriter, r *http.Request, method string) bool {
	wait := g.limit.take(g.address(r))
	if wait <= 0 {
		return true
	}
	g.log.Debug("signin_limited", "method", method, "address", g.address(r), "wait_ms", wait.Milliseconds())
	seconds := strconv.Itoa(int(math.Ceil(wait.Seconds())))
	w.Header().Set("Retry-After", seconds)
	told := "too many sign-ins failed: try again in " + seconds + " s"
	if _, program := bearer(r); program {
		http.Error(w, told, http.StatusTooManyRequests)
		return false
	}
	g.page(w, http.StatusTooManyRequests, g.form(r, told))
	return false
}

func (g *gate) address(r *http.Request) string { return addressOf(r, g.site.BehindProxy) }

func (g *gate) logRefusal(r *http.Request, method string, err error) {
	g.log.Warn("signin_refused", "method", method, "address", g.address(r), "error", err.Error())
}

type signinPage struct {
	Title     string
	Error     string // why not
	Next      string // where to go afterwards
	Continue  string // go there now
	LinkToken string // of a one-time link that was opened
	OIDC      string // the provider's name; "" none
	Token     bool   // there is a token
	Link      bool   // there is a one-time link
}

func (g *gate) form(r *http.Request, problem string) signinPage {
	next := cmp.Or(r.PostForm.Get("next"), r.URL.Query().Get("next"))
	p := signinPage{Title: "Sign in", Error: problem, Next: localPath(next), Token: g.token.set, Link: g.link.exists()}
	if g.oidc != nil {
		p.OIDC = g.oidc.name
	}
	return p
}

func (g *gate) page(w http.ResponseWriter, status int, p signinPage) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	if err := signinTemplate.Execute(w, p); err != nil {
		g.log.Debug("signin_page_failed", "error", err.Error()) // the browser went away
	}
}

// showSignin asks how to sign in. A one-time link is not used up by opening it,
// since mail and chat programs open links ahead of people: a button does that.
func (g *gate) showSignin(w http.ResponseWriter, r *http.Request) {
	p := g.form(r, "")
	p.LinkToken = r.URL.Query().Get("token")
	if _, ok := g.sessions.find(g.site.cookieValue(r, sessionCookie)); ok {
		http.Redirect(w, r, p.Next, http.StatusSeeOther)
		return
	}
	g.page(w, http.StatusOK, p)
}

// signIn takes the form: a token, or that of a one-time link.
func (g *gate) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "the form cannot be read", http.StatusBadRequest)
		return
	}
	method, err := byToken, error(nil)
	linkToken := r.PostForm.Get("link")
	if linkToken != "" {
		method = byLink
	}
	if !g.attempt(w, r, method) {
		return
	}
	switch {
	case method == byLink:
		err = g.link.use(linkToken)
	case !g.token.is(strings.TrimSpace(r.PostForm.Get("token"))):
		err = errTokenWrong
	}
	if err != nil {
		g.logRefusal(r, method, err)
		g.page(w, http.StatusUnauthorized, g.form(r, err.Error()))
		return
	}
	g.begin(w, r, Principal{Name: unnamed + method}, method)
	http.Redirect(w, r, localPath(r.PostForm.Get("next")), http.StatusSeeOther) //nolint:gosec // G710: a path of this page
}

// begin gives a browser a session of its own, whichever it had before.
func (g *gate) begin(w http.ResponseWriter, r *http.Request, p Principal, method string) {
	g.limit.giveBack(g.address(r))
	g.sessions.take(g.site.cookieValue(r, sessionCookie))
	http.SetCookie(w, g.site.cookie(sessionCookie, g.sessions.keep(p), http.SameSiteStrictMode, sessionAbsolute))
	g.log.Info("signin", "method", method, "user", p.Name, "tenant", p.Tenant, "address", g.address(r))
}

func (g *gate) signOut(w http.ResponseWriter, r *http.Request) {
	if p, ok := g.sessions.take(g.site.cookieValue(r, sessionCookie)); ok {
		g.log.Info("signout", "user", p.Name, "tenant", p.Tenant, "address", g.address(r))
	}
	http.SetCookie(w, g.site.cookie(sessionCookie, "", http.SameSiteStrictMode, 0))
	http.Redirect(w, r, "/signin", http.StatusSeeOther)
}

// beginOIDC sends a browser to the provider. It is a link and no form, which
// form-action of the policy would not let go elsewhere.
func (g *gate) beginOIDC(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	next := localPath(query.Get("next"))
	if back := g.oidc.back; !strings.EqualFold(back.Host, r.Host) && query.Get("again") == "" {
		// The provider comes back to that name, and cookies belong to a name.
		http.Redirect(w, r, back.Scheme+"://"+back.Host+"/signin/oidc?again=1&next="+url.QueryEscape(next), http.StatusSeeOther)
		return
	}
	cookie, address := g.oidc.begin(next, time.Now())
	// Lax: the way back from the provider is a link from another site.
	http.SetCookie(w, g.site.cookie(flowCookie, cookie, http.SameSiteLaxMode, flowLasts))
	http.Redirect(w, r, address, http.StatusSeeOther) //nolint:gosec // G710: the provider's, as configured
}

// finishOIDC takes the provider's answer. A redirect from here would still be
// the other site's doing, without the session's cookie, which is Strict: so a
// page of ours leads on.
func (g *gate) finishOIDC(w http.ResponseWriter, r *http.Request) {
	cookie, answer := g.site.cookieValue(r, flowCookie), r.URL.Query()
	// What another site has a browser ask for ends here, and counts for nothing.
	next, err := g.oidc.check(cookie, answer.Get("state"), time.Now())
	if err != nil {
		g.page(w, http.StatusUnauthorized, g.form(r, err.Error()))
		return
	}
	if !g.attempt(w, r, byOIDC) {
		return
	}
	http.SetCookie(w, g.site.cookie(flowCookie, "", http.SameSiteLaxMode, 0))
	p, err := g.oidc.finish(r.Context(), cookie, answer)
	if err != nil {
		g.logRefusal(r, byOIDC, err)
		told := err.Error()
		if why, ok := errors.AsType[*refusal](err); ok {
			told = why.told
		}
		g.page(w, http.StatusUnauthorized, g.form(r, told))
		return
	}
	g.begin(w, r, p, byOIDC)
	g.page(w, http.StatusOK, signinPage{Title: "Signed in", Continue: next})
}
