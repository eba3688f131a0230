package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/internal/devenv"
	"imapsync/internal/devenv/imapserver"
	"imapsync/publish"
	"imapsync/secret"
)

// forms are the ways a secret may be written down.
func forms(text string) []string {
	quoted := strconv.Quote(text)
	list := []string{text, quoted[1 : len(quoted)-1], url.QueryEscape(text), url.PathEscape(text),
		strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text), hex.EncodeToString([]byte(text)), fmt.Sprint([]byte(text))}
	for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 { // wherever it stands in what is encoded
			whole := enc.EncodeToString(append(make([]byte, before), text...))
			list = append(list, whole[[]int{0, 2, 3}[before]:len(whole)-2])
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// secrecy looks for secrets.
type secrecy struct {
	t       *testing.T
	secrets map[string]string // by what it is
	env     []string
	seen    []sighting
	printed int // bytes looked through
}

// sighting is a text that was looked at, and where it was.
type sighting struct{ where, text string }

// also looks for one more secret, in everything there was as well.
func (s *secrecy) also(what, value string) {
	s.t.Helper()
	s.secrets[what] = value
	for _, one := range s.seen {
		s.lookFor(what, value, one)
	}
}

func (s *secrecy) lookFor(what, value string, in sighting) {
	s.t.Helper()
	for _, form := range forms(value) {
		if i := strings.Index(in.text, form); i >= 0 {
			s.t.Errorf("the %s is in %s, as %q: …%s…", what, in.where, form, in.text[max(0, i-80):min(len(in.text), i+len(form)+40)])
		}
	}
}

func (s *secrecy) look(where, text string) {
	s.t.Helper()
	s.printed += len(text)
	s.seen = append(s.seen, sighting{where, text})
	for what, value := range s.secrets {
		s.lookFor(what, value, sighting{where, text})
	}
}

// run runs a command as a process, and looks at what it prints and at its
// command line. The exit code does not matter: failures print the most.
func (s *secrecy) run(stdin string, args ...string) (stdout string, code int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 4*time.Minute)
	defer cancel()
	self, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	var out, diagnostics bytes.Buffer
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Args[0], cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = "imapsync", s.env, strings.NewReader(stdin), &out, &diagnostics
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	if line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", cmd.Process.Pid)); err == nil {
		s.look(fmt.Sprintf("the command line of %q", args), string(line))
	}
	if err := cmd.Wait(); err != nil {
		if _, ok := errors.AsType[*exec.ExitError](err); !ok {
			s.t.Fatalf("%q: %v", args, err)
		}
	}
	s.look(fmt.Sprintf("standard output of %q", args), out.String())
	s.look(fmt.Sprintf("standard error of %q", args), diagnostics.String())
	if strings.Contains(diagnostics.String(), "goroutine ") {
		s.t.Errorf("%q: a stack trace:\n%s", args, diagnostics.String())
	}
	if ctx.Err() != nil {
		s.t.Errorf("%q did not end", args)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// must is run that has to succeed, so that the test looks at what it means to.
func (s *secrecy) must(stdin string, args ...string) string {
	s.t.Helper()
	out, code := s.run(stdin, args...)
	if code != exitOK {
		s.t.Fatalf("%q: exit code %d", args, code)
	}
	return strings.TrimSpace(out)
}

func (s *secrecy) fails(stdin string, args ...string) {
	s.t.Helper()
	if _, code := s.run(stdin, args...); code == exitOK {
		s.t.Errorf("%q succeeded", args)
	}
}

// TestNoSecretAnywhere runs every command, at debug level, over providers that
// work and that fail in ways that tempt to repeat a password, and then looks at
// everything that was printed, published or stored.
func TestNoSecretAnywhere(t *testing.T) {
	t.Parallel()
	suffix := uuid.NewString()[:8]
	s := &secrecy{t: t, secrets: map[string]string{
		"password":          `pw "Zwölf\` + suffix + `+/ %41&`,
		"wrong password":    "wrong-pw-" + suffix + "-xyzzy",
		"database password": "db-pw-" + suffix + "-plugh/+",
	}}
	nats, dovecot, vault := devenv.TestNATS(t), devenv.TestDovecot(t), devenv.TestVault(t)
	databaseURL := s.database(suffix)
	s.secrets["Vault token"], s.secrets["AppRole secret"] = vault.Token, vault.SecretID
	key, err := secret.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	_, s.secrets["key"], _ = strings.Cut(key.Reveal(), ":")
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keyFile, passwordFile := file("key", key.Reveal()+"\n"), file("pw", s.secrets["password"]+"\n")
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "IMAPSYNC_") {
			s.env = append(s.env, kv)
		}
	}
	s.env = append(s.env, "DATABASE_URL="+databaseURL, "NATS_URL="+nats.URL(),
		"IMAPSYNC_SECRET_KEY_FILE="+keyFile, "IMAPSYNC_LOG_LEVEL=debug", "IMAPSYNC_LOG_FORMAT=json")

	if err := dovecot.AddUser("ann", s.secrets["password"], "Work"); err != nil {
		t.Fatal(err)
	}
	if err := dovecot.Deliver("ann", "INBOX", []byte("From: a@example.org\nSubject: s\nMessage-ID: <1@x>\n\nbody\n"),
		[]byte("From: b@example.org\nMessage-ID: <2@x>\n\nbody\n")); err != nil {
		t.Fatal(err)
	}
	// A server that repeats what it was sent, in every place it can.
	echo, err := imapserver.Start(imapserver.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { echo.Close() })
	echo.Play(imapserver.Quirk{Name: "echo", Stage: imapserver.Login, Do: func(x *imapserver.Exchange) error {
		return errors.Join(x.Before("* OK you said "+x.Args), x.Tagged("NO cannot log in with "+x.Args+" "+base64.StdEncoding.EncodeToString([]byte(x.Args))))
	}})
	echoCA := file("echo.pem", string(echo.CertPEM()))

	s.must("", "migrate")
	s.must("", "version")
	s.must("", "--help")
	id := s.must(s.secrets["password"]+"\n", "provider", "add", "--name", "ann", "--mailbox", "ann@example.com", "--host", dovecot.Host,
		"--port", strconv.Itoa(dovecot.TLSPort), "--ca-file", dovecot.CAFile, "--username", "ann", "--password-stdin")
	s.must("", "provider", "set", "ann", "--password-file", passwordFile)
	s.fails(s.secrets["wrong password"]+"\n", "provider", "set", "ann", "--password-stdin")
	s.fails("", "provider", "add", "--mailbox", "ann@example.com", "--host", dovecot.Host, "--port", strconv.Itoa(dovecot.TLSPort),
		"--ca-file", dovecot.CAFile, "--username", "ann", "--password-file", passwordFile)
	s.fails("", "provider", "add", "--mailbox", "e@example.com", "--host", echo.Host(), "--port", strconv.Itoa(echo.Port()),
		"--ca-file", echoCA, "--username", "user", "--password-file", passwordFile)
	s.must("", "provider", "add", "--name", "echo", "--mailbox", "e@example.com", "--host", echo.Host(), "--port", strconv.Itoa(echo.Port()),
		"--ca-file", echoCA, "--username", "user", "--password-file", passwordFile, "--no-test")
	s.must("", "provider", "add", "--name", "nobody", "--mailbox", "n@example.com", "--host", "127.0.0.1", "--port", "1",
		"--username", "n", "--password-file", passwordFile, "--no-test", "-o", "json")
	s.fails(s.secrets["password"]+"\nanother line\n", "provider", "set", "ann", "--password-stdin") // two lines are no password
	for range 3 {
		s.run("", "run", "--provider", "ann", "--provider", "echo", "--provider", "nobody", "-o", "json")
	}
	s.must("", "run", "--drain")
	for _, format := range []string{"text", "json"} {
		for _, args := range [][]string{
			{"status"}, {"provider", "list"}, {"provider", "show", "ann"}, {"provider", "show", "echo"}, {"provider", "test"},
			{"provider", "test", "ann"}, {"provider", "test", "echo"}, {"provider", "folders", "ann"}, {"doctor"}, {"audit"}, {"quarantine", "list"},
			{"reconcile", "ann"}, {"verify"}, {"migrate", "status"}, {"secret", "rotate"},
		} {
			s.run("", append(args, "-o", format)...)
		}
	}
	s.run("", "status", "-o", "prometheus")
	events := s.must("", "events", "tail", "--all", "--idle", "3s", "-o", "json")
	if !strings.Contains(events, "INBOUND_EMAIL_RECEIVED") {
		t.Error("no event was shown")
	}
	s.must("", "backfill", "ann", "--since", "30d", "--dry-run")
	s.must("", "provider", "pause", "ann")
	s.must("", "provider", "resume", "ann")
	s.fails("", "provider", "resume", "echo")
	s.must("", "provider", "resync", "ann")
	s.must("", "run", "--provider", "ann")
	s.must("", "parse", "../../internal/demo/mails/broken.eml")
	s.must("", "secret", "keygen", "--add", keyFile)
	ring, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	_, s.secrets["new key"], _ = strings.Cut(strings.Split(string(ring), "\n")[0], ":")
	s.must("", "secret", "rotate", "-o", "json")
	s.must("", "events", "tail", "--all", "--idle", "3s")
	s.fails("", "blob", "get", "none")
	s.fails("", "provider", "add", "--nonsense")

	// From the environment and from Vault, and through their failures.
	base := s.env
	s.env = append(slices.Clone(base), "IMAPSYNC_SECRET_CHAIN=env", secret.EnvironmentName("00000000-0000-4000-8000-000000000000", "imap_password_"+id)+"="+s.secrets["password"])
	s.must("", "provider", "test", "ann")
	s.must("", "run", "--provider", "ann")
	s.fails("", "doctor")
	secretID := file("secret-id", vault.SecretID)
	inVault := append(slices.Clone(base), "IMAPSYNC_SECRET_CHAIN=vault", "VAULT_ADDR="+vault.URL, "VAULT_CACERT="+vault.CAFile)
	for _, auth := range [][]string{{"VAULT_TOKEN=" + vault.Token},
		{"IMAPSYNC_VAULT_AUTH=approle", "IMAPSYNC_VAULT_ROLE_ID=" + vault.RoleID, "IMAPSYNC_VAULT_SECRET_ID_FILE=" + secretID}} {
		s.env = append(slices.Clone(inVault), auth...)
		s.fails("", "provider", "test", "ann")
		vault.Put("secret/imapsync/tenants/00000000-0000-4000-8000-000000000000/imap_password_"+id, map[string]any{"value": s.secrets["password"]})
		s.must("", "provider", "test", "ann")
		s.must("", "doctor", "ann")
		for _, status := range []int{403, 500, 503} {
			vault.Answer(status)
			s.fails("", "provider", "test", "ann")
			s.fails("", "doctor", "ann")
		}
		vault.Answer(0)
		vault.Put("secret/imapsync/tenants/00000000-0000-4000-8000-000000000000/imap_password_"+id, map[string]any{"other": s.secrets["password"]})
		s.fails("", "run", "--provider", "ann")
	}

	// Files that are wrong, a database and a broker that are not there.
	s.env = append(slices.Clone(base), "IMAPSYNC_SECRET_KEY_FILE="+passwordFile)
	s.fails("", "run")
	s.fails("", "secret", "rotate")
	s.fails("", "secret", "keygen", "--add", passwordFile)
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	for _, change := range []func(*url.URL){
		func(u *url.URL) { u.Host = "127.0.0.1:1" },
		func(u *url.URL) { u.Path = "/absent" },
		func(u *url.URL) { u.User = url.UserPassword("absent", s.secrets["database password"]) },
		func(u *url.URL) { u.Scheme = "mysql" },
		func(u *url.URL) { u.RawQuery = "sslmode=nonsense" },
	} {
		wrong := *u
		change(&wrong)
		s.env = append(slices.Clone(base), "DATABASE_URL="+wrong.String())
		s.fails("", "run")
		s.fails("", "migrate")
		s.fails("", "doctor")
		s.env = append(slices.Clone(base), "LOCK_DATABASE_URL="+wrong.String())
		s.fails("", "run", "--provider", "ann")
		s.run("", "doctor")
	}
	s.env = append(slices.Clone(base), "NATS_URL=nats://user:"+url.QueryEscape(s.secrets["wrong password"])+"@127.0.0.1:1")
	s.fails("", "run")
	s.fails("", "events", "tail", "--idle", "1s")
	s.fails("", "doctor")
	s.env = base

	s.oauth(file)
	s.panics(keyFile, databaseURL)
	s.published(nats.URL())
	s.stored(databaseURL)
	if s.printed < 50_000 {
		t.Errorf("only %d bytes were looked through", s.printed)
	}
}

// oauth reads a mailbox by tokens: of an app by itself, and by refresh tokens
// that are rotated, refused and revoked.
func (s *secrecy) oauth(file func(name, content string) string) {
	s.t.Helper()
	o := devenv.TestOAuth(s.t)
	o.Set(func(set *devenv.OAuthSettings) { set.Rotate = true })
	dovecot := devenv.TestDovecot(s.t, devenv.DovecotOAuth(o))
	s.also("client secret", o.ClientSecret)
	add := func(flow string, more ...string) string {
		return s.must("", append([]string{"provider", "add", "--name", flow, "--mailbox", flow + "@example.com", "--host", dovecot.Host,
			"--port", strconv.Itoa(dovecot.TLSPort), "--ca-file", dovecot.CAFile, "--username", "ann", "--auth", "oauth2", "--oauth-preset", "custom",
			"--oauth-flow", flow, "--oauth-client-id", o.ClientID, "--oauth-client-secret-file", file("client-secret", o.ClientSecret),
			"--oauth-token-url", o.URL + "/token", "--oauth-authorize-url", o.URL + "/authorize", "--oauth-scopes", "imap", "--no-test", "--same-account"}, more...)...)
	}
	if err := dovecot.AddUser("ann", uuid.NewString()); err != nil {
		s.t.Fatal(err)
	}
	add("client-credentials")
	id := add("code")
	look := func() {
		s.t.Helper()
		for _, name := range []string{"code", "client-credentials"} {
			s.run("", "provider", "test", name)
			s.run("", "run", "--provider", name, "-o", "json")
			s.run("", "doctor", name)
			s.run("", "status", name)
			s.run("", "provider", "show", name, "-o", "json")
		}
	}
	base := s.env
	s.env = append(slices.Clone(base), secret.EnvironmentName("00000000-0000-4000-8000-000000000000", "imap_refresh_token_"+id)+"="+o.Grant("ann"))
	s.must("", "provider", "test", "code")
	look()
	for _, status := range []int{429, 500} {
		o.Set(func(set *devenv.OAuthSettings) { set.Status = status })
		look()
	}
	o.Set(func(set *devenv.OAuthSettings) { set.Status, set.BadAccess = 0, true })
	o.Revoke("ann", true)
	look()
	o.Revoke("ann", false)
	look()
	s.env = base
	if len(o.Issued()) < 3 {
		s.t.Errorf("%d tokens were issued", len(o.Issued()))
	}
	for i, token := range o.Issued() {
		s.also(fmt.Sprintf("OAuth token %d", i), token)
	}
}

// database makes a user with a password of its own, who owns a new database.
func (s *secrecy) database(suffix string) string {
	s.t.Helper()
	admin := devenv.TestPostgres(s.t, nil)
	pool, err := sql.Open("postgres", admin)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { pool.Close() })
	user := "secrecy_" + suffix
	if _, err := pool.ExecContext(s.t.Context(), fmt.Sprintf(`CREATE ROLE %s LOGIN SUPERUSER PASSWORD '%s'`, user, s.secrets["database password"])); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_, err := pool.ExecContext(context.Background(), fmt.Sprintf(`REASSIGN OWNED BY %[1]s TO CURRENT_USER; DROP OWNED BY %[1]s; DROP ROLE %[1]s`, user))
		if err != nil {
			s.t.Errorf("drop role: %v", err)
		}
	})
	u, err := url.Parse(admin)
	if err != nil {
		s.t.Fatal(err)
	}
	u.User = url.UserPassword(user, s.secrets["database password"])
	return u.String()
}

// panicReader gives a password and then breaks, with the password at hand.
type panicReader struct{ value secret.Value }

func (r panicReader) Read([]byte) (int, error) {
	panic(fmt.Errorf("reading %v, %+v: %w", r.value, struct{ V secret.Value }{r.value}, io.ErrUnexpectedEOF))
}

func (s *secrecy) panics(keyFile, databaseURL string) {
	s.t.Helper()
	var out, diagnostics bytes.Buffer
	code := Main([]string{"provider", "set", "ann", "--password-stdin", "--no-test", "--database-url", databaseURL, "--secret-key-file", keyFile}, panicReader{secret.New(s.secrets["password"])}, &out, &diagnostics)
	if code != exitBug || !strings.Contains(diagnostics.String(), "[redacted]") || strings.Contains(diagnostics.String(), "goroutine") {
		s.t.Errorf("a panic: exit code %d, %q; want %d and [redacted]", code, diagnostics.String(), exitBug)
	}
	s.look("the output of a panic", out.String()+diagnostics.String())
}

// published looks at every message of every stream, blobs with them.
func (s *secrecy) published(natsURL string) {
	s.t.Helper()
	ctx := s.t.Context()
	nc, err := publish.Connect(ctx, publish.ConnectOptions{URL: natsURL})
	if err != nil {
		s.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		s.t.Fatal(err)
	}
	messages := 0
	for info := range js.ListStreams(ctx).Info() {
		stream, err := js.Stream(ctx, info.Config.Name)
		if err != nil {
			s.t.Fatal(err)
		}
		for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
			msg, err := stream.GetMsg(ctx, seq)
			if err != nil {
				continue // removed
			}
			messages++
			s.look("stream "+info.Config.Name, msg.Subject+fmt.Sprint(msg.Header)+string(msg.Data))
		}
	}
	if messages < 2 {
		s.t.Errorf("%d messages were looked at", messages)
	}
}

// stored looks at every row of every table.
func (s *secrecy) stored(databaseURL string) {
	s.t.Helper()
	pool, err := sql.Open("postgres", databaseURL)
	if err != nil {
		s.t.Fatal(err)
	}
	defer pool.Close()
	column := func(query string) (list []string) {
		rows, err := pool.QueryContext(s.t.Context(), query)
		if err != nil {
			s.t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				s.t.Fatal(err)
			}
			list = append(list, text)
		}
		if err := rows.Err(); err != nil {
			s.t.Fatal(err)
		}
		return list
	}
	counts := map[string]int{}
	for _, table := range column(`SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'`) {
		for _, row := range column(`SELECT t::text FROM ` + table + ` t`) { // bytea as hex
			counts[table]++
			s.look("table "+table, row)
			s.look("table "+table, strings.ReplaceAll(row, `""`, `"`))
		}
	}
	for _, table := range []string{"imap_secrets", "imap_audit_log", "imap_sync_state", "imap_messages", "imap_provider_options", "email_providers"} {
		if counts[table] == 0 {
			s.t.Errorf("table %s is empty; there are rows in %v", table, slices.Sorted(maps.Keys(counts)))
		}
	}
}
