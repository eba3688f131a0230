package sync

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
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

// house is what a run needs, on real servers: Postgres and NATS of the test,
// and a runner on them.
type house struct {
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

func newHouse(t testing.TB) *house {
	t.Helper()
	return newHouseOn(t, devenv.TestPostgres(t, migrate), devenv.TestNATS(t).URL())
}

func newHouseOn(t testing.TB, dbURL, natsURL string) *house {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	h := &house{t: t, dbURL: dbURL, natsURL: natsURL, password: map[string]secret.Value{}}
	var err error
	if h.store, err = db.Open(ctx, db.Options{URL: dbURL}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.store.Close() })
	if h.locks, err = h.store.OpenLocks(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.locks.Close)
	if h.nc, err = publish.Connect(ctx, publish.ConnectOptions{URL: natsURL}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.nc.Close)
	pub, err := publish.NewPublisher(ctx, h.nc, publish.PublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	if os.Getenv("IMAPSYNC_TEST_LOG") != "" {
		log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	h.runner = &Runner{
		Store: h.store, Locks: h.locks, Publisher: pub, Log: log, Stop: make(chan struct{}),
		Credential: func(_ context.Context, p *db.Provider, _ db.Fence) (Credential, error) {
			h.mu.Lock()
			defer h.mu.Unlock()
			return Credential{Password: h.password[p.ID]}, nil
		},
		OnResult: func(res Result) { h.results = append(h.results, res) },
	}
	return h
}

// provider adds a mailbox of dovecot.
func (h *house) provider(d *devenv.Dovecot, user, password string, change func(*db.Provider)) *db.Provider {
	h.t.Helper()
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
			h.t.Fatal(err)
		}
		p.Host, p.Port, p.TLS, p.CAPEM = d.Host, d.TLSPort, db.TLSImplicit, string(ca)
	}
	if change != nil {
		change(p)
	}
	if err := h.store.AddProvider(h.t.Context(), p, nil, db.Audit{Tenant: p.Tenant, At: time.Now(), Actor: "test"}); err != nil {
		h.t.Fatal(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.password[p.ID] = secret.New(password)
	return p
}

// run passes over the providers and returns what came of each.
func (h *house) run(providers ...*db.Provider) (Summary, []Result) {
	h.t.Helper()
	summary, results, err := h.tryRun(providers...)
	if err != nil {
		h.t.Fatal(err)
	}
	return summary, results
}

func (h *house) tryRun(providers ...*db.Provider) (Summary, []Result, error) {
	h.t.Helper()
	var refs []db.Ref
	for _, p := range providers {
		refs = append(refs, db.Ref{Tenant: p.Tenant, ID: p.ID})
	}
	h.results = nil
	summary, err := h.runner.Run(h.t.Context(), refs)
	return summary, h.results, err
}

// ok passes over one provider and fails the test unless all went well.
func (h *house) ok(p *db.Provider) Result {
	h.t.Helper()
	_, results := h.run(p)
	if len(results) != 1 || results[0].Err != nil {
		h.t.Fatalf("pass over %s: %+v", p.Name, results)
	}
	return results[0]
}

// events reads the whole stream.
func (h *house) events() []*event.Event {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	js, err := jetstream.New(h.nc)
	must(h.t, err)
	stream, err := js.Stream(ctx, event.StreamName)
	must(h.t, err)
	info, err := stream.Info(ctx)
	must(h.t, err)
	if info.State.Msgs == 0 {
		return nil
	}
	sub, err := event.Subscribe(ctx, h.nc, event.SubscribeOptions{})
	must(h.t, err)
	var list []*event.Event
	for rec, err := range sub.Events(ctx) {
		must(h.t, err)
		if list = append(list, rec.Event); uint64(len(list)) == info.State.Msgs {
			break
		}
	}
	return list
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
func (h *house) purge() {
	h.t.Helper()
	js, err := jetstream.New(h.nc)
	must(h.t, err)
	stream, err := js.Stream(h.t.Context(), event.StreamName)
	must(h.t, err)
	must(h.t, stream.Purge(h.t.Context()))
}

// forget takes a row out of the ledger, as no run ever would.
func (h *house) forget(p *db.Provider, uid int) error {
	pool, err := sql.Open("postgres", h.dbURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = pool.ExecContext(h.t.Context(), `DELETE FROM imap_messages WHERE provider_id = $1 AND uid = $2`, p.ID, uid)
	return err
}

// due makes every quarantined message due for its next attempt.
func (h *house) due() error {
	pool, err := sql.Open("postgres", h.dbURL)
	if err != nil {
		return err
	}
	defer pool.Close()
	_, err = pool.ExecContext(h.t.Context(), `UPDATE imap_quarantine SET next_attempt_at = NULL WHERE state = 'retry'`)
	return err
}
