package web

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/internal/devenv"
	"imapsync/provider"
	"imapsync/secret"
)

const ours, theirs = "00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"

// site is a server of the pages for one principal, on a database of its own and
// without a broker.
type site struct {
	*server

	t    testing.TB
	url  string // of the database
	http *httptest.Server
}

func migrate(ctx context.Context, url string) error {
	_, err := db.Migrate(ctx, db.Options{URL: url}, slog.New(slog.DiscardHandler))
	return err
}

func openSite(t testing.TB, me Principal) *site {
	t.Helper()
	databaseURL := devenv.TestPostgres(t, migrate)
	store, err := db.Open(t.Context(), db.Options{URL: databaseURL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	mailboxes := &provider.Service{Store: store, Log: slog.New(slog.DiscardHandler), LookupEnv: os.LookupEnv}
	server := newServer(t.Context(), mailboxes, slog.New(slog.DiscardHandler), origin{})
	pages := secure(server.handler(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r.WithContext(withPrincipal(r.Context(), me)))
		})
	}))
	s := &site{server: server, t: t, url: databaseURL, http: httptest.NewServer(pages)}
	t.Cleanup(s.http.Close)
	return s
}

// ask sends a request and returns the status, and the body.
func (s *site) ask(method, path string, form url.Values) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.http.URL+path, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// provider adds a mailbox.
func (s *site) provider(tenant, name string) *db.Provider {
	s.t.Helper()
	p := &db.Provider{
		Settings: db.Settings{
			Tenant: tenant, ID: uuid.NewString(), Name: name, Mailbox: uuid.NewString()[:8] + "@example.com", Active: true, AutoProcess: true,
			Host: "imap.example.com", Port: 993, TLS: db.TLSImplicit, AuthType: db.AuthPassword, Username: "u",
			MaxEmailsPerSync: 50, Start: "recent", CreatedAt: time.Now().UTC(),
		},
		State: db.State{Status: db.StatusConnected},
	}
	audit := db.Audit{Tenant: tenant, At: p.CreatedAt, Actor: "somebody of " + tenant, Action: "provider_created", ProviderID: p.ID}
	if err := s.store.AddProvider(s.t.Context(), p, nil, audit); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// quarantine has a pass set a message aside.
func (s *site) quarantineOne(p *db.Provider, folder, subject, sender, failure string) string {
	s.t.Helper()
	ctx := s.t.Context()
	locks, err := s.store.OpenLocks(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	defer locks.Close()
	lock, ok, err := locks.TryLock(ctx, p.Tenant, p.ID, uuid.NewString(), time.Now().UTC())
	if err != nil || !ok {
		s.t.Fatal(ok, err)
	}
	defer lock.Unlock()
	state := &db.FolderState{Folder: folder, UIDValidity: 1, SettledUID: 1, LastUID: 1, LastError: failure}
	_, err = s.store.Commit(ctx, lock.Fence, db.Commit{At: time.Now().UTC(), State: state,
		Messages: []db.Message{{UID: 1, Outcome: db.Quarantined, Reason: "x"}},
		Failures: []db.Quarantine{{UID: 1, State: db.QuarantineDead, Stage: "publish", ErrorCode: "x", Error: failure, Subject: subject, Sender: sender, Attempts: 5}}})
	if err != nil {
		s.t.Fatal(err)
	}
	pass := db.Pass{Run: db.Run{StartedAt: time.Now().UTC(), EndedAt: time.Now().UTC(), ErrorCode: "x", Error: failure}}
	if err := s.store.FinishPass(ctx, lock.Fence, p, pass); err != nil {
		s.t.Fatal(err)
	}
	list, err := s.store.ListQuarantine(ctx, db.QuarantineFilter{Tenant: p.Tenant, ProviderID: p.ID, Limit: 1})
	if err != nil || len(list) != 1 {
		s.t.Fatal(list, err)
	}
	return list[0].ID
}

// below are the addresses below a mailbox's, with their methods.
func below(message string) [][2]string {
	return [][2]string{
		{"GET", ""}, {"GET", "/tasks"}, {"GET", "/edit"}, {"POST", "/edit"}, {"POST", "/edit/test"}, {"POST", "/edit/lookup"}, {"POST", "/test"},
		{"POST", "/pause"}, {"POST", "/resume"}, {"POST", "/sync"}, {"POST", "/resync"}, {"POST", "/reconcile"}, {"GET", "/remove"},
		{"POST", "/remove"}, {"POST", "/connect"}, {"GET", "/quarantine/" + message}, {"GET", "/quarantine/" + message + "/html"},
		{"GET", "/quarantine/" + message + "/mail.eml"}, {"POST", "/quarantine/" + message + "/retry"},
		{"POST", "/quarantine/" + message + "/release"}, {"POST", "/quarantine/" + message + "/discard"},
	}
}

// Who has a tenant sees and does nothing in another, by no address there is.
func TestTenantScope(t *testing.T) {
	s := openSite(t, Principal{Name: "ann", Tenant: ours})
	mine, other := s.provider(ours, "Our desk"), s.provider(theirs, "Their desk")
	message := s.quarantineOne(other, "INBOX", "Their subject", "them@example.com", "their error")
	for _, address := range []string{"/", "/?tenant=" + theirs, "/?q=desk", "/?q=Their", "/?state=error", "/?page=2"} {
		status, body := s.ask("GET", address, nil)
		if status != http.StatusOK || strings.Contains(body, "Their desk") || strings.Contains(body, theirs) {
			t.Errorf("%s: %d, and it shows another tenant", address, status)
		}
	}
	if _, body := s.ask("GET", "/", nil); !strings.Contains(body, "Our desk") || strings.Contains(body, `name="tenant"`) {
		t.Error("the list does not show what is ours alone")
	}
	for _, one := range below(message) {
		for _, base := range []string{path(other, ""), "/t/" + ours + "/" + other.ID, "/t/" + theirs + "/" + mine.ID} {
			if status, body := s.ask(one[0], base+one[1], url.Values{"confirm": {other.Name}}); status != http.StatusNotFound || strings.Contains(body, "Their") {
				t.Errorf("%s %s: %d, want 404", one[0], base+one[1], status)
			}
		}
	}
	// Nor a message of another by way of a mailbox of one's own.
	for _, one := range below(message)[15:] {
		if status, body := s.ask(one[0], path(mine, one[1]), nil); status != http.StatusNotFound || strings.Contains(body, "Their") {
			t.Errorf("%s %s: %d, want 404", one[0], path(mine, one[1]), status)
		}
	}
	if _, err := s.store.Provider(t.Context(), other.Ref()); err != nil {
		t.Errorf("the other's mailbox: %v", err)
	}
	for _, nonsense := range []string{"/t/x/y", "/t/" + ours + "/" + strings.ToUpper(mine.ID), "/t/" + ours + "/" + uuid.NewString(), "/nowhere", "/t/" + ours} {
		if status, _ := s.ask("GET", nonsense, nil); status != http.StatusNotFound {
			t.Errorf("%s: %d, want 404", nonsense, status)
		}
	}
}

// What a mail, a server or a person wrote is in no page as it is.
func TestNothingRuns(t *testing.T) {
	s := openSite(t, Principal{Name: `<script>who</script>`})
	raw := strings.ReplaceAll(`From: "<script>from</script>" <a@example.com>
To: "\"><script>to</script>" <b@example.com>
Subject: <script>subject</script>
Mime-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain

</pre><script>text</script>
--b
Content-Type: text/html

<script>html</script>
--b
Content-Type: application/x-script; name="<script>file</script>"
Content-Disposition: attachment; filename="<script>file</script>"
Content-Transfer-Encoding: <script>defect</script>

x
--b--
`, "\n", "\r\n")
	s.openRaw = func(context.Context, *db.Quarantine) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(raw)), nil
	}
	p := s.provider(ours, `<script>name</script>`)
	message := s.quarantineOne(p, `<script>folder</script>`, `<script>subject</script>`, `"><script>sender</script>`, `<script>error</script>`)
	for _, address := range []string{"/", "/?q=%3Cscript%3E", "/?tenant=%3Cscript%3E", "/?done=%3Cscript%3E", path(p, ""), path(p, "?done=%3Cscript%3E"), path(p, "/edit"),
		path(p, "/remove"), path(p, "/quarantine/"+message), "/%3Cscript%3E"} {
		status, body := s.ask("GET", address, nil)
		if strings.Contains(strings.ReplaceAll(body, `<script src="/assets/page.js" defer></script>`, ""), "<script") {
			t.Errorf("%s: %d, with a script that is not the page's", address, status)
		}
		if status == http.StatusOK && address != "/?q=%3Cscript%3E" && !strings.Contains(body, "&lt;script&gt;") {
			t.Errorf("%s: shows nothing that tries", address)
		}
	}
	// The HTML of a mail is there for the frame alone, under a policy of its own.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.http.URL+path(p, "/quarantine/"+message+"/html"), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	policies := res.Header.Values("Content-Security-Policy")
	if len(policies) != 1 || policies[0] != framePolicy || !strings.Contains(framePolicy, "sandbox") {
		t.Errorf("the policy of the frame is %q", policies)
	}
	_, page := s.ask("GET", path(p, "/quarantine/"+message), nil)
	if !strings.Contains(page, `<iframe class="mail" sandbox title=`) {
		t.Error("the frame is no sandbox")
	}
}

