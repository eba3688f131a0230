package web

import (
	"net"
	"net/http"
	"net/url"
	"strings"
)

// policy keeps a page to its own scripts, styles and forms: what a mail, a
// folder or a server brings in runs nowhere.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'"

// Secure puts the headers of a careful page on every answer and refuses what
// another site has a browser send. A handler may replace a header of its own
// answer, as the preview in a frame has to.
func Secure(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Refused: this request came from another site.\n\n"+
			"Nothing was changed. Open the page itself and try again there. Behind a proxy, it must\n"+
			"pass the Host header on as the browser sent it.", http.StatusForbidden)
	}))
	guarded := sameOrigin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		guarded.ServeHTTP(w, r)
	})
}

// checkHost refuses a name that is not the page's own. Another site could have
// its name lead to this machine, and then read what its visitors are shown (DNS
// rebinding).
func (s Site) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		host = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(lower(host), "."), "["), "]")
		if !s.hosts(host) {
			http.Error(w, "This page is not here under that name: open "+s.URL.String()+"/\n\n"+
				"Behind a proxy, it must pass the Host header on as the browser sent it.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// localPath is text if it is a path of this page to go on to, else "/".
func localPath(text string) string {
	u, err := url.Parse(text)
	if err != nil || len(text) > 1000 || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") ||
		strings.ContainsAny(text, "\\\r\n\t") || strings.HasPrefix(u.Path, "/signin") || strings.HasPrefix(u.Path, "/oidc/") {
		return "/"
	}
	return text
}
