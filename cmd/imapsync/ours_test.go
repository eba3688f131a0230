package main

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/internal/devenv"
	"imapsync/internal/observe"
	"imapsync/secret"
	mailsync "imapsync/sync"
)

// heartbeats is a dead-man's switch that remembers what it was told.
type heartbeats struct {
	mu   sync.Mutex
	told []string
}

func newHeartbeats(t *testing.T) (h *heartbeats, url string) {
	t.Helper()
	h = &heartbeats{}
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.told = append(h.told, strings.TrimPrefix(r.URL.Path, "/ping"))
	}))
	t.Cleanup(srv.Close)
	return h, srv.URL + "/ping"
}

// last is "" for all is well, "/fail" for the opposite.
func (h *heartbeats) last(t *testing.T, times int) string {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.told) != times {
		t.Fatalf("told %q, want %d times", h.told, times)
	}
	return h.told[times-1]
}

// One wrong key file put 303 mailboxes into error and back-off for half an hour, after
// which a run had nothing to do and told the heartbeat that all is well.
func TestWrongKeyFileTouchesNobody(t *testing.T) {
	t.Parallel()
	g := newWatchGround(t)
	h, beat := newHeartbeats(t)
	for i := range 3 {
		g.mailbox(fmt.Sprintf("u%d", i), nil, g.tls()...)
	}
	g.deliver("u1", "INBOX", 1, "")
	key, err := secret.GenerateKey()
	g.must(err)
	other := filepath.Join(t.TempDir(), "other")
	g.must(os.WriteFile(other, []byte(key.Reveal()+"\n"), 0o600))
	for i := range 2 {
		g.run(exitConfig, "run", "--heartbeat-url", beat, "--secret-key-file", other)
		if told := h.last(t, i+1); told != "/fail" {
			t.Errorf("run %d: the heartbeat was told %q", i, told)
		}
	}
	g.untouched(3)
	g.run(exitOK, "run", "--heartbeat-url", beat)
	if told := h.last(t, 3); told != "" || g.count("published") != 1 {
		t.Errorf("with the right key: the heartbeat was told %q, %d published", told, g.count("published"))
	}
}

// A run that has nothing to do since all mailboxes wait after a failure has not gone well.
func TestHeartbeatWhileAllFail(t *testing.T) {
	t.Parallel()
	g := newWatchGround(t)
	h, beat := newHeartbeats(t)
	g.mailbox("a", nil, g.tls()...)
	g.mailbox("b", nil, g.tls()...)
	run := func(code int, want string, times int, args ...string) {
		t.Helper()
		output := g.run(code, append([]string{"run", "--heartbeat-url", beat, "--log-format", "json"}, args...)...)
		if told := h.last(t, times); told != want {
			t.Errorf("run %q: the heartbeat was told %q, want %q\n%s", args, told, want, output)
		}
	}
	g.must(g.dovecot.Stop())
	run(exitTempfail, "/fail", 1)
	run(exitOK, "/fail", 2) // none is due
	g.must(g.dovecot.Start(t.Context()))
	run(exitOK, "", 3, "--provider", "a")
	run(exitOK, "", 4)                                 // one of two fails, and is not due
	run(exitOK, "/fail", 5, "--shard", g.shardOf("b")) // in this part all there is fails
	run(exitOK, "", 6, "--all")
	g.untouched(2)
	_, err := g.pool.ExecContext(t.Context(), `UPDATE email_providers SET inbound_paused_at = now(), inbound_pause_reason = 'auth_failure'`)
	g.must(err)
	run(exitOK, "/fail", 7)
	_, err = g.pool.ExecContext(t.Context(), `UPDATE email_providers SET inbound_pause_reason = 'manual'`)
	g.must(err)
	run(exitOK, "", 8)
}

// shardOf is a part of the mailboxes that has one alone.
func (g *ground) shardOf(name string) string {
	g.t.Helper()
	var hash, other int64
	g.must(g.pool.QueryRowContext(g.t.Context(), `
		SELECT max(h) FILTER (WHERE name = $1), max(h) FILTER (WHERE name <> $1)
		FROM (SELECT provider_name AS name, ('x' || substr(md5(id::text), 1, 8))::bit(32)::bigint AS h FROM email_providers) p`, name).Scan(&hash, &other))
	n := int64(2)
	for hash%n == other%n {
		n++
	}
	return fmt.Sprintf("%d/%d", hash%n, n)
}

