package web

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const testToken = "a-token-of-the-test-0123456789"

// served is a page behind a gate, and a browser of its own.
type served struct {
	t       *testing.T
	url     string
	gate    *gate
	log     *logText
	browser *http.Client
}

// logText is a log that is written and read at once.
type logText struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// inside stands for the pages: it says who has come in.
var inside = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	p := who(r)
	fmt.Fprintf(w, "%s in=%t name=%q tenant=%q", r.URL.Path, p != Principal{}, p.Name, p.Tenant)
})

func serve(t *testing.T, change func(*gate)) *served {
	t.Helper()
	l, err := listen(t.Context(), ListenOptions{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, url: l.site.URL.String(), log: &logText{}}
	s.browser = s.newBrowser()
	s.gate = newGate(l.site, slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})))
	if change != nil {
		change(s.gate)
	}
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- l.serve(ctx, s.gate.handler(inside), s.gate.log) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return s
}

func withToken(g *gate) { g.token = newVerifier(testToken) }

// newBrowser keeps cookies and goes where it is sent only when told to.
func (s *served) newBrowser() *http.Client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// answer is a response that was read.
type answer struct {
	*http.Response
	body string
}

func (s *served) do(method, path string, form url.Values, header ...string) answer {
	s.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	address := path
	if strings.HasPrefix(path, "/") {
		address = s.url + path
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, address, body)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html,application/xhtml+xml")
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	res, err := s.browser.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{res, string(text)}
}

func (s *served) get(path string, header ...string) answer {
	s.t.Helper()
	return s.do(http.MethodGet, path, nil, header...)
}

func (s *served) post(path string, form url.Values, header ...string) answer {
	s.t.Helper()
	return s.do(http.MethodPost, path, form, header...)
}

// want compares a status and parts of a body.
func (s *served) want(what string, a answer, status int, parts ...string) {
	s.t.Helper()
	if a.StatusCode != status {
		s.t.Errorf("%s: %s, want %d: %s", what, a.Status, status, a.body)
	}
	for _, part := range parts {
		if !strings.Contains(a.body, part) {
			s.t.Errorf("%s: not in the answer: %q\n%s", what, part, a.body)
		}
	}
}

func (s *served) cookie(a answer, name string) *http.Cookie {
	s.t.Helper()
	for _, c := range a.Cookies() {
		if c.Name == name {
			return c
		}
	}
	s.t.Fatalf("no cookie %s in %q", name, a.Header["Set-Cookie"])
	return nil
}

// Nobody comes in without having signed in, by whatever method and path.
func TestGateClosed(t *testing.T) {
	s := serve(t, withToken)
	for _, path := range []string{"/", "/providers", "/providers/1/edit?x=1", "/signin/oidc", "/oidc/callback?code=1&state=2", "/signinx"} {
		a := s.get(path)
		s.want("GET "+path, a, http.StatusSeeOther)
		if at := a.Header.Get("Location"); !strings.HasPrefix(at, "/signin") {
			t.Errorf("GET %s leads to %q", path, at)
		}
		s.want("GET by a program "+path, s.get(path, "Accept", "*/*"), http.StatusUnauthorized)
		s.want("GET of events "+path, s.get(path, "Accept", "text/event-stream"), http.StatusUnauthorized)
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			a := s.do(method, path, url.Values{"a": {"b"}})
			s.want(method+" "+path, a, http.StatusUnauthorized)
			if got := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(got, "Bearer") {
				t.Errorf("%s %s: WWW-Authenticate %q", method, path, got)
			}
		}
	}
	if at := s.get("/providers/1/edit?x=1").Header.Get("Location"); at != "/signin?next=%2Fproviders%2F1%2Fedit%3Fx%3D1" {
		t.Errorf("the way back is lost: %q", at)
	}
	for _, cookie := range []string{"imapsync_session=", "imapsync_session=x", "imapsync_session=" + randomToken(), "__Host-imapsync_session=x"} {
		s.want("cookie "+cookie, s.get("/", "Cookie", cookie), http.StatusSeeOther)
	}
	for _, header := range []string{"Bearer", "Bearer ", "Basic " + testToken, testToken, "Bearer " + testToken[1:]} {
		a := s.get("/providers", "Authorization", header, "Accept", "*/*")
		s.want("Authorization "+header, a, http.StatusUnauthorized)
	}
}

// The sign-in page needs its stylesheet; nothing else is behind that path.
func TestGateAssets(t *testing.T) {
	s := serve(t, nil)
	s.want("stylesheet", s.get("/assets/style.css"), http.StatusOK, "/assets/style.css in=false")
	s.want("posted", s.post("/assets/style.css", url.Values{}), http.StatusUnauthorized)
	for _, path := range []string{"/assets/../providers", "/assets/%2e%2e/providers", "/assets//../../providers", "/assets/..%2fproviders", "//assets/../providers"} {
		if a := s.get(path); strings.Contains(a.body, "in=false") && !strings.HasPrefix(a.body, "/assets/") {
			t.Errorf("%s came in: %s", path, a.body)
		}
	}
	page := s.get("/signin")
	s.want("sign-in page", page, http.StatusOK, `href="/assets/style.css"`, "<h1>Sign in</h1>", `lang="en"`)
	if regexp.MustCompile(`(?i)<script|style=|<style|javascript:| on[a-z]+=`).MatchString(page.body) {
		t.Errorf("the policy would refuse this page:\n%s", page.body)
	}
}

