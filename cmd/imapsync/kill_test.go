package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/internal/devenv"
	"imapsync/secret"
)

// The tests of this file run `imapsync run` as processes of their own and kill
// or stop them. Each is named after the row of failures that it stands for.

// ground is what the processes of one test have in common.
type ground struct {
	t           *testing.T
	databaseURL string
	natsURL     string
	dovecot     *devenv.Dovecot
	env         []string
	pool        *sql.DB
	delivered   int
}

func newGround(t *testing.T, databaseURL, natsURL string) *ground {
	t.Helper()
	g := &ground{t: t, databaseURL: databaseURL, natsURL: natsURL, dovecot: devenv.TestDovecot(t)}
	key, err := secret.GenerateKey()
	g.must(err)
	keyFile := filepath.Join(t.TempDir(), "key")
	g.must(os.WriteFile(keyFile, []byte(key.Reveal()+"\n"), 0o600))
	g.env = append(os.Environ(), "DATABASE_URL="+databaseURL, "NATS_URL="+natsURL, "IMAPSYNC_SECRET_KEY_FILE="+keyFile)
	g.pool, err = sql.Open("postgres", databaseURL)
	g.must(err)
	t.Cleanup(func() { g.pool.Close() })
	return g
}

func (g *ground) must(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatal(err)
	}
}

// mailbox adds a user with folders to Dovecot, and a provider of that name.
func (g *ground) mailbox(name string, folders []string, flags ...string) {
	g.t.Helper()
	g.must(g.dovecot.AddUser(name, "geheim", folders...))
	args := []string{"provider", "add", "--no-test", "--name", name, "--mailbox", name + "@example.com", "--username", name,
		"--host", g.dovecot.Host, "--password-stdin", "--start", "all", "--max-emails-per-sync", "1000", "--folder", "INBOX"}
	for _, folder := range folders {
		args = append(args, "--folder", folder)
	}
	p := g.start(append(args, flags...)...)
	if code, out := p.wait(); code != exitOK {
		g.t.Fatalf("provider add: exit %d\n%s", code, out)
	}
}

func (g *ground) tls() []string {
	return []string{"--port", strconv.Itoa(g.dovecot.TLSPort), "--ca-file", g.dovecot.CAFile}
}

func (g *ground) deliver(user, folder string, n int, header string) {
	g.t.Helper()
	var mails [][]byte
	for range n {
		g.delivered++
		mails = append(mails, fmt.Appendf(nil, "From: Ann <ann@example.org>\nTo: %[1]s@example.com\nSubject: mail %05[2]d\n"+
			"Message-ID: <%[2]d@example.org>\nDate: Mon, 2 Mar 2026 10:00:00 +0000\n%[3]s\nBody of mail %[2]d.\n", user, g.delivered, header))
	}
	g.must(g.dovecot.Deliver(user, folder, mails...))
}

// process is one imapsync under way.
type process struct {
	g      *ground
	cmd    *exec.Cmd
	output bytes.Buffer // standard output and error; read after done
	done   chan error
}

func (g *ground) start(args ...string) *process {
	g.t.Helper()
	return g.startWith(nil, args...)
}

// startWith starts with more environment.
func (g *ground) startWith(env []string, args ...string) *process {
	g.t.Helper()
	p := &process{g: g, cmd: exec.Command("imapsync", args...), done: make(chan error, 1)}
	p.cmd.Env = slices.Concat(g.env, env)
	p.cmd.Stdin = strings.NewReader("geheim\n")
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	g.must(p.cmd.Start())
	g.t.Cleanup(func() { p.cmd.Process.Kill() })
	go func() { p.done <- p.cmd.Wait() }()
	return p
}

func (p *process) signal(sig syscall.Signal) { p.g.must(p.cmd.Process.Signal(sig)) }

// wait returns the exit code, -1 for a process that was killed, and all output.
func (p *process) wait() (code int, output string) {
	p.g.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
	case <-time.After(2 * patience):
		p.cmd.Process.Kill()
		err := <-p.done
		p.done <- err
		p.g.t.Fatalf("imapsync %v: still there after %s:\n%s", p.cmd.Args[1:], 2*patience, p.output.String())
	}
	return p.cmd.ProcessState.ExitCode(), p.output.String()
}