// NATS dead for 71 s: /readyz was green, mailboxes were charged, and each pass was made
// in vain.
func TestWatchWaitsForNATS(t *testing.T) {
	t.Parallel()
	nats := devenv.TestNATS(t)
	g := newGround(t, devenv.TestPostgres(t, migrateAll), nats.URL())
	const n = 3
	for i := range n {
		g.mailbox(fmt.Sprintf("u%d", i), nil, g.tls()...)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	g.must(err)
	address := free.Addr().String()
	g.must(free.Close())
	p := g.start("run", "--watch", "--watch-interval", "1s", "--poll-interval", "1s", "--listen-health", address, "--log-format", "json")
	ready := func() int {
		resp, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return 0
		}
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode
	}
	deliver := func() {
		for i := range n {
			g.deliver(fmt.Sprintf("u%d", i), "INBOX", 1, "")
		}
	}
	deliver()
	g.soon("the first mails", func() bool { return g.count("published") == n })
	g.soon("ready", func() bool { return ready() == http.StatusOK })
	g.must(nats.Stop())
	g.soon("not ready", func() bool { return ready() == http.StatusServiceUnavailable })
	deliver()
	for range 20 { // nothing announces that a process does nothing
		time.Sleep(200 * time.Millisecond)
		if code := ready(); code != http.StatusServiceUnavailable {
			t.Fatalf("/readyz says %d while NATS is away", code)
		}
	}
	g.untouched(n)
	g.must(nats.Start(t.Context()))
	g.soon("the mails that NATS was away for", func() bool { return g.count("published") == 2*n })
	g.soon("ready again", func() bool { return ready() == http.StatusOK })
	g.untouched(n)
	p.signal(syscall.SIGTERM)
	code, output := p.wait()
	if waits := strings.Count(output, `"msg":"watch_waits"`); code != exitOK || waits != 1 || strings.Count(output, `"msg":"watch_goes_on"`) != 1 {
		t.Errorf("exit %d, said %d times that it waits\n%s", code, waits, output)
	}
	if failed := strings.Count(output, `"outcome":"failed"`) + strings.Count(output, `"outcome":"unfinished"`); failed > n {
		t.Errorf("%d passes were made in vain", failed)
	}
}

