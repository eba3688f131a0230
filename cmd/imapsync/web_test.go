package main

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv"
	"imapsync/secret"
)

// settingsPage is `imapsync web` within this process, for who has the token.
type settingsPage struct {
	t     *testing.T
	url   string
	token string
	store *db.Store
	told  strings.Builder // all bodies
}

func openSettingsPage(t *testing.T) *settingsPage {
	t.Helper()
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := secret.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	s := &settingsPage{t: t, token: "geheim-geheim-geheim-geheim"}
	a := &app{stdout: io.Discard, stderr: io.Discard, log: slog.New(slog.DiscardHandler), databaseURL: devenv.TestPostgres(t, migrateAll),
		natsURL: devenv.TestNATS(t).URL(), secretKeyFile: file("key", key.Reveal())}
	f := signinOf(t, "--listen", "127.0.0.1:0", "--web-token-file", file("token", s.token))
	if s.store, err = db.Open(t.Context(), db.Options{URL: a.databaseURL}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	ctx, end := context.WithCancel(context.WithoutCancel(t.Context()))
	page, err := a.openWeb(ctx, s.store, f)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- page.Serve(ctx) }()
	t.Cleanup(func() {
		end()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	s.url = page.URL
	return s
}

// send sends a request and returns status, place to go and body.
func (s *settingsPage) send(method, path string, form url.Values, header ...string) (status int, location, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Del(header[i])
		if header[i+1] != "" {
			req.Header.Set(header[i], header[i+1])
		}
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	s.told.Write(data)
	return res.StatusCode, res.Header.Get("Location"), string(data)
}

// beside is what stands beside a field of the form.
func beside(body, field string) string {
	_, after, _ := strings.Cut(body, `id="`+field+`-error">`)
	text, _, _ := strings.Cut(after, "</div>")
	return text
}

var draftField = regexp.MustCompile(`name="draft" value="([^"]*)"`)

func TestWebForm(t *testing.T) {
	s := openSettingsPage(t)
	dovecot := devenv.TestDovecot(t)
	const password, wrongPassword = "richtig-Ümlaut&<>\"", "falsch-4711"
	if err := dovecot.AddUser("ann", password, "Work"); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(dovecot.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	wrong := url.Values{"tenant": {"x"}, "name": {"N"}, "mailbox": {"x"}, "host": {"https://mail"}, "port": {"0"}, "tls": {"ssl"}, "ca": {"/etc/passwd"},
		"auth": {"password"}, "username": {"a\x01b"}, "password": {wrongPassword}, "folders": {"A\nA"}, "max-emails-per-sync": {"0"}, "start": {"since"},
		"start-since": {"x"}, "defaults-id": {"x"}, "password-file": {"/etc/passwd"}, "oauth-client-secret-file": {"/etc/passwd"}}
	status, _, body := s.send("POST", "/providers/new", wrong)
	if status != http.StatusUnprocessableEntity {
		t.Fatalf("status %d", status)
	}
	for field, want := range map[string]string{"tenant": "is not a UUID", "mailbox": "is not an address", "host": "is a URL: give the host name alone",
		"port": "0 is not between 1 and 65535", "ca": "no certificate in PEM form", "username": "control character", "folder": "is given twice",
		"max-emails-per-sync": "0 is not between", "start": "use recent, all, none", "defaults-id": "is not a UUID"} {
		if text := beside(body, field); !strings.Contains(text, want) {
			t.Errorf("beside %s: %q, want %q", field, text, want)
		}
	}
	if !strings.Contains(body, "use implicit, starttls or none") {
		t.Error("the mode of TLS is not refused")
	}
	for _, typed := range []string{`value="https://mail"`, `value="0"`, `>/etc/passwd</textarea>`, ">A\nA</textarea>", `value="N"`} {
		if !strings.Contains(body, typed) {
			t.Errorf("what was typed is lost: %s", typed)
		}
	}
	// A script of one of the fields would be that of the page.
	if _, _, body := s.send("POST", "/providers/new", url.Values{"name": {`"><script>`}, "folders": {"</textarea><script>"}, "auth": {"<script>"}}); strings.Count(body, "<script") != 1 {
		t.Error("a script that was typed is in the page")
	}

	right := url.Values{"tenant": {db.DefaultTenant}, "mailbox": {"ann@example.com"}, "host": {dovecot.Host}, "port": {strconv.Itoa(dovecot.TLSPort)}, "tls": {"implicit"},
		"ca": {string(ca)}, "auth": {"password"}, "username": {"ann"}, "password": {wrongPassword}, "folder": {"Work"}, "max-emails-per-sync": {"7"},
		"start": {"all"}, "test": {"1"}, "active": {"1"}}
	status, _, body = s.send("POST", "/providers/new", right)
	if status != http.StatusUnprocessableEntity || !strings.Contains(body, "check “Username” and the password") || !strings.Contains(body, "nothing was stored") {
		t.Errorf("a wrong password: %d\n%s", status, body)
	}
	// The right one is tested, without a script, and then not typed again.
	right.Set("password", password)
	status, _, body = s.send("POST", "/providers/new/test", right)
	if status != http.StatusOK || !strings.Contains(body, "The connection works") || !strings.Contains(body, `<strong>fetch</strong>`) || !strings.Contains(body, `value="Work" checked`) {
		t.Errorf("the test: %d\n%s", status, body)
	}
	right.Set("draft", draftField.FindStringSubmatch(body)[1])
	right.Del("password")
	status, at, body := s.send("POST", "/providers/new", right)
	if status != http.StatusSeeOther || !strings.HasSuffix(at, "?done=added") {
		t.Fatalf("the right form: %d %s\n%s", status, at, body)
	}
	page, _, _ := strings.Cut(at, "?")
	p, err := s.store.FindProvider(t.Context(), "ann@example.com", "")
	if err != nil {
		t.Fatal(err)
	}
	if p.Status != db.StatusConnected || p.MaxEmailsPerSync != 7 || len(p.Folders) != 1 || p.Folders[0] != "Work" || p.Start != "all" {
		t.Errorf("stored: %+v", *p)
	}
	if status, _, body := s.send("POST", "/providers/new", right); status != http.StatusUnprocessableEntity || !strings.Contains(body, "missing: give the password") {
		t.Errorf("a draft serves twice: %d", status)
	}
	right.Set("password", password)
	named := maps.Clone(right)
	named.Set("name", "ann@example.com")
	named.Set("mailbox", "ann2@example.com")
	if status, _, body := s.send("POST", "/providers/new", named); status != http.StatusUnprocessableEntity || !strings.Contains(beside(body, "name"), p.ID+" has the name &#34;ann@example.com&#34; already: choose another") {
		t.Errorf("a name that another has: %d: %s", status, beside(body, "name"))
	}
	if _, _, body := s.send("POST", "/providers/new", right); !strings.Contains(beside(body, "mailbox"), "has that mailbox already") {
		t.Errorf("the same mailbox again: %q", beside(body, "mailbox"))
	}

	// Editing: a blank password keeps the stored one, which is tested.
	right.Del("password")
	right.Set("name", "Ann")
	right.Set("folder", "INBOX")
	if status, at, body := s.send("POST", page+"/edit", right); status != http.StatusSeeOther || at != page+"?done=changed" {
		t.Errorf("edit: %d %s\n%s", status, at, body)
	}
	if status, at, _ := s.send("POST", page+"/edit", right); status != http.StatusSeeOther || at != page+"?done=unchanged" {
		t.Errorf("edit again: %d %s", status, at)
	}
	right.Del("active")
	if _, at, _ := s.send("POST", page+"/edit", right); at != page+"?done=changed" {
		t.Errorf("switched off: %s", at)
	}
	for _, path := range []string{"/", page, page + "/edit", page + "/remove"} {
		if status, _, _ := s.send("GET", path, nil); status != http.StatusOK {
			t.Errorf("%s: %d", path, status)
		}
	}
	log, err := s.store.AuditLog(t.Context(), p.Tenant, p.ID, 10)
	if err != nil {
		t.Fatal(err)
	}
	var entries []string
	for _, entry := range log {
		entries = append(entries, entry.Actor+" "+entry.Action+" "+entry.Detail["fields"])
	}
	if got, want := strings.Join(entries, "; "), "web-token provider_changed active; web-token provider_changed name, folder; web-token provider_created "; got != want {
		t.Errorf("audit: %s, want %s", got, want)
	}
	for _, kept := range []string{password, wrongPassword} {
		for _, form := range forms(kept) {
			if strings.Contains(s.told.String(), form) {
				t.Errorf("%q is in an answer, as %q", kept, form)
			}
		}
	}
}

// A pass that the page makes keeps to what the environment says of runs.
func TestWebSyncKeepsToTheRunsLimits(t *testing.T) {
	t.Setenv("IMAPSYNC_MAX_MESSAGE_BYTES", "1000")
	s := openSettingsPage(t)
	dovecot := devenv.TestDovecot(t)
	if err := dovecot.AddUser("ann", "pw"); err != nil {
		t.Fatal(err)
	}
	large := "From: a@example.org\nSubject: large\nMessage-ID: <1@x>\n\n" + strings.Repeat("a line of the body\n", 5000)
	if err := dovecot.Deliver("ann", "INBOX", []byte(large)); err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(dovecot.CAFile)
	if err != nil {
		t.Fatal(err)
	}
	status, at, body := s.send("POST", "/providers/new", url.Values{"tenant": {db.DefaultTenant}, "mailbox": {"ann@example.com"}, "host": {dovecot.Host},
		"port": {strconv.Itoa(dovecot.TLSPort)}, "tls": {"implicit"}, "ca": {string(ca)}, "auth": {"password"}, "username": {"ann"}, "password": {"pw"},
		"max-emails-per-sync": {"7"}, "start": {"all"}, "active": {"1"}})
	if status != http.StatusSeeOther {
		t.Fatalf("%d: %s", status, body)
	}
	page, _, _ := strings.Cut(at, "?")
	if status, _, body := s.send("POST", page+"/sync", nil); status != http.StatusSeeOther {
		t.Fatalf("%d: %s", status, body)
	}
	var runs []db.Run
	for deadline := time.Now().Add(patience); len(runs) == 0 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if runs, err = s.store.ListRuns(t.Context(), db.RunFilter{Limit: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if len(runs) != 1 || runs[0].Published != 1 || runs[0].Bytes >= int64(len(large)) {
		t.Errorf("runs: %+v", runs)
	}
}

// Every address is behind the sign-in, and none takes a form of another site.
func TestWebIsClosed(t *testing.T) {
	s := openSettingsPage(t)
	const one = "/t/00000000-0000-4000-8000-000000000000/00000000-0000-4000-8000-000000000001"
	const message = one + "/quarantine/00000000-0000-4000-8000-000000000002"
	gets := []string{"/", "/providers/new", "/presets?mailbox=a@gmail.com", one, one + "/tasks", one + "/edit", one + "/remove", message, message + "/html", message + "/mail.eml", "/nowhere"}
	posts := []string{"/providers/new", "/providers/new/test", "/providers/new/lookup", one + "/edit", one + "/edit/test", one + "/edit/lookup", one + "/test", one + "/pause",
		one + "/resume", one + "/sync", one + "/resync", one + "/reconcile", one + "/remove", one + "/connect", message + "/retry", message + "/release", message + "/discard"}
	for _, path := range gets {
		if status, _, body := s.send("GET", path, nil, "Authorization", ""); status != http.StatusUnauthorized {
			t.Errorf("GET %s: %d\n%s", path, status, body)
		}
		if status, at, _ := s.send("GET", path, nil, "Authorization", "", "Accept", "text/html"); status != http.StatusSeeOther || !strings.HasPrefix(at, "/signin") {
			t.Errorf("GET %s as a browser: %d %s", path, status, at)
		}
	}
	for _, path := range posts {
		if status, _, _ := s.send("POST", path, nil, "Authorization", ""); status != http.StatusUnauthorized {
			t.Errorf("POST %s: %d", path, status)
		}
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
			if status, _, _ := s.send("POST", path, nil, header...); status != http.StatusForbidden {
				t.Errorf("POST %s of another site (%s): %d", path, header, status)
			}
		}
	}
	// What needs nobody signed in says nothing.
	for path, want := range map[string]int{"/assets/style.css": 200, "/assets/page.js": 200, "/assets/nothing": 404, "/assets/": 404, "/assets/%2e%2e%2fweb.go": 400, "/?code=c&state=s": 400} {
		if status, _, body := s.send("GET", path, nil, "Authorization", ""); status != want {
			t.Errorf("GET %s: %d, want %d\n%.200s", path, status, want, body)
		}
	}
}