// run runs imapsync to its end and fails the test unless it exits with code.
func (g *ground) run(code int, args ...string) string {
	g.t.Helper()
	got, output := g.start(args...).wait()
	if got != code {
		g.t.Fatalf("imapsync %v: exit %d, want %d\n%s", args, got, code, output)
	}
	return output
}

// stream connects to the broker and opens the stream; nil when there is none.
func (g *ground) stream() jetstream.Stream {
	g.t.Helper()
	nc, err := nats.Connect(g.natsURL)
	g.must(err)
	g.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	g.must(err)
	stream, err := js.Stream(g.t.Context(), "INBOUND_EMAIL")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	g.must(err)
	return stream
}

// onStream counts events by their subject on the stream, which ends in the
// event key.
func (g *ground) onStream() map[string]uint64 {
	g.t.Helper()
	stream := g.stream()
	if stream == nil {
		return nil
	}
	info, err := stream.Info(g.t.Context(), jetstream.WithSubjectFilter(">"))
	g.must(err)
	return info.State.Subjects
}

// awaitEvents waits until so many events are on the stream.
func (g *ground) awaitEvents(n uint64) {
	g.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if stream := g.stream(); stream != nil {
			for ; time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				info, err := stream.Info(g.t.Context())
				g.must(err)
				if info.State.Msgs >= n {
					return
				}
			}
		}
		if time.Now().After(deadline) {
			g.t.Fatalf("fewer than %d events on the stream after %s", n, patience)
		}
	}
}

// drain runs until nothing is left. A message that was in hand when a run was
// killed may wait in quarantine for its next attempt; that time is made to pass.
func (g *ground) drain() {
	g.t.Helper()
	for range 10 {
		g.run(exitOK, "run", "--drain", "--provider", "support")
		res, err := g.pool.Exec(`UPDATE imap_quarantine SET next_attempt_at = NULL WHERE state = 'retry'`)
		g.must(err)
		if n, err := res.RowsAffected(); n == 0 && err == nil {
			return
		}
	}
	g.t.Fatal("messages stay in quarantine")
}

// each fails the test unless exactly n mails are on the stream, each once, and
// the ledger has the same.
func (g *ground) each(n int) {
	g.t.Helper()
	events := g.onStream()
	doubled := 0
	for _, times := range events {
		if times > 1 {
			doubled++
		}
	}
	if len(events) != n || doubled > 0 {
		g.t.Errorf("%d different events on the stream, %d of them more than once; want %d and none", len(events), doubled, n)
	}
	var rows, keys int
	g.must(g.pool.QueryRow(`SELECT count(*), count(DISTINCT event_key) FROM imap_messages WHERE outcome = 'published'`).Scan(&rows, &keys))
	if rows != n || keys != n {
		g.t.Errorf("the ledger has %d published messages of %d keys, want %d", rows, keys, n)
	}
}

// ahead fails the test when the ledger says published of what is not on the
// stream. The ledger is read first: what it says must be true by then.
func (g *ground) ahead() {
	g.t.Helper()
	rows, err := g.pool.Query(`SELECT event_key FROM imap_messages WHERE outcome = 'published'`)
	g.must(err)
	defer rows.Close()
	var keys []string
	for rows.Next() {
		var key string
		g.must(rows.Scan(&key))
		keys = append(keys, key)
	}
	g.must(rows.Err())
	events := map[string]bool{}
	for subject := range g.onStream() {
		events[subject[strings.LastIndexByte(subject, '.')+1:]] = true
	}
	for _, key := range keys {
		if !events[key] {
			g.t.Fatalf("the ledger says that %s is published, and it is not on the stream", key)
		}
	}
}

// cursor is settled_uid by folder.
func (g *ground) cursor() map[string]int {
	g.t.Helper()
	rows, err := g.pool.Query(`SELECT folder, settled_uid FROM imap_folder_state`)
	g.must(err)
	defer rows.Close()
	settled := map[string]int{}
	for rows.Next() {
		var folder string
		var uid int
		g.must(rows.Scan(&folder, &uid))
		settled[folder] = uid
	}
	g.must(rows.Err())
	return settled
}

