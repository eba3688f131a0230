package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/lib/pq"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rogpeppe/go-internal/testscript"

	"imapsync/db"
	"imapsync/internal/devenv"
	"imapsync/secret"
)

func TestMain(m *testing.M) {
	quickEnds()
	devenv.TestsWait()
	testscript.Main(m, map[string]func(){
		"imapsync": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
	})
}

// quickEnds has processes under the race detector end when they have: it has
// each of them sleep for a second first, and these tests run a thousand.
func quickEnds() {
	const quick = "atexit_sleep_ms=0"
	if options := os.Getenv("GORACE"); !strings.Contains(options, "atexit_sleep_ms") {
		_ = os.Setenv("GORACE", strings.TrimSpace(options+" "+quick)) // it is slower without
	}
}

// TestScript runs testdata/script. Each script has a migrated database of its
// own (DATABASE_URL), a NATS (NATS_URL), a key (IMAPSYNC_SECRET_KEY_FILE), logs
// at debug level, and these commands beside those of testscript:
//
//	ok imapsync ARG…               run it; it must exit 0
//	exits CODE imapsync ARG…       run it; it must exit CODE
//	oauth                          start an authorization server: OAUTH_URL, OAUTH_CLIENT_ID, client.secret, account.json
//	oauth-set user=NAME status=N…  change it
//	dump                           no secret may stand in any table in the clear
//	signs-in CODE imapsync ARG…    run it, and be the person that signs in
//	dovecot [expired|self-signed|oauth]  start a server: IMAP_HOST, IMAP_TLS_PORT, IMAP_STARTTLS_PORT, IMAP_PLAIN_PORT, IMAP_CA
//	dovecot-user USER PASSWORD FOLDER…
//	dovecot-deliver USER FOLDER N  deliver N mails
//	dovecot-stop, dovecot-start
//	postgres-empty                 another DATABASE_URL, without a schema
//	nats-stop, nats-start
//	sql QUERY                      rows to stdout, columns parted by tabs
//	until QUERY                    wait until its one value is true
//	secret TEXT…                   what must never be printed
//
// After ok and exits the output must not hold a secret: the key, a password of
// dovecot-user, the password in DATABASE_URL, or a text given to secret.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true, Setup: setUpScript,
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"ok":              command(func(s *script, args []string) error { return s.exits(append([]string{"0"}, args...)) }),
			"exits":           command((*script).exits),
			"dovecot":         command((*script).startDovecot),
			"dovecot-user":    command((*script).addUser),
			"dovecot-deliver": command((*script).deliver),
			"dovecot-stop":    command(func(s *script, _ []string) error { return s.dovecot.Stop() }),
			"dovecot-start":   command(func(s *script, _ []string) error { return s.dovecot.Start(context.Background()) }),
			"nats-stop":       command(func(s *script, _ []string) error { return s.nats.Stop() }),
			"nats-start":      command(func(s *script, _ []string) error { return s.nats.Start(context.Background()) }),
			"nats-delete":     command((*script).deleteStream),
			"nats-save":       command((*script).saveNATS),
			"nats-back":       command((*script).setNATSBack),
			"postgres-empty":  command((*script).postgresEmpty),
			"sql":             command((*script).sql),
			"until":           command((*script).until),
			"secret":          command((*script).keep),
			"oauth":           command((*script).startOAuth),
			"oauth-set":       command((*script).setOAuth),
			"dump":            command((*script).dump),
			"signs-in":        command((*script).signIn),
		},
	})
}

// script is one script under way.
type script struct {
	*testscript.TestScript // of the command that runs
	t                      testing.TB
	nats                   *devenv.NATS
	dovecot                *devenv.Dovecot
	oauth                  *devenv.OAuth
	natsBefore             func() error // puts back what the broker had when it was saved
	secrets                []string
	delivered              int
}

type scriptKey struct{}

func migrateAll(ctx context.Context, url string) error {
	_, err := db.Migrate(ctx, db.Options{URL: url}, slog.New(slog.DiscardHandler))
	return err
}

