package sync

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	gosync "sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/devenv"
	"imapsync/internal/devenv/imapserver"
)

// sharedServers are what the tests on scripted servers share: a database, a broker, and a
// server that behaves, for the neighbour of every provider under test.
type sharedServers struct {
	dbURL, natsURL string
	neighbour      *imapserver.Server
	servers        atomic.Int32
}

const neighbourMails = 2

func newSharedServers(t *testing.T) *sharedServers {
	t.Helper()
	l := &sharedServers{dbURL: devenv.TestPostgres(t, migrate), natsURL: devenv.TestNATS(t).URL()}
	l.neighbour = imapserver.Test(t, imapserver.Config{}, neighbourMails)
	return l
}

// scriptedEnv is one scripted server, a provider on it and a neighbour, passed over
// in one run.
type scriptedEnv struct {
	*testEnv
	t         *testing.T
	srv       *imapserver.Server
	provider  *db.Provider
	neighbour *db.Provider
	folders   []string // of the provider, as the server names them
	log       *safeBuffer
	sent      map[string]string // Message-ID → body of all mail that the server ever had
	atFault   string            // subject of the message that a fault is of; "" when it is the server's
	pool      *sql.DB
	clock     *shiftedClock
	n         int
}

// shiftedClock is the machine's clock, set forward.
type shiftedClock struct{ by atomic.Int64 }