// untouched fails the test unless so many mailboxes are charged with nothing: no failure,
// no wait, no error.
func (g *ground) untouched(n int) {
	g.t.Helper()
	var charged string
	g.must(g.pool.QueryRowContext(g.t.Context(), `
		SELECT coalesce(string_agg(concat_ws(' ', p.provider_name, p.status, p.error_message, s.consecutive_failures, s.auth_failures, s.last_error_code, s.next_attempt_at), '; '), '')
		FROM email_providers p LEFT JOIN imap_sync_state s ON s.tenant = p.tenant AND s.provider_id = p.id
		WHERE p.status = 'error' OR p.error_message IS NOT NULL OR p.inbound_paused_at IS NOT NULL
			OR s.consecutive_failures > 0 OR s.auth_failures > 0 OR s.last_error_code IS NOT NULL OR s.next_attempt_at IS NOT NULL`).Scan(&charged))
	var all int
	g.must(g.pool.QueryRowContext(g.t.Context(), `SELECT count(*) FROM email_providers`).Scan(&all))
	if charged != "" || all != n {
		g.t.Errorf("of %d mailboxes, %d wanted, some are charged: %s", all, n, charged)
	}
}

// thousand delivers 1,000 mails to three folders of one mailbox.
func (g *ground) thousand() {
	g.t.Helper()
	g.mailbox("support", []string{"Archive", "Заказы"}, g.tls()...)
	g.deliver("support", "INBOX", 500, "")
	g.deliver("support", "Archive", 300, "")
	g.deliver("support", "Заказы", 200, "")
}

func TestFailure02_KilledInMidRunLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATS(t).URL())
	g.thousand()
	for _, at := range []uint64{30, 220, 430, 700} {
		p := g.start("run")
		g.awaitEvents(at)
		p.signal(syscall.SIGKILL)
		if code, output := p.wait(); code != -1 {
			t.Fatalf("the run ended by itself before %d events: exit %d\n%s", at, code, output)
		}
		g.ahead()
	}
	g.drain()
	g.each(1000)
	if output := g.run(exitOK, "reconcile", "support"); !strings.Contains(output, "\n0 missing\n") {
		t.Errorf("reconcile: %s", output)
	}
	if g.run(exitOK, "run", "--drain"); len(g.onStream()) != 1000 {
		t.Error("another run publishes more")
	}
}

func TestFailure06_TwoRunsAtOnce(t *testing.T) {
	t.Parallel()
	g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATS(t).URL())
	g.thousand()
	var runs []*process
	for range 2 {
		runs = append(runs, g.start("run", "--drain", "-o", "json"))
	}
	busy := 0
	for _, p := range runs {
		code, output := p.wait()
		if code != exitOK {
			t.Fatalf("exit %d\n%s", code, output)
		}
		busy += strings.Count(output, `"msg":"provider_busy"`)
	}
	if busy != 1 {
		t.Errorf("%d of the two runs found the mailbox busy, want 1", busy)
	}
	g.each(1000)
}