func setUpScript(env *testscript.Env) error {
	s := &script{t: env.T().(testing.TB)}
	env.Values[scriptKey{}] = s
	s.nats = devenv.TestNATS(s.t)
	databaseURL := devenv.TestPostgres(s.t, migrateAll)
	key, err := secret.GenerateKey()
	if err != nil {
		return err
	}
	keyFile := filepath.Join(env.WorkDir, "test.key")
	_, keyText, _ := strings.Cut(key.Reveal(), ":")
	s.secrets = append(s.secrets, keyText)
	s.keepPassword(databaseURL)
	env.Setenv("GORACE", os.Getenv("GORACE"))
	env.Setenv("DATABASE_URL", databaseURL)
	env.Setenv("NATS_URL", s.nats.URL())
	env.Setenv("IMAPSYNC_SECRET_KEY_FILE", keyFile)
	env.Setenv("IMAPSYNC_LOG_LEVEL", "debug")
	return os.WriteFile(keyFile, []byte(key.Reveal()+"\n"), 0o600)
}

// deleteStream has the broker forget a stream.
func (s *script) deleteStream(args []string) error {
	nc, err := nats.Connect(s.nats.URL())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	return js.DeleteStream(context.Background(), args[0])
}

// saveNATS keeps what the broker has, for setNATSBack.
func (s *script) saveNATS([]string) error {
	err := s.nats.Stop()
	if err == nil {
		s.natsBefore, err = s.nats.Save()
	}
	return errors.Join(err, s.nats.Start(context.Background()))
}

// setNATSBack has the broker lose what it took since saveNATS.
func (s *script) setNATSBack([]string) error {
	err := s.nats.Stop()
	if err == nil {
		err = s.natsBefore()
	}
	return errors.Join(err, s.nats.Start(context.Background()))
}

func (s *script) keepPassword(databaseURL string) {
	if u, err := url.Parse(databaseURL); err == nil {
		if password, _ := u.User.Password(); password != "" {
			s.secrets = append(s.secrets, password)
		}
	}
}

// command makes a method a command of the scripts, which cannot be negated.
func command(f func(s *script, args []string) error) func(ts *testscript.TestScript, neg bool, args []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		if neg {
			ts.Fatalf("! does not go with this command: use exits CODE")
		}
		s := ts.Value(scriptKey{}).(*script)
		s.TestScript = ts
		ts.Check(f(s, args))
	}
}

func (s *script) exits(args []string) error {
	if len(args) < 2 || args[1] != "imapsync" {
		return errors.New("usage: ok imapsync ARG…, or exits CODE imapsync ARG…")
	}
	code, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	return s.run(code, args[2:])
}

func (s *script) run(code int, args []string) error {
	err := s.Exec("imapsync", args...)
	got := exitOK
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got, err = exit.ExitCode(), nil
	}
	if err != nil {
		return err
	}
	for _, name := range []string{"stdout", "stderr"} {
		if err := s.printsNoSecret(name, s.ReadFile(name)); err != nil {
			return err
		}
	}
	if got != code {
		return fmt.Errorf("exit code %d, want %d", got, code)
	}
	return nil
}

// printsNoSecret looks for secrets, tokens and stack traces in an output.
func (s *script) printsNoSecret(name, output string) error {
	secrets := s.secrets
	if s.oauth != nil {
		secrets = append(append(slices.Clone(secrets), s.oauth.Issued()...), s.oauth.ClientSecret)
	}
	for _, text := range secrets {
		if strings.Contains(output, text) || strings.Contains(output, base64.StdEncoding.EncodeToString([]byte(text))) {
			return fmt.Errorf("the secret %q is in %s", text, name)
		}
	}
	if strings.Contains(output, "goroutine ") || strings.Contains(output, "panic") || strings.Contains(output, "PRIVATE KEY") {
		return fmt.Errorf("a stack trace or a key is in %s", name)
	}
	return nil
}

