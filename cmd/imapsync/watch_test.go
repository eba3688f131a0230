package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"imapsync/internal/devenv"
)

// count counts the rows of the ledger with an outcome.
func (g *ground) count(outcome string) (n int) {
	g.t.Helper()
	g.must(g.pool.QueryRowContext(g.t.Context(), `SELECT count(*) FROM imap_messages WHERE outcome = $1`, outcome).Scan(&n))
	return n
}

// patience is how long tests wait for what comes at once on a machine that is
// alone: only a failure takes that long.
const patience = 2 * time.Minute

// soon waits for a condition.
func (g *ground) soon(what string, ok func() bool) time.Duration {
	g.t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > patience {
			g.t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began)
}

func newWatchGround(t *testing.T) *ground {
	t.Helper()
	return newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATS(t).URL())
}

func TestFailure06_KilledReplicaIsTakenOver(t *testing.T) {
	t.Parallel()
	g := newWatchGround(t)
	const n = 4
	for i := range n {
		g.mailbox(fmt.Sprintf("u%d", i), nil, g.tls()...)
	}
	watch := []string{"run", "--watch", "--watch-interval", "1h", "--log-format", "json"}
	first := g.start(watch...)
	for i := range n {
		g.deliver(fmt.Sprintf("u%d", i), "INBOX", 1, "")
	}
	g.soon("the first serves all", func() bool { return g.count("published") == n })
	second := g.start(watch...)
	time.Sleep(time.Second)
	first.signal(syscall.SIGKILL)
	for i := range n {
		g.deliver(fmt.Sprintf("u%d", i), "INBOX", 1, "")
	}
	took := g.soon("the second takes over", func() bool { return g.count("published") == 2*n })
	t.Logf("taken over after %s", took)
	if doubled := g.count("duplicate"); doubled != 0 {
		t.Errorf("%d duplicates", doubled)
	}
	began := time.Now()
	second.signal(syscall.SIGTERM)
	if code, output := second.wait(); code != exitOK || time.Since(began) > 20*time.Second {
		t.Errorf("SIGTERM: exit %d after %s\n%s", code, time.Since(began), output)
	}
}

func TestFailure06_TwoCronJobsAtOnce(t *testing.T) {
	t.Parallel()
	twoCronJobsAtOnce(t, 10)
}

// twoCronJobsAtOnce starts two runs at the same moment, so many times.
func twoCronJobsAtOnce(t *testing.T, times int) {
	t.Helper()
	g := newWatchGround(t)
	g.mailbox("a", []string{"Other"}, g.tls()...)
	g.mailbox("b", nil, g.tls()...)
	for range times {
		g.deliver("a", "INBOX", 3, "")
		g.deliver("a", "Other", 2, "")
		g.deliver("b", "INBOX", 3, "")
		var wg sync.WaitGroup
		for _, p := range []*process{g.start("run"), g.start("run")} {
			wg.Go(func() {
				if code, output := p.wait(); code != exitOK {
					t.Errorf("exit %d\n%s", code, output)
				}
			})
		}
		wg.Wait()
	}
	g.run(exitOK, "run")
	if published, duplicates := g.count("published"), g.count("duplicate"); published != 8*times || duplicates != 0 {
		t.Errorf("%d published and %d duplicates, want %d and none", published, duplicates, 8*times)
	}
}

func TestWatchSurvivesPostgresAndNATS(t *testing.T) {
	t.Parallel()
	pg := devenv.TestPostgres(t, migrateAll)
	nats := devenv.TestNATS(t)
	g := newGround(t, pg, nats.URL())
	g.mailbox("u", nil, g.tls()...)
	p := g.start("run", "--watch", "--watch-interval", "1s", "--poll-interval", "1s")
	g.deliver("u", "INBOX", 1, "")
	g.soon("the first mail", func() bool { return g.count("published") == 1 })
	g.must(nats.Stop())
	g.deliver("u", "INBOX", 1, "")
	time.Sleep(3 * time.Second) // it finds NATS away
	g.must(nats.Start(t.Context()))
	g.soon("the mail that NATS was away for", func() bool { return g.count("published") == 2 })

	// Postgres ends every connection of ours, that of the locks among them.
	u, err := url.Parse(pg)
	g.must(err)
	_, err = g.pool.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = $1 AND application_name = 'imapsync' AND pid <> pg_backend_pid()`, strings.TrimPrefix(u.Path, "/"))
	g.must(err)
	g.deliver("u", "INBOX", 1, "")
	g.soon("the mail after Postgres came back", func() bool { return g.count("published") == 3 })
	p.signal(syscall.SIGTERM)
	if code, output := p.wait(); code != exitOK {
		t.Errorf("exit %d\n%s", code, output)
	}
}

// TestListenHealth asks a process that watches what an orchestrator asks it.
func TestListenHealth(t *testing.T) {
	t.Parallel()
	g := newWatchGround(t)
	g.mailbox("u", nil, g.tls()...)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	g.must(err)
	address := free.Addr().String()
	g.must(free.Close())
	p := g.start("run", "--watch", "--watch-interval", "1s", "--listen-health", address)
	get := func(path string) (status int, body string) {
		res, err := http.Get("http://" + address + path)
		if err != nil {
			return 0, ""
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		g.must(err)
		return res.StatusCode, string(text)
	}
	is := func(path string, want int) func() bool {
		return func() bool {
			status, _ := get(path)
			return status == want
		}
	}
	g.soon("ready", is("/readyz", http.StatusOK))
	g.deliver("u", "INBOX", 3, "")
	g.soon("the mail is in the metrics", func() bool {
		_, metrics := get("/metrics")
		return regexp.MustCompile(`imapsync_messages_total\{[^}]*outcome="published"[^}]*\} 3\n`).MatchString(metrics)
	})
	_, err = g.pool.Exec(`INSERT INTO imapsync_schema_version (version_id, is_applied) VALUES (99999, true)`)
	g.must(err)
	g.soon("not ready under a schema that it does not know", is("/readyz", http.StatusServiceUnavailable))
	if status, body := get("/healthz"); status != http.StatusOK {
		t.Errorf("/healthz: %d %s; a restart would not help", status, body)
	}
	_, err = g.pool.Exec(`DELETE FROM imapsync_schema_version WHERE version_id = 99999`)
	g.must(err)
	g.soon("ready again", is("/readyz", http.StatusOK))
	p.signal(syscall.SIGTERM)
	if code, output := p.wait(); code != exitOK {
		t.Errorf("exit %d\n%s", code, output)
	}
}
