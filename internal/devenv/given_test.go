package devenv_test

import (
	"os"
	osexec "os/exec"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/internal/devenv"
)

// jetStream is a client of a server, for as long as the test goes.
func jetStream(t *testing.T, n *devenv.NATS) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestNATSIsEmpty(t *testing.T) {
	js := jetStream(t, devenv.TestNATS(t))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", nil, jetstream.WithExpectLastSequence(0)); err != nil {
		t.Error(err)
	}
}

// Servers given by their URLs are used in place of own ones, and left as they
// were found.
func TestGivenServers(t *testing.T) {
	pg, _ := devenv.TestPostgresServer(t, nil, devenv.PostgresSetting("log_statement=ddl"))
	conn := open(t, pg.URL())
	server := devenv.TestNATSServer(t)
	js := jetStream(t, server)
	dir := t.TempDir()
	inside := func(test string) (string, error) {
		cmd := osexec.Command(os.Args[0], "-test.v", "-test.count=2", "-test.run=^"+test+"$")
		cmd.Env = append(os.Environ(), "IMAPSYNC_TEST_POSTGRES="+pg.URL(), "IMAPSYNC_TEST_NATS="+server.URL(), "TMPDIR="+dir)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}

	before := count(t, conn, "pg_database")
	if out, err := inside("TestPostgresDatabasesAreSeparate"); err != nil {
		t.Errorf("on the given PostgreSQL: %v\n%s", err, out)
	}
	if got := count(t, conn, "pg_database"); got != before {
		t.Errorf("%d databases after the tests, %d before", got, before)
	}
	if !strings.Contains(pg.Log(), "CREATE DATABASE \"imapsync_test_") {
		t.Error("the given PostgreSQL was not used")
	}

	if out, err := inside("TestNATSIsEmpty"); err != nil {
		t.Errorf("on the given NATS: %v\n%s", err, out)
	}
	if _, err := js.Stream(t.Context(), "S"); err == nil {
		t.Error("the tests left their stream on the given NATS")
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "MINE", Subjects: []string{"mine"}}); err != nil {
		t.Fatal(err)
	}
	out, err := inside("TestNATSIsEmpty")
	if err == nil || !strings.Contains(out, "must be empty, and has the streams MINE") {
		t.Errorf("a given NATS that is in use: %v\n%s", err, out)
	}
	if _, err := js.Stream(t.Context(), "MINE"); err != nil {
		t.Errorf("a stream that was there is gone: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the tests left %v behind, %v", left, err)
	}
}