// A browser that has begun no sign-in, or another one, ends none.
func TestCallbackWantsItsBrowser(t *testing.T) {
	s := openSite(t, Principal{Name: "ann"})
	p := s.provider(ours, "Desk")
	number := s.logins.keep(login{ref: p.Ref(), by: Principal{Name: "ann"}})
	for _, address := range []string{"/?code=c&state=s", "/?error=access_denied&state=s"} {
		if status, body := s.ask("GET", address, nil); status != http.StatusBadRequest || !strings.Contains(body, "has begun no sign-in") {
			t.Errorf("%s without the cookie: %d", address, status)
		}
	}
	s.logins.byID[hashOf(number)].began = time.Now().Add(-loginLife)
	if _, ok := s.logins.take(number); ok {
		t.Error("a login that is over was given out")
	}
	number = s.logins.keep(login{ref: p.Ref()})
	if _, ok := s.logins.take(number); !ok {
		t.Error("a login was not given out")
	}
	if _, ok := s.logins.take(number); ok {
		t.Error("a login was given out twice")
	}
	if status, body := s.ask("GET", "/?state=s", nil); status != http.StatusOK || !strings.Contains(body, "Inbound email") {
		t.Errorf("a state alone is no answer: %d", status)
	}
}

func TestList(t *testing.T) {
	s := openSite(t, Principal{Name: "ann"})
	for i := range 60 {
		s.provider([]string{ours, theirs}[i%2], fmt.Sprintf("Desk %02d", i))
	}
	for _, tt := range []struct{ address, want, not string }{
		{"/", "Page 1 of 3, 60 mailboxes", "Desk 24"},
		{"/?page=2", "Desk 24", "Desk 23<"},
		{"/?page=99", "Page 3 of 3", "Desk 00"},
		{"/?page=-1", "Page 1 of 3", "Desk 24"},
		{"/?tenant=" + theirs, "Page 1 of 2, 30 mailboxes", "Desk 00"},
		{"/?tenant=nonsense", "The tenant is not a UUID", "Not found"},
		{"/?q=DESK+07", "Desk 07", "Desk 08"},
		{"/?state=error", "No mailbox fits", "Desk 00"},
		{"/?q=nobody", "No mailbox fits", "Desk 00"},
		{"/?done=paused", "Paused.", "Resumed."},
	} {
		status, body := s.ask("GET", tt.address, nil)
		if status != http.StatusOK || !strings.Contains(body, tt.want) || strings.Contains(body, tt.not) {
			t.Errorf("%s: %d, want %q and not %q", tt.address, status, tt.want, tt.not)
		}
	}
}