func TestGateLink(t *testing.T) {
	s := serve(t, nil)
	link := s.gate.newLink()
	token := strings.TrimPrefix(link, s.url+"/signin?token=")
	if len(token) != 43 {
		t.Fatalf("the link is %q", link)
	}
	// What looks at a link ahead of people does not use it up.
	for range 3 {
		s.want("HEAD", s.do("HEAD", link, nil), http.StatusOK)
		s.want("GET", s.get(link), http.StatusOK, `name="link" value="`+token+`"`, "<button")
	}
	s.want("another's token", s.post("/signin", url.Values{"link": {randomToken()}}), http.StatusUnauthorized, "not the one")
	a := s.post("/signin", url.Values{"link": {token}, "next": {"/providers?page=2"}})
	s.want("the link", a, http.StatusSeeOther)
	if at := a.Header.Get("Location"); at != "/providers?page=2" {
		t.Errorf("leads to %q", at)
	}
	s.want("inside", s.get("/providers"), http.StatusOK, `in=true name="web-link" tenant=""`)
	s.want("the sign-in page", s.get("/signin?next=/x"), http.StatusSeeOther)
	s.browser = s.newBrowser()
	s.want("used twice", s.post("/signin", url.Values{"link": {token}}), http.StatusUnauthorized, "used before", `role="alert"`)
	s.want("still outside", s.get("/providers"), http.StatusSeeOther)

	old := s.gate.newLink()
	s.gate.newLink()
	_, token, _ = strings.Cut(old, "token=")
	s.want("one before", s.post("/signin", url.Values{"link": {token}}), http.StatusUnauthorized, "not the one")
	s.noSecrets(token)
}

func TestLinkExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var l link
		if err := l.use(""); err == nil {
			t.Error("no link was made, and it was used")
		}
		token := l.renew()
		time.Sleep(linkLasts)
		if err := l.use(token); err != errLinkExpired { //nolint:errorlint // it is this one
			t.Errorf("after %s: %v", linkLasts, err)
		}
		token = l.renew()
		time.Sleep(linkLasts - time.Second)
		if err := l.use(token); err != nil {
			t.Errorf("in time: %v", err)
		}
	})
}

func TestGateToken(t *testing.T) {
	s := serve(t, withToken)
	s.want("sign-in page", s.get("/signin?next=/providers"), http.StatusOK, `<label for="token">`, `name="next" value="/providers"`)
	s.want("no link was made", s.post("/signin", url.Values{"link": {testToken}}), http.StatusUnauthorized)
	a := s.post("/signin", url.Values{"token": {"wrong-" + testToken}, "next": {"/providers"}})
	s.want("wrong", a, http.StatusUnauthorized, "Not signed in: the token is wrong.", `name="next" value="/providers"`)
	s.want("right", s.post("/signin", url.Values{"token": {testToken + "\n"}}), http.StatusSeeOther)
	s.want("inside", s.get("/"), http.StatusOK, `name="web-token"`)

	first := s.gate.site.cookieValue(&http.Request{Header: http.Header{"Cookie": {s.cookieHeader()}}}, sessionCookie)
	s.want("again", s.post("/signin", url.Values{"token": {testToken}}), http.StatusSeeOther)
	if _, ok := s.gate.sessions.find(first); ok {
		t.Error("the session before lives on")
	}
	second := s.cookieHeader()
	a = s.post("/signout", url.Values{})
	s.want("sign out", a, http.StatusSeeOther)
	if c := s.cookie(a, "imapsync_session"); c.MaxAge >= 0 || c.Value != "" {
		t.Errorf("the cookie stays: %v", c)
	}
	s.want("outside", s.get("/"), http.StatusSeeOther)
	s.want("with the old cookie", s.get("/", "Cookie", second), http.StatusSeeOther)

	s.want("a script", s.get("/x", "Authorization", "Bearer "+testToken), http.StatusOK, `name="web-token"`)
	s.want("a script posts", s.post("/x", url.Values{}, "Authorization", "bearer "+testToken, "Accept", "*/*"), http.StatusOK, `name="web-token"`)
	s.noSecrets(first, strings.TrimPrefix(second, "imapsync_session="))
}

func (s *served) cookieHeader() string {
	at, _ := url.Parse(s.url)
	var list []string
	for _, c := range s.browser.Jar.Cookies(at) {
		list = append(list, c.String())
	}
	return strings.Join(list, "; ")
}

