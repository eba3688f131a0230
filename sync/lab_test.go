package sync

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
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

// lab is what the tests on scripted servers share: a database, a broker, and a
// server that behaves, for the neighbour of every provider under test.
type lab struct {
	dbURL, natsURL string
	neighbour      *imapserver.Server
	servers        atomic.Int32
}

const neighbourMails = 2

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{dbURL: devenv.TestPostgres(t, migrate), natsURL: devenv.TestNATS(t).URL()}
	l.neighbour = imapserver.Test(t, imapserver.Config{}, neighbourMails)
	return l
}

// trial is one scripted server, a provider on it and a neighbour, passed over
// in one run.
type trial struct {
	*house
	t         *testing.T
	srv       *imapserver.Server
	provider  *db.Provider
	neighbour *db.Provider
	folders   []string // of the provider, as the server names them
	log       *safeBuffer
	sent      map[string]string // Message-ID → body of all mail that the server ever had
	pool      *sql.DB
	n         int
}

// The deadlines of a trial: short, for what hangs hangs often; and those where
// nothing hangs, and only the machine may be slow.
const (
	trialDeadline = 1500 * time.Millisecond
	patient       = 15 * time.Second
	trialPass     = 3 * time.Minute
	goodbye       = 2 * time.Second // the longest that a logout takes
)

func deadlines(p *db.Provider, d time.Duration) {
	ms := int(d.Milliseconds())
	p.ConnectTimeoutMS, p.CommandTimeoutMS, p.LiteralTimeoutMS = ms, ms, ms
}