// patience is far above the 100 ms that ten thousand mailboxes may take: this
// machine may be busy. The benchmark measures.
const patience = 20 * time.Second

func TestListOfTenThousand(t *testing.T) {
	s := openSite(t, Principal{Name: "ann"})
	s.fill(10_000)
	began := time.Now()
	status, body := s.ask("GET", "/?q=desk&page=200", nil)
	if status != http.StatusOK || !strings.Contains(body, "Page 200 of 417, 10000 mailboxes") || strings.Count(body, `<li class="card connected">`) != pageSize {
		t.Errorf("%d: %d cards", status, strings.Count(body, `<li class="card connected">`))
	}
	if took := time.Since(began); took > patience {
		t.Errorf("a page took %s", took)
	}
}

// fill adds n mailboxes at once.
func (s *site) fill(n int) {
	s.t.Helper()
	pool, err := sql.Open("postgres", s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	defer pool.Close()
	for _, stmt := range []string{
		`INSERT INTO email_providers (tenant, id, provider_type, provider_name, mailbox, status)
			SELECT $1::uuid, md5('x' || i)::uuid, 'imap', 'Desk ' || i, 'desk' || i || '@example.com', 'connected' FROM generate_series(1, $2::int) i`,
		`INSERT INTO imap_email_provider_config (tenant, email_provider_id, host, port, username)
			SELECT $1::uuid, md5('x' || i)::uuid, 'imap.example.com', 993, 'u' FROM generate_series(1, $2::int) i`,
	} {
		if _, err := pool.ExecContext(s.t.Context(), stmt, ours, n); err != nil {
			s.t.Fatal(err)
		}
	}
	if _, err := pool.ExecContext(s.t.Context(), `ANALYZE`); err != nil {
		s.t.Fatal(err)
	}
}

func BenchmarkListOfTenThousand(b *testing.B) {
	s := openSite(b, Principal{Name: "ann"})
	s.fill(10_000)
	for b.Loop() {
		if status, _ := s.ask("GET", "/?q=desk&page=200", nil); status != http.StatusOK {
			b.Fatal(status)
		}
	}
}

// A form that came back has the number of its credentials, if there are any.
func TestDraftOfAForm(t *testing.T) {
	s := openSite(t, Principal{Name: "ann"})
	for password, none := range map[string]bool{"": true, "p": false} {
		status, body := s.ask("POST", "/providers/new", url.Values{"password": {password}, "auth": {"password"}})
		if status != http.StatusUnprocessableEntity || strings.Contains(body, `name="draft" value=""`) != none {
			t.Errorf("password %q: %d", password, status)
		}
	}
	// What is typed now goes before what was typed.
	id := s.drafts.keep(draft{provider.CredentialInput{provider.Password: secret.New("before"), provider.ClientSecret: secret.New("c")}, Principal{Name: "ann"}})
	s.ask("POST", "/providers/new", url.Values{"password": {"now"}, "auth": {"password"}, "draft": {id}})
	for _, e := range s.drafts.byID {
		if e.value.given[provider.Password].Reveal() == "before" || !e.value.given[provider.ClientSecret].IsZero() {
			t.Error("what was typed before stands, or what the login has no use for")
		}
	}
}

// A second mailbox on one account is refused until that is asked for; who may see one
// tenant alone is not told the name of another's.
func TestAccountThatAnotherReads(t *testing.T) {
	for _, tt := range []struct {
		me   Principal
		want string
	}{
		{Principal{Name: "ann"}, "provider first ("}, {Principal{Name: "ann", Tenant: ours}, "Another tenant reads this account already"},
	} {
		s := openSite(t, tt.me)
		first := provider.Fresh(theirs, uuid.New())
		first.Name, first.Mailbox, first.Host, first.Username = "first", "a@example.com", "imap.example.com", "Ann"
		if err := s.store.AddProvider(t.Context(), first, nil, db.Audit{Tenant: theirs, At: time.Now()}); err != nil {
			t.Fatal(err)
		}
		second := url.Values{"tenant": {ours}, "mailbox": {"b@example.com"}, "host": {"IMAP.example.com"}, "port": {"993"}, "tls": {"implicit"},
			"auth": {"oauth2"}, "oauth-preset": {"google"}, "oauth-flow": {"code"}, "oauth-client-id": {"c"}, "username": {"ann"}, "max-emails-per-sync": {"7"}, "start": {"recent"}}
		status, body := s.ask("POST", "/providers/new", second)
		if status != http.StatusUnprocessableEntity || !strings.Contains(body, tt.want) || !strings.Contains(body, `name="same-account"`) {
			t.Fatalf("%+v: %d, want %q and a box to tick:\n%s", tt.me, status, tt.want, body)
		}
		second.Set("same-account", "1")
		if status, body = s.ask("POST", "/providers/new", second); status >= http.StatusBadRequest {
			t.Errorf("%+v: ticked: %d\n%s", tt.me, status, body)
		}
	}
}

// A comparison that failed says why, and not that nothing is missing.
func TestReconcileFails(t *testing.T) {
	t.Setenv("IMAPSYNC_SECRET_CHAIN", "env")
	s := openSite(t, Principal{Name: "ann@example.com"})
	p := s.provider(db.DefaultTenant, "a mailbox without a password")
	if status, body := s.ask("POST", path(p, "/reconcile"), nil); status != http.StatusSeeOther {
		t.Fatalf("%d: %s", status, body)
	}
	s.tasks.wg.Wait()
	if _, body := s.ask("GET", path(p, "/tasks"), nil); strings.Contains(body, "0 missing") || !strings.Contains(body, "note bad") {
		t.Errorf("the page says: %s", body)
	}
}