func (s *script) keep(args []string) error {
	s.secrets = append(s.secrets, args...)
	return nil
}

func (s *script) startDovecot(args []string) error {
	var opts []devenv.DovecotOption
	for _, arg := range args {
		var pair devenv.KeyPair
		var err error
		switch arg {
		case "expired":
			var ca *devenv.CA
			if ca, err = devenv.NewCA(); err != nil {
				return err
			}
			pair, err = ca.Issue(devenv.Cert{NotBefore: time.Now().AddDate(0, -2, 0), NotAfter: time.Now().AddDate(0, -1, 0)})
			s.Setenv("EXPIRED_CA", filepath.Join(s.Getenv("WORK"), "expired-ca.pem"))
			err = errors.Join(err, os.WriteFile(s.Getenv("EXPIRED_CA"), ca.PEM, 0o600))
		case "self-signed":
			pair, err = devenv.SelfSigned(devenv.Cert{})
		case "oauth":
			opts = append(opts, devenv.DovecotOAuth(s.oauth))
			continue
		default:
			return fmt.Errorf("dovecot: %q: use expired, self-signed or oauth", arg)
		}
		if err != nil {
			return err
		}
		opts = append(opts, devenv.DovecotCert(pair))
	}
	s.dovecot = devenv.TestDovecot(s.t, opts...)
	s.Setenv("IMAP_HOST", s.dovecot.Host)
	s.Setenv("IMAP_TLS_PORT", strconv.Itoa(s.dovecot.TLSPort))
	s.Setenv("IMAP_STARTTLS_PORT", strconv.Itoa(s.dovecot.StartTLSPort))
	s.Setenv("IMAP_PLAIN_PORT", strconv.Itoa(s.dovecot.PlainPort))
	s.Setenv("IMAP_CA", s.dovecot.CAFile)
	return nil
}

func (s *script) addUser(args []string) error {
	if len(args) < 2 {
		return errors.New("usage: dovecot-user USER PASSWORD FOLDER…")
	}
	s.secrets = append(s.secrets, args[1])
	return s.dovecot.AddUser(args[0], args[1], args[2:]...)
}

func (s *script) deliver(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: dovecot-deliver USER FOLDER N")
	}
	n, err := strconv.Atoi(args[2])
	if err != nil {
		return err
	}
	var mails [][]byte
	for range n {
		s.delivered++
		mails = append(mails, fmt.Appendf(nil, "From: Ann <ann@example.org>\nTo: %[1]s@example.com\nSubject: mail %[2]d\n"+
			"Message-ID: <%[2]d@example.org>\nDate: Mon, 2 Mar 2026 10:00:00 +0000\n\nBody of mail %[2]d.\n", args[0], s.delivered))
	}
	return s.dovecot.Deliver(args[0], args[1], mails...)
}

func (s *script) postgresEmpty([]string) error {
	databaseURL := devenv.TestPostgres(s.t, nil)
	s.keepPassword(databaseURL)
	s.Setenv("DATABASE_URL", databaseURL)
	return nil
}

func (s *script) until(args []string) error {
	conn, err := sql.Open("postgres", s.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer conn.Close()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var yes bool
		err := conn.QueryRowContext(s.t.Context(), args[0]).Scan(&yes)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil || yes {
			return err
		}
	}
	return fmt.Errorf("not within %s: %s", patience, args[0])
}

func (s *script) sql(args []string) error {
	if len(args) != 1 {
		return errors.New("usage: sql QUERY")
	}
	conn, err := sql.Open("postgres", s.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	defer conn.Close()
	rows, err := conn.QueryContext(s.t.Context(), args[0])
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return err
		}
		for i, v := range values {
			if i > 0 {
				out.WriteByte('\t')
			}
			out.WriteString(v.String)
		}
		out.WriteByte('\n')
	}
	_, err = out.WriteTo(s.Stdout())
	return errors.Join(err, rows.Err())
}