// noSecrets looks for what signs in, in the log.
func (s *served) noSecrets(secrets ...string) {
	s.t.Helper()
	text := s.log.String()
	for _, one := range append(secrets, testToken) {
		if one == "" || strings.Contains(text, one) {
			s.t.Errorf("%q is in the log:\n%s", one, text)
		}
	}
	if !strings.Contains(text, `"msg":"signin"`) {
		s.t.Errorf("no sign-in in the log:\n%s", text)
	}
}

// Who guesses is slowed down, be it by the form or by a header, and the right
// token is then no way to find out either.
func TestGateLimit(t *testing.T) {
	s := serve(t, withToken)
	for range 20 {
		s.want("right", s.get("/", "Authorization", "Bearer "+testToken), http.StatusOK)
	}
	for range 3 {
		s.want("wrong", s.post("/signin", url.Values{"token": {"wrong"}}), http.StatusUnauthorized)
	}
	for range 2 {
		s.want("wrong", s.get("/", "Authorization", "Bearer wrong"), http.StatusUnauthorized)
	}
	for _, a := range []answer{
		s.post("/signin", url.Values{"token": {testToken}}), s.get("/", "Authorization", "Bearer "+testToken),
		s.post("/signin", url.Values{"link": {"x"}}),
	} {
		s.want("too many", a, http.StatusTooManyRequests, "too many sign-ins failed")
		if got := a.Header.Get("Retry-After"); got != "30" && got != "29" {
			t.Errorf("Retry-After %q", got)
		}
	}
	if n := strings.Count(s.log.String(), `"msg":"signin_refused"`); n != 5 {
		t.Errorf("%d refusals in the log, want 5", n)
	}
}

func TestGateCookie(t *testing.T) {
	for _, tt := range []struct {
		public, name string
		secure       bool
	}{
		{"http://127.0.0.1:8025", "imapsync_session", false},
		{"https://mail.example.com", "__Host-imapsync_session", true},
	} {
		at, _ := url.Parse(tt.public)
		g := newGate(origin{URL: at, hosts: func(string) bool { return true }}, slog.New(slog.DiscardHandler))
		withToken(g)
		handler := secure(g.handler(inside))
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/signin", strings.NewReader("token="+testToken))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		handler.ServeHTTP(w, r)
		list := w.Result().Cookies()
		if len(list) != 1 {
			t.Fatalf("%s: cookies %v", tt.public, list)
		}
		c := list[0]
		if c.Name != tt.name || c.Secure != tt.secure || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" ||
			c.MaxAge != int(sessionAbsolute.Seconds()) || len(c.Value) != 43 {
			t.Errorf("%s: %+v", tt.public, c)
		}
		if _, ok := g.sessions.byID[hashOf(c.Value)]; !ok {
			t.Error("the session is not kept by its hash")
		}
		r = httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: tt.name, Value: c.Value})
		w = httptest.NewRecorder()
		if handler.ServeHTTP(w, r); w.Code != http.StatusOK {
			t.Errorf("%s: %d", tt.public, w.Code)
		}
	}
}

func TestGateHost(t *testing.T) {
	s := serve(t, withToken)
	port := s.url[strings.LastIndex(s.url, ":"):]
	for _, host := range []string{"localhost" + port, "127.0.0.1", "LOCALHOST.:80", "[::1]:9000", "127.8.9.10"} {
		s.want(host, s.get("/signin", "Host", host), http.StatusOK)
	}
	for _, host := range []string{"evil.example", "evil.example" + port, "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.1"} {
		for _, path := range []string{"/signin", "/assets/style.css", "/providers"} {
			s.want(host, s.get(path, "Host", host, "Authorization", "Bearer "+testToken), http.StatusMisdirectedRequest, s.url)
		}
	}
}

func TestReadToken(t *testing.T) {
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	token, err := readToken(write("good", testToken+"\n", 0o600))
	if err != nil || token.Reveal() != testToken {
		t.Errorf("%v, %v", token.Reveal() == testToken, err)
	}
	for _, tt := range []struct{ path, want string }{
		{write("open", testToken, 0o644), "others may read or change it"},
		{write("short", "geheim-geheim", 0o600), "20 characters or more"},
		{write("two-lines", testToken+"\nzwei\n", 0o600), "without blanks"},
		{write("empty", "\n", 0o600), "empty"},
		{"/nowhere/token", "no such file"},
	} {
		if _, err := readToken(tt.path); err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v, want %q", tt.path, err, tt.want)
		}
	}
}

func TestLocalPath(t *testing.T) {
	for text, want := range map[string]string{
		"/": "/", "/providers/1?a=b&c=%2F#x": "/providers/1?a=b&c=%2F#x", "": "/", "providers": "/",
		"//evil.example": "/", "/\\evil.example": "/", "https://evil.example/": "/", "javascript:alert(1)": "/", "/\t/evil.example": "/",
		"/%zz": "/", "/signin?next=/x": "/", "/oidc/callback?code=x": "/", "/" + strings.Repeat("x", 1000): "/",
	} {
		if got := localPath(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
