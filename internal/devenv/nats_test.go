package devenv_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/internal/devenv"
)

func TestNATSKeepsStreamsOverRestart(t *testing.T) {
	server := devenv.TestNATSServer(t, devenv.NATSMaxPayload(2<<20))
	connect := func() jetstream.JetStream {
		t.Helper()
		conn, err := nats.Connect(server.URL())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(conn.Close)
		if got := conn.MaxPayload(); got != 2<<20 {
			t.Errorf("max_payload = %d, want %d", got, 2<<20)
		}
		js, err := jetstream.New(conn)
		if err != nil {
			t.Fatal(err)
		}
		return js
	}
	ctx := t.Context()
	js := connect()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "s", make([]byte, 1500<<10)); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := nats.Connect(server.URL()); err == nil {
		t.Fatal("the server answers after it was stopped")
	}
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	stream, err := connect().Stream(ctx, "S")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().State.Msgs; got != 1 {
		t.Errorf("%d messages after the restart, want 1", got)
	}
}
