package observe

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv"
	mailsync "imapsync/sync"
)

func TestMain(m *testing.M) {
	devenv.TestsWait()
	os.Exit(m.Run())
}

func migrate(ctx context.Context, url string) error {
	_, err := db.Migrate(ctx, db.Options{URL: url}, slog.New(slog.DiscardHandler))
	return err
}

// promtool finds Prometheus' own checker; without it the test is skipped, or
// fails where everything is to be there.
func promtool(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("IMAPSYNC_TEST_REQUIRE") == "1" {
			t.Fatalf("%v: `make deps` installs it", err)
		}
		t.Skipf("%v (IMAPSYNC_TEST_REQUIRE=1 makes this a failure)", err)
	}
	return path
}

func sampleStatus(now time.Time) []Provider {
	before := now.Add(-90 * time.Second)
	list := []Provider{
		{
			Tenant: "t1", ID: "p1", Name: "sup\"port\\\n", Mailbox: "a@example.com", Status: db.StatusConnected, Active: true,
			LastSuccessAt: &before, LastAttemptAt: &before, Published: 12345678, Duplicates: 2, Quarantined: 1,
			Folders: []Folder{
				{Name: "INBOX", Backlog: 7, LastSearchAt: &before, OldestAt: &before, Retrying: 1, Dead: 2},
				{Name: "Störung \xff", LastSearchAt: &before},
			},
		},
		{Tenant: "t1", ID: "p2", Name: "sales", Status: db.StatusError, Active: true, PausedAt: &before, ConsecutiveFailures: 3, ErrorCode: "login_refused"},
	}
	for i := range list {
		list[i].Source = &db.Provider{}
	}
	return list
}

func TestMetricsArePrometheusText(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	m := Metrics(sampleStatus(now), "v", now)
	m.watch(mailsync.WatchState{Accounts: 3, Idling: 2, RoundAt: now})
	var text bytes.Buffer
	if err := m.Write(&text); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`imapsync_messages_total{tenant="t1",provider_id="p1",provider="sup\"port\\\n",outcome="published"} 12345678` + "\n",
		`imapsync_folder_oldest_undelivered_seconds{tenant="t1",provider_id="p1",provider="sup\"port\\\n",folder="INBOX"} 90` + "\n",
		`folder="Störung ` + "\uFFFD" + `"} 0` + "\n",
		`imapsync_provider_error{tenant="t1",provider_id="p2",provider="sales",code="login_refused"} 1` + "\n",
		"# TYPE imapsync_messages_total counter\n", "imapsync_watch_idling 2\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %q in\n%s", want, text.String())
		}
	}
	cmd := exec.CommandContext(t.Context(), promtool(t), "check", "metrics")
	cmd.Stdin = &text
	if output, err := cmd.CombinedOutput(); err != nil || len(bytes.TrimSpace(output)) > 0 {
		t.Errorf("promtool check metrics: %v\n%s", err, output)
	}
}

func TestExporterTextfileAndHealth(t *testing.T) {
	store, err := db.Open(t.Context(), db.Options{URL: devenv.TestPostgres(t, migrate)})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var log bytes.Buffer
	var state mailsync.WatchState
	o := &Observer{Store: store, Log: slog.New(slog.NewJSONHandler(&log, nil)), Version: "v", began: time.Now(),
		State: func() mailsync.WatchState { return state }}
	srv := httptest.NewServer(o.handler())
	defer srv.Close()
	get := func(path string) (int, string) {
		t.Helper()
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(body)
	}
	expect := func(path string, code int, text string) {
		t.Helper()
		if got, body := get(path); got != code || !strings.Contains(body, text) {
			t.Errorf("GET %s: %d %q, want %d and %q", path, got, body, code, text)
		}
	}
	expect("/healthz", 200, "ok")
	expect("/readyz", 503, "not been looked up")
	state = mailsync.WatchState{RoundAt: time.Now(), TriedAt: time.Now()}
	expect("/readyz", 200, "ok")
	expect("/metrics", 200, "imapsync_providers 0")
	state.TriedAt = time.Now().Add(-time.Hour)
	expect("/healthz", 503, "loop has been stuck")

	path := filepath.Join(t.TempDir(), "imapsync.prom")
	o.Textfile(t.Context(), path)
	text, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(text), "imapsync_providers 0") {
		t.Errorf("text file: %v\n%s", err, text)
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("beside the text file: %v %v", left, err)
	}

	store.Close()
	expect("/metrics", 503, "the log has the reason")
	expect("/readyz", 503, "see the log")
	o.Textfile(t.Context(), path)
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(after, text) {
		t.Errorf("the text file was touched by a write that failed: %v", err)
	}
	if !strings.Contains(log.String(), "metrics_textfile_failed") {
		t.Errorf("no log line of the failure:\n%s", log.String())
	}
}
