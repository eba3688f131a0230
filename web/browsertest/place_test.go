package browsertest

import (
	"bufio"
	"context"
	"database/sql"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	_ "github.com/lib/pq"

	"imapsync/db"
	"imapsync/internal/devenv"
	"imapsync/secret"
)

const (
	mailbox  = "support@example.com"
	password = "geheim-Ümlaut-4711"
)

// place is all that a settings page needs, started for one test.
type place struct {
	t       *testing.T
	dovecot *devenv.Dovecot
	oauth   *devenv.OAuth
	tokens  *devenv.Dovecot // takes the tokens of oauth
	sql     *sql.DB
	link    string // to sign in by
	url     string
	tracker atomic.Int64 // what was loaded from where a mail's pictures are
	remote  string       // the address of those
	told    *told
}

func migrate(ctx context.Context, url string) error {
	_, err := db.Migrate(ctx, db.Options{URL: url}, slog.New(slog.DiscardHandler))
	return err
}

func openPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, dovecot: devenv.TestDovecot(t), oauth: devenv.TestOAuth(t)}
	p.tokens = devenv.TestDovecot(t, devenv.DovecotOAuth(p.oauth))
	p.oauth.Set(func(s *devenv.OAuthSettings) { s.User = "sales" })
	databaseURL, nats := devenv.TestPostgres(t, migrate), devenv.TestNATS(t)
	var err error
	if p.sql, err = sql.Open("postgres", databaseURL); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.sql.Close() })
	remote := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { p.tracker.Add(1) }))
	t.Cleanup(remote.Close)
	p.remote = remote.URL
	p.need(p.dovecot.AddUser("support", password, "Support/Neu", "Archiv"))
	p.need(p.tokens.AddUser("sales", "not used"))
	p.deliver()
	key, err := secret.GenerateKey()
	p.need(err)
	keyFile := filepath.Join(t.TempDir(), "key")
	p.need(os.WriteFile(keyFile, []byte(key.Reveal()+"\n"), 0o600))
	p.serve("DATABASE_URL="+databaseURL, "NATS_URL="+nats.URL(), "IMAPSYNC_SECRET_KEY_FILE="+keyFile)
	return p
}

func (p *place) need(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// deliver puts mail into the folders, of which one tries what it can.
func (p *place) deliver() {
	p.t.Helper()
	p.need(p.dovecot.Deliver("support", "INBOX",
		[]byte("From: Jonas Berg <jonas@berg.example>\nTo: support@example.com\nSubject: Lamp flickers\nMessage-ID: <1@berg.example>\nDate: Mon, 23 Nov 2026 10:00:00 +0000\n\nIt flickers since Monday.\n"),
		[]byte(hostileMail(p.remote)),
		[]byte("From: Anna Berg <anna@berg.example>\nSubject: Invoice\nMessage-ID: <3@berg.example>\nDate: Mon, 23 Nov 2026 11:00:00 +0000\n\nWhere is it?\n")))
	p.need(p.dovecot.Deliver("support", "Support/Neu",
		[]byte("From: Eva <eva@berg.example>\nSubject: In a folder\nMessage-ID: <4@berg.example>\nDate: Mon, 23 Nov 2026 12:00:00 +0000\n\nHello.\n")))
	p.need(p.tokens.Deliver("sales", "INBOX",
		[]byte("From: Eva <eva@berg.example>\nSubject: By token\nMessage-ID: <5@berg.example>\nDate: Mon, 23 Nov 2026 12:00:00 +0000\n\nHello.\n")))
}

// hostileSubject runs where it is not escaped.
const hostileSubject = `<script>document.title='owned'</script><img src=x onerror="document.title='owned'">`

func hostileMail(remote string) string {
	return "From: \"<b onmouseover=alert(1)>Mallory</b>\" <mallory@evil.example>\nTo: support@example.com\nSubject: " + hostileSubject +
		"\nMessage-ID: <2@evil.example>\nDate: Mon, 23 Nov 2026 10:30:00 +0000\nMIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\n\n" +
		"<html><head><meta http-equiv='refresh' content='0;url=" + remote + "/refresh'><link rel='stylesheet' href='" + remote + "/style.css'></head>" +
		"<body style='font-family:sans-serif;padding:1em'><h2>Dear customer</h2><p>Your parcel waits. <b>Pay now.</b></p>" +
		"<script>fetch('" + remote + "/script'); parent.document.title='owned'</script>" +
		"<img src='" + remote + "/pixel.png' onerror=\"fetch('" + remote + "/onerror')\"><iframe src='" + remote + "/frame'></iframe>" +
		"<form action='" + remote + "/form'><input name=a autofocus onfocus='this.form.submit()'></form></body></html>\n"
}

var printedLink = regexp.MustCompile(`(https?://[^/\s]+)/\S*`)

// serve starts `imapsync web`, built as it is shipped.
func (p *place) serve(env ...string) {
	p.t.Helper()
	binary := filepath.Join(p.t.TempDir(), "imapsync")
	build := exec.CommandContext(p.t.Context(), "go", "build", "-o", binary, "./cmd/imapsync")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		p.t.Fatalf("go build: %v\n%s", err, out)
	}
	cmd := exec.CommandContext(context.WithoutCancel(p.t.Context()), binary, "web", "--listen", "127.0.0.1:0", "--log-format", "json")
	cmd.Env = append(os.Environ(), env...)
	log, err := os.Create(filepath.Join(p.t.TempDir(), "log"))
	p.need(err)
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	p.need(err)
	p.need(cmd.Start())
	p.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			p.t.Errorf("imapsync web: %v", err)
		}
		text, _ := os.ReadFile(log.Name()) // what there is of it
		if p.t.Failed() {
			p.t.Logf("log of imapsync web:\n%s", text)
		}
	})
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if m := printedLink.FindStringSubmatch(lines.Text()); m != nil {
			p.told = listen(p.t, m[1])
			p.link, p.url = p.told.url+strings.TrimPrefix(m[0], m[1]), p.told.url
			return
		}
	}
	text, _ := os.ReadFile(log.Name()) // likewise
	p.t.Fatalf("imapsync web printed no link\n%s", text)
}

// exec changes what is in the database.
func (p *place) exec(stmt string, args ...any) {
	p.t.Helper()
	_, err := p.sql.ExecContext(p.t.Context(), stmt, args...)
	p.need(err)
}

// count asks the database for a number.
func (p *place) count(query string, args ...any) (n int) {
	p.t.Helper()
	p.need(p.sql.QueryRowContext(p.t.Context(), query, args...).Scan(&n))
	return n
}