// trial starts a server on an address of its own, so that no back-off of its
// host touches another trial, with mail in INBOX (4), Other (2) and Sub/One (1).
func (l *lab) trial(t *testing.T, security imapserver.Security, change func(*db.Provider)) *trial {
	t.Helper()
	n := l.servers.Add(1)
	srv := imapserver.Test(t, imapserver.Config{Security: security, Listen: fmt.Sprintf("127.0.%d.%d", 1+n/250, 1+n%250)}, 0)
	tr := &trial{
		house: newHouseOn(t, l.dbURL, l.natsURL), t: t, srv: srv, folders: []string{"INBOX", "Other", "Sub/One"},
		log: &safeBuffer{}, sent: map[string]string{},
	}
	tr.runner.Log = slog.New(slog.NewTextHandler(tr.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if os.Getenv("IMAPSYNC_TEST_LOG") != "" {
		tr.runner.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	tr.runner.Options.Workers, tr.runner.Options.MaxMessageBytes = 2, 1<<20
	tr.append("INBOX", 4)
	tr.append("Other", 2)
	tr.append("Sub/One", 1)
	name := func(which string) string { return fmt.Sprintf("%s-%d", which, n) }
	tr.provider = tr.on(srv, name("trial"), func(p *db.Provider) {
		p.Folders, p.MaxEmailsPerSync = db.FolderNames{"INBOX", "Other", "Sub/*"}, 30
		if security == imapserver.STARTTLS {
			p.TLS = db.TLSStartTLS
		}
		if change != nil {
			change(p)
		}
	})
	tr.neighbour = tr.on(l.neighbour, name("neighbour"), func(p *db.Provider) { deadlines(p, patient) })
	return tr
}

// on adds a provider on a scripted server.
func (tr *trial) on(srv *imapserver.Server, name string, change func(*db.Provider)) *db.Provider {
	tr.t.Helper()
	return tr.house.provider(nil, name, srv.Password, func(p *db.Provider) {
		p.Username, p.Host, p.Port, p.TLS, p.TLSServerName = srv.Username, srv.Host(), srv.Port(), db.TLSImplicit, "localhost"
		p.CAPEM = string(srv.CertPEM())
		p.PassTimeoutMS = int(trialPass.Milliseconds())
		deadlines(p, trialDeadline)
		if change != nil {
			change(p)
		}
	})
}

// append delivers mail to a folder and returns the UIDs.
func (tr *trial) append(folder string, n int) (uids []uint32) {
	for range n {
		uids = append(uids, tr.srv.Mailbox(folder).Append(tr.letter(folder)))
	}
	return uids
}

// letter is a mail whose subject is its own.
func (tr *trial) letter(folder string) string {
	tr.n++
	return string(mail(tr.n, fmt.Sprintf("%s %d", folder, tr.n))) +
		strings.Repeat(fmt.Sprintf("line of %d in %s\r\n", tr.n, folder), 10*tr.n)
}

// remember notes all mail that the server shows.
func (tr *trial) remember() {
	tr.t.Helper()
	for _, folder := range tr.folders {
		for _, m := range tr.srv.Mailbox(folder).Messages() {
			subject, body := letterParts(tr.t, m.Raw)
			tr.sent[subject] = body
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
func (tr *trial) pass() (own Result) {
	tr.t.Helper()
	tr.remember()
	began := time.Now()
	var results []Result
	var err error
	imapserver.Within(tr.t, 2*trialPass, func() { _, results, err = tr.tryRun(tr.provider, tr.neighbour) })
	must(tr.t, err)
	if took := time.Since(began); took > trialPass+goodbye {
		tr.t.Errorf("the pass took %s", took)
	}
	for _, res := range results {
		switch {
		case res.Ref.ID == tr.provider.ID:
			own = res
		case res.Err != nil:
			tr.t.Errorf("the neighbour's pass: %v", res.Err)
		}
	}
	if own.Busy || own.Deferred != "" {
		tr.t.Errorf("no pass: %+v", own)
	}
	return own
}

// settle passes until the server's mail is on the stream and nothing is left,
// every quarantined message being due at once; then once more, for nothing.
func (tr *trial) settle() {
	tr.t.Helper()
	const most = 12
	var res Result
	for pass := range most + 1 {
		if pass == most {
			tr.t.Errorf("after %d passes: %+v, in quarantine %v, missing on the stream %q", most, res, tr.quarantine(), tr.missing(tr.folders...))
			return
		}
		tr.due()
		if res = tr.pass(); res.Err == nil && res.Left == 0 && len(tr.quarantine()) == 0 && len(tr.missing(tr.folders...)) == 0 {
			break
		}
	}
	if res = tr.pass(); res.Err != nil || res.Counts.Total() != 0 {
		tr.t.Errorf("one more pass: %+v, want nothing to do", res)
	}
}

// due makes what is in quarantine due for its next attempt.
func (tr *trial) due() {
	tr.exec(`UPDATE imap_quarantine SET next_attempt_at = NULL WHERE state = 'retry' AND provider_id = $1`)
}

// exec runs a statement whose $1 is the provider.
func (tr *trial) exec(statement string) {
	tr.t.Helper()
	if tr.pool == nil {
		var err error
		tr.pool, err = sql.Open("postgres", tr.dbURL)
		must(tr.t, err)
		tr.t.Cleanup(func() { tr.pool.Close() })
	}
	_, err := tr.pool.ExecContext(tr.t.Context(), statement, tr.provider.ID)
	must(tr.t, err)
}

// quarantine lists what waits there, as code and error.
func (tr *trial) quarantine() []db.Quarantine {
	tr.t.Helper()
	list, err := tr.store.ListQuarantine(tr.t.Context(), db.QuarantineFilter{ProviderID: tr.provider.ID, Limit: 1000})
	must(tr.t, err)
	return list
}

// state is where the pass stands in a folder.
func (tr *trial) state(folder string) db.FolderState {
	tr.t.Helper()
	states, err := tr.store.FolderStates(tr.t.Context(), db.Ref{Tenant: testTenant, ID: tr.provider.ID})
	must(tr.t, err)
	if states[folder] == nil {
		return db.FolderState{}
	}
	return *states[folder]
}

// onStream counts a provider's events by subject.
func (tr *trial) onStream(p *db.Provider) map[string]int {
	tr.t.Helper()
	ctx, cancel := context.WithTimeout(tr.t.Context(), patience)
	defer cancel()
	js, err := jetstream.New(tr.nc)
	must(tr.t, err)
	stream, err := js.Stream(ctx, event.StreamName)
	must(tr.t, err)
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(event.Subject(p.Tenant, p.ID, "*")))
	must(tr.t, err)
	left := 0
	for _, n := range info.State.Subjects {
		left += int(n)
	}
	counts := map[string]int{}
	if left == 0 {
		return counts
	}
	sub, err := event.Subscribe(ctx, tr.nc, event.SubscribeOptions{Tenant: p.Tenant, ProviderID: p.ID})
	must(tr.t, err)
	for rec, err := range sub.Events(ctx) {
		must(tr.t, err)
		mail := rec.Event.Payload.EmailData
		counts[mail.Subject]++
		if p == tr.provider {
			if body, ok := tr.sent[mail.Subject]; !ok || body != plainText(mail.Body.Text) {
				tr.t.Errorf("an event that is no mail of the server: subject %q, text %.80q", mail.Subject, mail.Body.Text)
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
func (tr *trial) missing(folders ...string) (subjects []string) {
	tr.t.Helper()
	tr.remember()
	counts := tr.onStream(tr.provider)
	for subject, n := range counts {
		if n != 1 {
			tr.t.Errorf("%q is on the stream %d times", subject, n)
		}
	}
	for _, folder := range folders {
		for _, m := range tr.srv.Mailbox(folder).Messages() {
			if subject, _ := letterParts(tr.t, m.Raw); counts[subject] == 0 {
				subjects = append(subjects, subject)
			}
		}
	}
	return subjects
}

// wellMannered fails the test if the client did what no poller should do, or
// showed a secret, in the log or in what it stored.
func (tr *trial) wellMannered(res ...Result) {
	tr.t.Helper()
	if v := tr.srv.Violations(); v != nil {
		tr.t.Error("violations:", v)
	}
	said := tr.log.String()
	for _, r := range res {
		said += fmt.Sprint(r.Err)
	}
	for _, q := range tr.quarantine() {
		said += q.Error
	}
	stored, err := tr.store.Providers(tr.t.Context(), []db.Ref{{Tenant: testTenant, ID: tr.provider.ID}})
	must(tr.t, err)
	said += fmt.Sprint(*stored[0])
	if strings.Contains(said, "horse") || strings.Contains(said, "battery") {
		tr.t.Error("a secret shows:", said)
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