func (c *shiftedClock) Now() time.Time                         { return time.Now().Add(time.Duration(c.by.Load())) }
func (c *shiftedClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// later sets the clock of the passes forward.
func (env *scriptedEnv) later(d time.Duration) { env.clock.by.Add(int64(d)) }

// passes makes n passes, so long one after the other.
func (env *scriptedEnv) passes(n int, apart time.Duration) (last Result) {
	env.t.Helper()
	for range n {
		env.later(apart)
		last = env.pass()
	}
	return last
}

// The deadlines on a scripted server: short, for what hangs hangs often; and those where
// nothing hangs, and only the machine may be slow.
const (
	scriptedDeadline = 1500 * time.Millisecond
	patient          = 15 * time.Second
	scriptedPass     = 3 * time.Minute
	goodbye          = 2 * time.Second // the longest that a logout takes
)

func deadlines(p *db.Provider, d time.Duration) {
	ms := int(d.Milliseconds())
	p.ConnectTimeoutMS, p.CommandTimeoutMS, p.LiteralTimeoutMS = ms, ms, ms
}

// start starts a server on an address of its own, so that no back-off of its
// host touches another test, with mail in INBOX (4), Other (2) and Sub/One (1).
func (l *sharedServers) start(t *testing.T, security imapserver.Security, change func(*db.Provider)) *scriptedEnv {
	t.Helper()
	n := l.servers.Add(1)
	srv := imapserver.Test(t, imapserver.Config{Security: security, Listen: fmt.Sprintf("127.0.%d.%d", 1+n/250, 1+n%250)}, 0)
	env := &scriptedEnv{
		testEnv: newEnvOn(t, l.dbURL, l.natsURL), t: t, srv: srv, folders: []string{"INBOX", "Other", "Sub/One"},
		log: &safeBuffer{}, sent: map[string]string{}, clock: &shiftedClock{},
	}
	env.runner.Clock = env.clock
	env.runner.Log = slog.New(slog.NewTextHandler(env.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if os.Getenv("IMAPSYNC_TEST_LOG") != "" {
		env.runner.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	env.runner.Options.Workers, env.runner.Options.MaxMessageBytes = 2, 1<<20
	env.append("INBOX", 4)
	env.append("Other", 2)
	env.append("Sub/One", 1)
	name := func(which string) string { return fmt.Sprintf("%s-%d", which, n) }
	env.provider = env.on(srv, name("scripted"), func(p *db.Provider) {
		p.Folders, p.MaxEmailsPerSync = db.FolderNames{"INBOX", "Other", "Sub/*"}, 30
		if security == imapserver.STARTTLS {
			p.TLS = db.TLSStartTLS
		}
		if change != nil {
			change(p)
		}
	})
	env.neighbour = env.on(l.neighbour, name("neighbour"), func(p *db.Provider) { deadlines(p, patient) })
	return env
}

// on adds a provider on a scripted server.
func (env *scriptedEnv) on(srv *imapserver.Server, name string, change func(*db.Provider)) *db.Provider {
	env.t.Helper()
	return env.testEnv.provider(nil, name, srv.Password, func(p *db.Provider) {
		p.Username, p.Host, p.Port, p.TLS, p.TLSServerName = srv.Username, srv.Host(), srv.Port(), db.TLSImplicit, "localhost"
		p.CAPEM = string(srv.CertPEM())
		p.PassTimeoutMS = int(scriptedPass.Milliseconds())
		deadlines(p, scriptedDeadline)
		if change != nil {
			change(p)
		}
	})
}

// append delivers mail to a folder and returns the UIDs.
func (env *scriptedEnv) append(folder string, n int) (uids []uint32) {
	for range n {
		uids = append(uids, env.srv.Mailbox(folder).AppendAt(env.letter(folder), env.clock.Now()))
	}
	return uids
}

// letter is a mail whose subject is its own.
func (env *scriptedEnv) letter(folder string) string {
	env.n++
	return string(mail(env.n, fmt.Sprintf("%s %d", folder, env.n))) +
		strings.Repeat(fmt.Sprintf("line of %d in %s\r\n", env.n, folder), 10*env.n)
}

// remember notes all mail that the server shows.
func (env *scriptedEnv) remember() {
	env.t.Helper()
	for _, folder := range env.folders {
		for _, m := range env.srv.Mailbox(folder).Messages() {
			subject, body := letterParts(env.t, m.Raw)
			env.sent[subject] = body
		}
	}
}

func letterParts(t testing.TB, raw []byte) (subject, body string) {
	t.Helper()
	header, rest, ok := strings.Cut(string(raw), "\r\n\r\n")
	_, subject, found := strings.Cut(header, "Subject: ")
	if !ok || !found {
		t.Fatalf("no letter of these tests: %.80q", raw)
	}
	subject, _, _ = strings.Cut(subject, "\r\n")
	return subject, plainText(rest)
}

func plainText(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) }

// pass runs once over the provider and its neighbour, within the deadlines and
// without harm to the neighbour.
func (env *scriptedEnv) pass() (own Result) {
	env.t.Helper()
	env.remember()
	began := time.Now()
	var results []Result
	var err error
	imapserver.Within(env.t, 2*scriptedPass, func() { _, results, err = env.tryRun(env.provider, env.neighbour) })
	must(env.t, err)
	if took := time.Since(began); took > scriptedPass+goodbye {
		env.t.Errorf("the pass took %s", took)
	}
	for _, res := range results {
		switch {
		case res.Ref.ID == env.provider.ID:
			own = res
		case res.Err != nil:
			env.t.Errorf("the neighbour's pass: %v", res.Err)
		}
	}
	if own.Busy || own.Deferred != "" {
		env.t.Errorf("no pass: %+v", own)
	}
	return own
}

// settle passes, the clock being set forward, until the server's mail is on the stream
// and nothing is left or in quarantine, but for a message that a fault is of; then
// once more, for nothing.
func (env *scriptedEnv) settle() {
	env.t.Helper()
	var res Result
	for _, wait := range append(afterTheLies(), 0) {
		res = env.pass()
		if res.Err == nil && res.Left == 0 && len(env.waiting()) == 0 && len(env.missing(env.folders...)) == 0 {
			break
		}
		if wait == 0 {
			env.t.Errorf("in the end: %+v, in quarantine %v, missing on the stream %q", res, env.waiting(), env.missing(env.folders...))
			return
		}
		env.later(wait)
	}
	if res = env.pass(); res.Err != nil || res.Counts.Total() != 0 {
		env.t.Errorf("one more pass: %+v, want nothing to do", res)
	}
}

// waiting is what is in quarantine, but for a message that a fault is of and that was
// given up.
func (env *scriptedEnv) waiting() []db.Quarantine {
	return slices.DeleteFunc(env.quarantine(), func(q db.Quarantine) bool {
		return q.State == db.QuarantineDead && slices.ContainsFunc(env.srv.Mailbox(q.Folder).Messages(), func(m imapserver.Message) bool {
			subject, _ := letterParts(env.t, m.Raw)
			return m.UID == q.UID && subject == env.atFault
		})
	})
}

// exec runs a statement whose $1 is the provider.
func (env *scriptedEnv) exec(statement string) {
	env.t.Helper()
	if env.pool == nil {
		var err error
		env.pool, err = sql.Open("postgres", env.dbURL)
		must(env.t, err)
		env.t.Cleanup(func() { env.pool.Close() })
	}
	_, err := env.pool.ExecContext(env.t.Context(), statement, env.provider.ID)
	must(env.t, err)
}

// quarantine lists what waits there, as code and error.
func (env *scriptedEnv) quarantine() []db.Quarantine {
	env.t.Helper()
	list, err := env.store.ListQuarantine(env.t.Context(), db.QuarantineFilter{ProviderID: env.provider.ID, Limit: 1000})
	must(env.t, err)
	return list
}

// state is where the pass stands in a folder.
func (env *scriptedEnv) state(folder string) db.FolderState {
	env.t.Helper()
	states, err := env.store.FolderStates(env.t.Context(), db.Ref{Tenant: testTenant, ID: env.provider.ID})
	must(env.t, err)
	if states[folder] == nil {
		return db.FolderState{}
	}
	return *states[folder]
}

// onStream counts a provider's events by subject.
func (env *scriptedEnv) onStream(p *db.Provider) map[string]int {
	env.t.Helper()
	ctx, cancel := context.WithTimeout(env.t.Context(), patience)
	defer cancel()
	info := streamInfo(env.t, env.nc, jetstream.WithSubjectFilter(event.Subject(p.Tenant, p.ID, "*")))
	left := 0
	for _, n := range info.State.Subjects {
		left += int(n)
	}
	counts := map[string]int{}
	if left == 0 {
		return counts
	}
	sub, err := event.Subscribe(ctx, env.nc, event.SubscribeOptions{Tenant: p.Tenant, ProviderID: p.ID})
	must(env.t, err)
	for rec, err := range sub.Events(ctx) {
		must(env.t, err)
		mail := rec.Event.Payload.EmailData
		counts[mail.Subject]++
		if p == env.provider {
			if body, ok := env.sent[mail.Subject]; !ok || body != plainText(mail.Body.Text) && mail.Subject != env.atFault {
				env.t.Errorf("an event that is no mail of the server: subject %q, text %.80q", mail.Subject, mail.Body.Text)
			}
		}
		if left--; left == 0 {
			break
		}
	}
	return counts
}

// missing lists the mail in folders that is not on the stream. Mail that is
// there twice fails the test.
func (env *scriptedEnv) missing(folders ...string) (subjects []string) {
	env.t.Helper()
	env.remember()
	counts := env.onStream(env.provider)
	for subject, n := range counts {
		if n != 1 {
			env.t.Errorf("%q is on the stream %d times", subject, n)
		}
	}
	for _, folder := range folders {
		for _, m := range env.srv.Mailbox(folder).Messages() {
			if subject, _ := letterParts(env.t, m.Raw); counts[subject] == 0 {
				subjects = append(subjects, subject)
			}
		}
	}
	return subjects
}

// wellMannered fails the test if the client did what no poller should do, or
// showed a secret, in the log or in what it stored.
func (env *scriptedEnv) wellMannered(res ...Result) {
	env.t.Helper()
	if v := env.srv.Violations(); v != nil {
		env.t.Error("violations:", v)
	}
	said := env.log.String()
	for _, r := range res {
		said += fmt.Sprint(r.Err)
	}
	for _, q := range env.quarantine() {
		said += q.Error
	}
	stored, err := env.store.Providers(env.t.Context(), []db.Ref{{Tenant: testTenant, ID: env.provider.ID}})
	must(env.t, err)
	said += fmt.Sprint(*stored[0])
	if strings.Contains(said, "horse") || strings.Contains(said, "battery") {
		env.t.Error("a secret shows:", said)
	}
}

// safeBuffer is a buffer for several writers.
type safeBuffer struct {
	mu  gosync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