// A run that is stopped, as on a node that swaps, holds its lock only as long
// as the database believes in its connection. Then another takes over, and the
// first one must notice when it wakes.
func TestFailure06_StoppedRunIsTakenOver(t *testing.T) {
	t.Parallel()
	for name, amid := range map[string]bool{"between transactions": false, "within a transaction": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATSServer(t).URL())
			g.thousand()
			old := g.startWith([]string{"DATABASE_URL=" + g.databaseURL + "&application_name=stopped"}, "run", "--drain", "-o", "json")
			g.awaitEvents(120)
			if amid {
				g.stopWithin(old)
			} else {
				g.stopBetween(old)
			}
			if output := g.run(exitTempfail, "run", "--provider", "support"); !strings.Contains(output, "provider support (") || !strings.Contains(output, ") is busy: another run") {
				t.Errorf("while the stopped run has its connection: %s", output)
			}
			// Only the lock's connection is cut: those for statements live on,
			// as after a partition that heals.
			_, err := g.pool.Exec(`SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
				WHERE l.locktype = 'advisory' AND a.application_name = 'stopped' AND a.datname = current_database()`)
			g.must(err)
			g.deliver("support", "INBOX", 7, "")
			for deadline := time.Now().Add(patience); strings.Contains(g.run(exitOK, "run", "--drain"), "provider_busy"); {
				if time.Now().After(deadline) {
					t.Fatal("the lock of the stopped run is never free")
				}
			}
			before := g.cursor()
			old.signal(syscall.SIGCONT)
			code, output := old.wait()
			// Waking up, it meets the fence, or finds its lock gone before.
			noticed := strings.Contains(output, `"errorCode":"fenced"`) || strings.Contains(output, `"errorCode":"lock_lost"`)
			if (code != exitTempfail || !noticed) && !amid {
				t.Errorf("the stopped run: exit %d, want %d and errorCode fenced or lock_lost:\n%s", code, exitTempfail, output)
			}
			if code == exitOK || code == exitBug {
				t.Errorf("the stopped run: exit %d, and it was taken over:\n%s", code, output)
			}
			if diff := cmp.Diff(before, g.cursor()); diff != "" {
				t.Errorf("the stopped run moved the cursor:\n%s", diff)
			}
			g.drain()
			g.each(1007)
		})
	}
}

// stopWithin stops the run where it has a transaction open that holds the
// fence: it is made to wait there for a table.
func (g *ground) stopWithin(p *process) {
	g.t.Helper()
	tx, err := g.pool.BeginTx(g.t.Context(), nil)
	g.must(err)
	defer tx.Rollback()
	_, err = tx.ExecContext(g.t.Context(), `LOCK TABLE imap_messages IN SHARE ROW EXCLUSIVE MODE`)
	g.must(err)
	g.soon("it waits for the table", func() bool { return g.fences("a.wait_event_type = 'Lock'") == 1 })
	p.signal(syscall.SIGSTOP)
	g.must(tx.Commit())
	g.soon("its transaction is idle", func() bool { return g.fences("a.state = 'idle in transaction'") == 1 })
}

// fences counts the transactions of the run that hold the fence.
func (g *ground) fences(where string) (n int) {
	g.t.Helper()
	g.must(g.pool.QueryRow(`SELECT count(*) FROM pg_stat_activity a
		JOIN pg_locks l ON l.pid = a.pid AND l.relation = 'imap_sync_state'::regclass AND l.mode = 'RowShareLock'
		WHERE a.application_name = 'stopped' AND a.datname = current_database() AND ` + where).Scan(&n))
	return n
}

// stopBetween stops the run where it has no transaction open.
func (g *ground) stopBetween(p *process) {
	g.t.Helper()
	g.soon("it is stopped between two transactions", func() bool {
		p.signal(syscall.SIGSTOP)
		time.Sleep(20 * time.Millisecond) // the database ends what it does
		var open int
		g.must(g.pool.QueryRow(`SELECT count(*) FROM pg_stat_activity WHERE application_name = 'stopped' AND datname = current_database() AND state <> 'idle'`).Scan(&open))
		if open > 0 {
			p.signal(syscall.SIGCONT)
		}
		return open == 0
	})
}

// Postgres dies by kill -9 at several moments of a run.
func TestFailure02_PostgresKilledInMidRun(t *testing.T) {
	t.Parallel()
	pg, url := devenv.TestPostgresServer(t, migrateAll)
	g := newGround(t, url, devenv.TestNATS(t).URL())
	g.thousand()
	for _, at := range []uint64{1, 150, 350, 550} { // the run must not end first, however busy the machine is
		p := g.start("run", "--drain")
		g.awaitEvents(at)
		g.must(pg.Kill())
		if code, output := p.wait(); code != exitUnavailable || strings.Contains(output, "goroutine ") {
			t.Errorf("Postgres killed: exit %d, want %d\n%s", code, exitUnavailable, output)
		}
		g.must(pg.Start(t.Context()))
		g.pool.SetMaxIdleConns(0) // its connections are gone
		g.ahead()
	}
	g.drain()
	g.each(1000)
}

