package sync

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/devenv"
	"imapsync/publish"
	"imapsync/secret"
)

const testTenant = "00000000-0000-4000-8000-000000000001"

// testEnv is what a run needs, on real servers: Postgres and NATS of the test,
// and a runner on them.
type testEnv struct {
	t        testing.TB
	dbURL    string
	natsURL  string
	store    *db.Store
	locks    *db.Locks
	nc       *nats.Conn
	runner   *Runner
	mu       sync.Mutex              // passwords are added while watchers read them
	password map[string]secret.Value // by provider id
	results  []Result
}

func migrate(ctx context.Context, url string) error {
	_, err := db.Migrate(ctx, db.Options{URL: url}, slog.New(slog.DiscardHandler))
	return err
}

func newEnv(t testing.TB) *testEnv {
	t.Helper()
	return newEnvOn(t, devenv.TestPostgres(t, migrate), devenv.TestNATS(t).URL())
}

func newEnvOn(t testing.TB, dbURL, natsURL string) *testEnv {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	env := &testEnv{t: t, dbURL: dbURL, natsURL: natsURL, password: map[string]secret.Value{}}
	var err error
	if env.store, err = db.Open(ctx, db.Options{URL: dbURL}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { env.store.Close() })
	if env.locks, err = env.store.OpenLocks(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(env.locks.Close)
	if env.nc, err = publish.Connect(ctx, publish.ConnectOptions{URL: natsURL}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(env.nc.Close)
	pub, err := publish.NewPublisher(ctx, env.nc, publish.PublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("IMAPSYNC_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	env.runner = &Runner{
		Store: env.store, Locks: env.locks, Publisher: pub, Log: log, Stop: make(chan struct{}),
		Credential: func(_ context.Context, p *db.Provider, _ db.Fence) (Credential, error) {
			env.mu.Lock()
			defer env.mu.Unlock()
			return Credential{Password: env.password[p.ID]}, nil
		},
		OnResult: func(res Result) { env.results = append(env.results, res) },
	}
	return env
}

// provider adds a mailbox of dovecot.
func (env *testEnv) provider(d *devenv.Dovecot, user, password string, change func(*db.Provider)) *db.Provider {
	env.t.Helper()
	p := &db.Provider{
		Settings: db.Settings{
			Tenant: testTenant, ID: uuid.NewString(), Name: user, Mailbox: user + "@example.com", Active: true, AutoProcess: true,
			AuthType: "password", Username: user, MaxEmailsPerSync: 50, Start: "all",
			CreatedAt: time.Now().UTC(),
		},
		State: db.State{Status: db.StatusConfiguring},
	}
	if d != nil {
		ca, err := os.ReadFile(d.CAFile)
		if err != nil {
			env.t.Fatal(err)
		}
		p.Host, p.Port, p.TLS, p.CAPEM = d.Host, d.TLSPort, db.TLSImplicit, string(ca)
	}
	if change != nil {
		change(p)
	}
	if err := env.store.AddProvider(env.t.Context(), p, nil, db.Audit{Tenant: p.Tenant, At: time.Now(), Actor: "test"}); err != nil {
		env.t.Fatal(err)
	}
	env.mu.Lock()
	defer env.mu.Unlock()
	env.password[p.ID] = secret.New(password)
	return p
}

// run passes over the providers and returns what came of each.
func (env *testEnv) run(providers ...*db.Provider) (Summary, []Result) {
	env.t.Helper()
	summary, results, err := env.tryRun(providers...)
	if err != nil {
		env.t.Fatal(err)
	}
	return summary, results
}

func (env *testEnv) tryRun(providers ...*db.Provider) (Summary, []Result, error) {
	env.t.Helper()
	var refs []db.Ref
	for _, p := range providers {
		refs = append(refs, db.Ref{Tenant: p.Tenant, ID: p.ID})
	}
	env.results = nil
	summary, err := env.runner.Run(env.t.Context(), refs)
	return summary, env.results, err
}

// ok passes over one provider and fails the test unless all went well.
func (env *testEnv) ok(p *db.Provider) Result {
	env.t.Helper()
	_, results := env.run(p)
	if len(results) != 1 || results[0].Err != nil {
		env.t.Fatalf("pass over %s: %+v", p.Name, results)
	}
	return results[0]
}

// events reads the whole stream.
func (env *testEnv) events() []*event.Event {
	env.t.Helper()
	ctx, cancel := context.WithTimeout(env.t.Context(), patience)
	defer cancel()
	info := streamInfo(env.t, env.nc)
	if info.State.Msgs == 0 {
		return nil
	}
	sub, err := event.Subscribe(ctx, env.nc, event.SubscribeOptions{})
	must(env.t, err)
	var list []*event.Event
	for rec, err := range sub.Events(ctx) {
		must(env.t, err)
		if list = append(list, rec.Event); uint64(len(list)) == info.State.Msgs {
			break
		}
	}
	return list
}

// streamInfo asks the broker about the stream.
func streamInfo(t testing.TB, nc *nats.Conn, opts ...jetstream.StreamInfoOpt) *jetstream.StreamInfo {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	js, err := jetstream.New(nc)
	must(t, err)
	stream, err := js.Stream(ctx, event.StreamName)
	must(t, err)
	info, err := stream.Info(ctx, opts...)
	must(t, err)
	return info
}

// mail is a plain mail with its own Message-ID.
func mail(n int, subject string) []byte {
	return fmt.Appendf(nil, "From: Ann <ann@example.org>\r\nTo: support@example.com\r\nSubject: %s\r\n"+
		"Message-ID: <%d.%s@example.org>\r\nDate: Mon, 2 Mar 2026 10:%02d:%02d +0000\r\n\r\nBody %d.\r\n",
		subject, n, uuid.NewString(), n/60%60, n%60, n)
}

func mails(from, to int) [][]byte {
	var list [][]byte
	for n := from; n <= to; n++ {
		list = append(list, mail(n, fmt.Sprintf("mail %05d", n)))
	}
	return list
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

var deleted = imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}

func seqSet(n uint32) imap.SeqSet { return imap.SeqSetNum(n) }

// purge has the broker lose all events.
func (env *testEnv) purge() {
	env.t.Helper()
	js, err := jetstream.New(env.nc)
	must(env.t, err)
	stream, err := js.Stream(env.t.Context(), event.StreamName)
	must(env.t, err)
	must(env.t, stream.Purge(env.t.Context()))
}

// forget takes a row out of the ledger, as no run ever would.
func (env *testEnv) forget(p *db.Provider, uid int) error {
	pool, err := sql.Open("postgres", env.dbURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = pool.ExecContext(env.t.Context(), `DELETE FROM imap_messages WHERE provider_id = $1 AND uid = $2`, p.ID, uid)
	return err
}

// due makes every quarantined message due for its next attempt.
func (env *testEnv) due() error {
	pool, err := sql.Open("postgres", env.dbURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = pool.ExecContext(env.t.Context(), `UPDATE imap_quarantine SET next_attempt_at = NULL WHERE state = 'retry'`)
	return err
}

// inFlight leaves messages of INBOX as a pass does that was killed while it handled them.
func (env *testEnv) inFlight(p *db.Provider, uids ...int) {
	env.t.Helper()
	pool, err := sql.Open("postgres", env.dbURL)
	must(env.t, err)
	defer pool.Close()
	list := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(uids)), ","), "[]")
	_, err = pool.ExecContext(env.t.Context(), `UPDATE imap_folder_state SET in_flight = $2 WHERE provider_id = $1 AND folder = 'INBOX'`, p.ID, "{"+list+"}")
	must(env.t, err)
}
