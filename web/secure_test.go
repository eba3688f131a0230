package web

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecureHeaders(t *testing.T) {
	s := serve(t, withToken)
	want := map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
			"form-action 'self'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'",
		"Cache-Control":          "no-store",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
		"Permissions-Policy":     "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
	}
	for what, a := range map[string]answer{
		"page": s.get("/signin"), "redirect": s.get("/providers"), "401": s.get("/", "Accept", "*/*"), "asset": s.get("/assets/style.css"),
		"421": s.get("/", "Host", "evil.example"), "403": s.post("/signin", url.Values{}, "Sec-Fetch-Site", "cross-site"),
		"inside": s.get("/", "Authorization", "Bearer "+testToken),
	} {
		got := map[string]string{}
		for name := range want {
			got[name] = strings.Join(a.Header.Values(name), " AND ")
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

// Another site cannot have a browser change anything, whatever cookies it sends.
func TestSecureCrossSite(t *testing.T) {
	s := serve(t, withToken)
	s.want("sign in", s.post("/signin", url.Values{"token": {testToken}}, "Sec-Fetch-Site", "same-origin"), http.StatusSeeOther)
	for _, header := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"},
		{"Origin", strings.Replace(s.url, "127.0.0.1:", "127.0.0.1:1", 1)},
	} {
		for _, path := range []string{"/providers", "/signin", "/signout"} {
			s.want(strings.Join(header, ": ")+" "+path, s.post(path, url.Values{"token": {testToken}}, header...), http.StatusForbidden, "another site")
		}
	}
	s.want("still signed in", s.get("/"), http.StatusOK, "in=true")
	s.want("from the page", s.post("/providers", url.Values{}, "Sec-Fetch-Site", "same-origin"), http.StatusOK, "in=true")
	s.want("from an old browser's page", s.post("/providers", url.Values{}, "Origin", s.url), http.StatusOK, "in=true")
}