// Behind a pooler the statements go through it and the locks do not.
func TestFailure06_BehindPgBouncer(t *testing.T) {
	t.Parallel()
	direct := devenv.TestPostgres(t, migrateAll)
	g := newGround(t, direct, devenv.TestNATS(t).URL())
	g.thousand()
	pooled := "DATABASE_URL=" + devenv.TestPgBouncer(t, direct)
	p := g.startWith([]string{pooled}, "run")
	if code, output := p.wait(); code != exitConfig || !strings.Contains(output, "LOCK_DATABASE_URL") {
		t.Errorf("without a direct connection: exit %d, want %d naming LOCK_DATABASE_URL:\n%s", code, exitConfig, output)
	}
	env := []string{pooled, "LOCK_DATABASE_URL=" + direct}
	killed := g.startWith(env, "run", "--drain")
	g.awaitEvents(200)
	killed.signal(syscall.SIGKILL)
	killed.wait()
	a, b := g.startWith(env, "run", "--drain", "-o", "json"), g.startWith(env, "run", "--drain", "-o", "json")
	for _, p := range []*process{a, b} {
		if code, output := p.wait(); code != exitOK {
			t.Errorf("exit %d\n%s", code, output)
		}
	}
	g.drain() // both may have found the killed one's lock
	g.each(1000)
}

// poison marks the mail that kills whoever handles it.
const poison = "X-Poison: kills"

// A message whose handling kills the process, as one that exhausts the memory
// does, costs itself its attempts and nothing else.
func TestFailure01_KilledInMidMessage(t *testing.T) {
	t.Parallel()
	g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATS(t).URL())
	var victim atomic.Pointer[os.Process]
	proxy := devenv.TestProxy(t, net.JoinHostPort(g.dovecot.Host, strconv.Itoa(g.dovecot.PlainPort)), func(answer []byte) []byte {
		if p := victim.Load(); p != nil && bytes.Contains(answer, []byte(poison)) {
			p.Kill()
			return nil
		}
		return answer
	})
	g.mailbox("support", []string{"Other"}, "--port", strconv.Itoa(proxy.Port()), "--tls", "none")
	g.deliver("support", "INBOX", 30, "")
	g.deliver("support", "INBOX", 1, poison+"\n")
	g.deliver("support", "INBOX", 40, "")
	g.deliver("support", "Other", 29, "")
	kills, passes := 0, 0
	for state := ""; state != "dead"; passes++ {
		if passes == 20 {
			t.Fatalf("after %d passes and %d kills the message is not given up", passes, kills)
		}
		p := g.start("run", "--drain")
		victim.Store(p.cmd.Process)
		if code, _ := p.wait(); code == -1 {
			kills++
		}
		victim.Store(nil)
		switch err := g.pool.QueryRow(`SELECT state FROM imap_quarantine`).Scan(&state); {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			t.Fatal(err)
		default:
			if passes > 3 {
				g.each(99) // from its first attempt on, all others go out
			}
			_, err := g.pool.Exec(`UPDATE imap_quarantine SET next_attempt_at = NULL WHERE state = 'retry'`) // time passes
			g.must(err)
		}
	}
	t.Logf("given up after %d kills in %d passes", kills, passes)
	g.each(99)
	var list []struct {
		UID       int
		Attempts  int
		ErrorCode string
	}
	g.must(json.Unmarshal([]byte(g.stdout("quarantine", "list", "-o", "json")), &list))
	if len(list) != 1 || list[0].UID != 31 || list[0].Attempts != 5 || list[0].ErrorCode != "killed" {
		t.Errorf("quarantine: %+v, want uid 31 with 5 attempts, killed", list)
	}
	g.deliver("support", "INBOX", 3, "")
	g.run(exitOK, "run", "--drain")
	g.each(102)
}

// stdout runs imapsync and returns what it wrote to standard output alone.
func (g *ground) stdout(args ...string) string {
	g.t.Helper()
	cmd := exec.Command("imapsync", args...)
	cmd.Env = g.env
	output, err := cmd.Output()
	g.must(err)
	return string(output)
}