// What a watching process tells the heartbeat each minute.
func TestWatchHeartbeat(t *testing.T) {
	t.Parallel()
	nats := devenv.TestNATS(t)
	url := devenv.TestPostgres(t, migrateAll)
	a := &app{databaseURL: url, natsURL: nats.URL(), log: slog.New(slog.DiscardHandler), stays: true}
	err := a.withStore(t.Context(), func(store *db.Store) error {
		j, err := a.service(store).NewJob(t.Context(), mailsync.Options{})
		if err != nil {
			return err
		}
		defer j.Close()
		f := &runFlags{}
		if err := j.OpenPublisher(t.Context(), f.publishFlags.options); err != nil {
			return err
		}
		state := mailsync.WatchState{RoundAt: time.Now()}
		o := &observe.Observer{Store: store, Log: a.log, State: func() mailsync.WatchState { return state }, Ready: j.Runner.Ready}
		if err := a.watchSick(t.Context(), o); err != nil {
			t.Errorf("all is well: %v", err)
		}
		state.Waits = mailsync.ErrStopped
		if a.watchSick(t.Context(), o) == nil {
			t.Error("no passes are made, and that is well")
		}
		state.Waits, state.RoundAt = nil, time.Now().Add(-2*reportEvery)
		if a.watchSick(t.Context(), o) == nil {
			t.Error("the database was not asked for minutes, and that is well")
		}
		state.RoundAt = time.Now()
		if err := nats.Stop(); err != nil {
			return err
		}
		if a.watchSick(t.Context(), o) == nil {
			t.Error("NATS is away, and that is well")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A server that does not answer DONE keeps no watch from ending well.
func TestWatchEndsThoughDoneIsNotAnswered(t *testing.T) {
	t.Parallel()
	g := newWatchGround(t)
	idling := make(chan struct{}, 100)
	proxy := devenv.TestProxy(t, net.JoinHostPort(g.dovecot.Host, strconv.Itoa(g.dovecot.PlainPort)), func(answer []byte) []byte {
		switch {
		case bytes.HasPrefix(answer, []byte("+ idling")):
			idling <- struct{}{}
		case regexp.MustCompile(`OK Idle completed`).Match(answer):
			return nil
		}
		return answer
	})
	g.mailbox("u", nil, "--port", strconv.Itoa(proxy.Port()), "--tls", "none")
	p := g.start("run", "--watch", "--watch-interval", "1h")
	select {
	case <-idling:
	case <-time.After(patience):
		t.Fatal("no IDLE")
	}
	began := time.Now()
	p.signal(syscall.SIGTERM)
	if code, output := p.wait(); code != exitOK || time.Since(began) > 20*time.Second {
		t.Errorf("exit %d after %s\n%s", code, time.Since(began), output)
	}
	g.untouched(1)
}

// A command that is told to stop before it is done says where, and exits 75; so does a
// run that its deadline ends, without a word on the mailbox.
func TestStoppedIsNotDone(t *testing.T) {
	t.Parallel()
	g := newWatchGround(t)
	g.mailbox("slow", nil, g.tls()...)
	g.deliver("slow", "INBOX", 40, "")
	p := g.start("backfill", "slow", "--since", "30d", "--rate", "5")
	g.soon("some are published", func() bool { return g.count("published") >= 5 })
	p.signal(syscall.SIGINT)
	code, output := p.wait()
	stopped := regexp.MustCompile(`folder "INBOX": told to stop after \d+ of 40 messages: run it again to go on`)
	if code != exitTempfail || !stopped.MatchString(output) || !strings.Contains(output, " published") {
		t.Errorf("backfill: exit %d\n%s", code, output)
	}
	g.untouched(1)
	if output := g.run(exitOK, "backfill", "slow", "--since", "30d"); g.count("published") != 40 {
		t.Errorf("begun again, %d are published\n%s", g.count("published"), output)
	}

	// A mail server that falls silent at one answer.
	for _, tt := range []struct {
		silentAt string // in the answer
		args     []string
		code     int
		want     string
	}{
		{"EXISTS", []string{"reconcile", "mute"}, exitTempfail, `told to stop after 0 of 1 folders`},
		{"EXISTS", []string{"doctor", "mute"}, exitTempfail, `told to stop before all was looked at`},
		{"LIST", []string{"provider", "test"}, exitTempfail, `told to stop after \d of 2 mailboxes`},
		{"LIST", []string{"provider", "folders", "mute"}, exitTempfail, `told to stop before the folders were listed: run it again to go on`},
		{"EXISTS", []string{"backfill", "mute", "--since", "30d"}, exitTempfail, `folder "INBOX": examine: told to stop: run it again to go on`},
		{"FETCH", []string{"backfill", "mute", "--since", "30d"}, exitTempfail, `folder "INBOX": .*told to stop.*: run it again to go on`},
		{"FETCH", []string{"run", "--provider", "mute"}, exitOK, ``},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			g.t = t
			silent := make(chan struct{}, 100)
			proxy := devenv.TestProxy(t, net.JoinHostPort(g.dovecot.Host, strconv.Itoa(g.dovecot.PlainPort)), func(answer []byte) []byte {
				if bytes.Contains(answer, []byte("* "+tt.silentAt)) || bytes.Contains(answer, []byte(" "+tt.silentAt+" ")) || bytes.Contains(answer, []byte(" "+tt.silentAt+"\r\n")) {
					silent <- struct{}{}
					return nil
				}
				return answer
			})
			user := "m" + uuid.NewString()[:8]
			_, err := g.pool.ExecContext(t.Context(), `DELETE FROM email_providers WHERE provider_name = 'mute'`)
			g.must(err)
			g.must(g.dovecot.AddUser(user, "geheim"))
			g.deliver(user, "INBOX", 2, "")
			add := g.start("provider", "add", "--no-test", "--name", "mute", "--mailbox", user+"@example.com", "--username", user, "--host", g.dovecot.Host,
				"--port", strconv.Itoa(proxy.Port()), "--tls", "none", "--password-stdin", "--start", "all", "--folder", "INBOX")
			if code, output := add.wait(); code != exitOK {
				t.Fatalf("provider add: exit %d\n%s", code, output)
			}
			p := g.start(tt.args...)
			select {
			case <-silent:
			case <-time.After(patience):
				t.Fatalf("the server never says %s", tt.silentAt)
			}
			p.signal(syscall.SIGTERM)
			code, output := p.wait()
			if code != tt.code || !regexp.MustCompile(tt.want).MatchString(output) || strings.Contains(output, "\nwrong ") {
				t.Errorf("exit %d, want %d and %q\n%s", code, tt.code, tt.want, output)
			}
			g.untouched(2)
		})
	}
}
