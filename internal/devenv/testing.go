package devenv

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// startTimeout bounds the start of one server in a test.
const startTimeout = 2 * patience

// shared is what the tests of one process have in common: the server whose
// start would otherwise be paid by every test. The guard ends it with the
// process, so no TestMain is needed.
var shared struct { //nolint:gochecknoglobals // one server for each test process, which has no other place to keep it
	once     sync.Once
	postgres *Postgres
	err      error
	database atomic.Int64
	nats     sync.Mutex // held by the test that uses the given server
}

// TestPostgres returns the URL of a fresh database, dropped at cleanup, on a
// server that the tests of this process share. migrate fills it (or rather a
// template, once for each migrate function, that the database is a copy of);
// nil leaves it empty. The server is the one IMAPSYNC_TEST_POSTGRES names, when
// set; nothing but the database of a running test is ever on that one.
func TestPostgres(t testing.TB, migrate func(ctx context.Context, url string) error) (url string) {
	t.Helper()
	shared.once.Do(func() {
		if given := os.Getenv("IMAPSYNC_TEST_POSTGRES"); given != "" {
			if shared.postgres, shared.err = OpenPostgres(given); shared.err != nil {
				shared.err = fmt.Errorf("IMAPSYNC_TEST_POSTGRES: %w", shared.err)
			}
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
		defer cancel()
		shared.postgres, shared.err = StartPostgres(ctx)
	})
	need(t, shared.err)
	name, url := testDatabase(t, shared.postgres, migrate)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the postgresql log:\n%s", shared.postgres.Log())
		}
		if err := shared.postgres.DropDatabase(context.WithoutCancel(t.Context()), name); err != nil {
			t.Error(err)
		}
	})
	return url
}

// TestPostgresServer starts a server for one test, to be stopped and killed at
// will, with a migrated database as in [TestPostgres].
func TestPostgresServer(t testing.TB, migrate func(ctx context.Context, url string) error, opts ...PostgresOption) (p *Postgres, url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	p, err := StartPostgres(ctx, opts...)
	need(t, err)
	closeAfter(t, "postgresql", p)
	_, url = testDatabase(t, p, migrate)
	return p, url
}

// testDatabase makes the database of one test.
func testDatabase(t testing.TB, p *Postgres, migrate func(ctx context.Context, url string) error) (name, url string) {
	t.Helper()
	ctx := t.Context()
	own := p.scratch != nil
	var template string
	if own && migrate != nil {
		// A function has one name in a program, so that names the template.
		template = "template " + runtime.FuncForPC(reflect.ValueOf(migrate).Pointer()).Name()
		if len(template) > 63 {
			template = "template …" + template[len(template)-40:]
		}
		need(t, p.Template(ctx, template, migrate))
	}
	name = fmt.Sprintf("imapsync_test_%d_%d_%s", os.Getpid(), shared.database.Add(1), databaseName(t.Name()))
	name = name[:min(len(name), 63)]
	url, err := p.CreateDatabase(ctx, name, template)
	need(t, err)
	if !own && migrate != nil {
		need(t, migrate(ctx, url)) // a template would have to stay behind
	}
	return name, url
}

// databaseName keeps of a test's name what is plain in an identifier.
func databaseName(test string) string {
	return regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(strings.ToLower(test), "_")
}

// TestPgBouncer starts a pooler in transaction mode for one test, in front of
// the server of postgresURL, and returns that URL by way of the pooler.
func TestPgBouncer(t testing.TB, postgresURL string) (url string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	b, err := StartPgBouncer(ctx, postgresURL)
	need(t, err)
	closeAfter(t, "pgbouncer", b)
	return b.URL()
}

// TestNATS returns a server with JetStream for one test. Without options it is
// the one that IMAPSYNC_TEST_NATS names, when set: that must hold no streams,
// tests take turns at it, and each removes the streams it made. A second one in
// the same test is its own. Whatever events the test leaves on it are held
// against event/schema.json at the end.
func TestNATS(t testing.TB, opts ...NATSOption) *NATS {
	t.Helper()
	given := os.Getenv("IMAPSYNC_TEST_NATS")
	if given == "" || len(opts) > 0 || !shared.nats.TryLock() {
		return TestNATSServer(t, opts...)
	}
	t.Cleanup(shared.nats.Unlock)
	borrowNATS(t, given)
	n := OpenNATS(given)
	t.Cleanup(func() { conform(t, n) })
	return n
}

// TestNATSServer starts a server with JetStream for one test, to be stopped at
// will.
func TestNATSServer(t testing.TB, opts ...NATSOption) *NATS {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	n, err := StartNATS(ctx, opts...)
	need(t, err)
	closeAfter(t, "nats-server", n)
	t.Cleanup(func() { conform(t, n) })
	return n
}

// borrowNATS holds the given server for one test of all processes: its streams
// have fixed names. What a person keeps on it is never touched.
func borrowNATS(t testing.TB, url string) {
	t.Helper()
	unlock, err := lockFile(fmt.Sprintf("imapsync-test-nats-%d.lock", os.Getuid()))
	need(t, err)
	t.Cleanup(unlock)
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatalf("IMAPSYNC_TEST_NATS: %v", err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	need(t, err)
	streams := func(ctx context.Context) (names []string) {
		list := js.StreamNames(ctx)
		for name := range list.Name() {
			names = append(names, name)
		}
		need(t, list.Err())
		return names
	}
	if names := streams(t.Context()); len(names) > 0 {
		t.Fatalf("IMAPSYNC_TEST_NATS: the server must be empty, and has the streams %s", strings.Join(names, ", "))
	}
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, name := range streams(ctx) {
			if err := js.DeleteStream(ctx, name); err != nil {
				t.Errorf("IMAPSYNC_TEST_NATS: remove stream %s: %v", name, err)
			}
		}
	})
}

// TestDovecot starts an IMAP server for one test.
func TestDovecot(t testing.TB, opts ...DovecotOption) *Dovecot {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	d, err := StartDovecot(ctx, opts...)
	need(t, err)
	closeAfter(t, "dovecot", d)
	return d
}

// TestProgram returns the path of a program that a test runs.
func TestProgram(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := findProgram(name, pkg)
	need(t, err)
	return path
}

// testServer is what the cleanup of a test needs of any server.
type testServer interface {
	Close() error
	Log() string
}

// closeAfter ends the server with the test, and shows its log if that failed.
func closeAfter(t testing.TB, name string, s testServer) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("end of the %s log:\n%s", name, s.Log())
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
}

// TestsWait is for the TestMain of a package whose tests wait for servers most of
// the time: those that are parallel run two on a processor, unless -parallel
// says how many.
func TestsWait() {
	if f := flag.Lookup("test.parallel"); f != nil {
		_ = f.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0))) // before the command line is read
	}
}

// need ends the test on an error. A missing program skips it, unless
// IMAPSYNC_TEST_REQUIRE=1 says that everything is to be there.
func need(t testing.TB, err error) {
	t.Helper()
	if err == nil {
		return
	}
	if _, missing := errors.AsType[*MissingError](err); missing && os.Getenv("IMAPSYNC_TEST_REQUIRE") != "1" {
		t.Skipf("%v (IMAPSYNC_TEST_REQUIRE=1 makes this a failure)", err)
	}
	t.Fatal(err)
}