// A server that falls silent ends the pass within its deadlines, the lock is
// free then, and the other mailboxes have been served meanwhile.
func TestFailure04_SilentServer(t *testing.T) {
	t.Parallel()
	for name, words := range map[string]string{
		"at the greeting":         "* OK",
		"after the login":         " Logged in",
		"in the middle of a mail": "Body of mail 00",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATSServer(t).URL())
			var silent, mended atomic.Bool
			proxy := devenv.TestProxy(t, net.JoinHostPort(g.dovecot.Host, strconv.Itoa(g.dovecot.PlainPort)), func(answer []byte) []byte {
				if at := bytes.Index(answer, []byte(words)); at >= 0 && !mended.Load() {
					silent.Store(true)
					return answer[:at]
				}
				if silent.Load() && !mended.Load() {
					return nil
				}
				return answer
			})
			g.mailbox("silent", nil, "--port", strconv.Itoa(proxy.Port()), "--tls", "none")
			g.mailbox("well", nil, g.tls()...)
			g.delivered = 1000 // so that "Body of mail 00" is only in the first mailbox's
			g.deliver("well", "INBOX", 20, "")
			g.must(g.dovecot.Deliver("silent", "INBOX", fmt.Appendf(nil,
				"From: a@example.org\nMessage-ID: <s@example.org>\nSubject: silent\n\nBody of mail 00.\n")))
			started := time.Now()
			p := g.start("run", "--connect-timeout", "4s", "--command-timeout", "4s", "--literal-timeout", "4s", "-o", "json")
			code, output := p.wait()
			if took := time.Since(started); code != exitOK || took > time.Minute {
				t.Errorf("exit %d after %s, want 0 soon\n%s", code, took, output)
			}
			if !silent.Load() {
				t.Fatal("the server never fell silent")
			}
			g.each(20)
			mended.Store(true)
			proxy.Cut()
			g.run(exitOK, "run", "--provider", "silent", "--provider", "well")
			g.each(21)
		})
	}
}

// A broker that goes away in the middle of a run ends it long before the client
// gives the connection up, and the cursor stays behind what was confirmed.
func TestFailure04_BrokerGoneInMidRun(t *testing.T) {
	t.Parallel()
	ns := devenv.TestNATSServer(t)
	g := newGround(t, devenv.TestPostgres(t, migrateAll), ns.URL())
	g.thousand()
	p := g.start("run", "--publish-timeout", "5s")
	g.awaitEvents(150)
	g.must(ns.Stop())
	stopped := time.Now()
	code, output := p.wait()
	if took := time.Since(stopped); code != exitUnavailable || took > time.Minute {
		t.Errorf("exit %d after %s, want %d within seconds\n%s", code, took, exitUnavailable, output)
	}
	if !strings.Contains(output, "check --nats-url (NATS_URL), now "+ns.URL()) || strings.Contains(output, "goroutine ") {
		t.Errorf("the error does not say what to look at:\n%s", output)
	}
	g.must(ns.Start(t.Context()))
	g.ahead()
	g.drain()
	g.each(1000)
}

// SIGTERM ends a run within ten seconds even when the server is silent. It has ended
// well, and the mailbox is not charged with it.
func TestFailure04_TermWhileTheServerIsSilent(t *testing.T) {
	t.Parallel()
	g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATS(t).URL())
	silent := make(chan struct{}, 100)
	proxy := devenv.TestProxy(t, net.JoinHostPort(g.dovecot.Host, strconv.Itoa(g.dovecot.PlainPort)), func(answer []byte) []byte {
		if bytes.Contains(answer, []byte("FETCH")) {
			silent <- struct{}{}
			return nil
		}
		return answer
	})
	g.mailbox("support", nil, "--port", strconv.Itoa(proxy.Port()), "--tls", "none")
	g.deliver("support", "INBOX", 5, "")
	p := g.start("run")
	select {
	case <-silent:
	case <-time.After(patience):
		t.Fatal("the run fetches nothing")
	}
	started := time.Now()
	p.signal(syscall.SIGTERM)
	code, output := p.wait()
	if took := time.Since(started); took > 20*time.Second || code != exitOK {
		t.Errorf("exit %d after %s, want 0 after 10 s at most, long before the command times out\n%s", code, took, output)
	}
	g.untouched(1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var locks int
	g.must(g.pool.QueryRowContext(ctx, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&locks))
	if locks != 0 {
		t.Errorf("%d locks stay behind", locks)
	}
}
