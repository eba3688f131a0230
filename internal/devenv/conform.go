package devenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/internal/contract"
)

// schema is the contract of the event as it stands in the tree. Package event
// has it too, and cannot be asked: its own tests are run against these servers.
var schema = sync.OnceValues(func() (*contract.Contract, error) {
	_, here, _, _ := runtime.Caller(0)
	data, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../event/schema.json"))
	if err != nil {
		return nil, fmt.Errorf("the schema of the event: %w", err)
	}
	return contract.New(data)
})

// conform holds every event that a test has left on a server against the
// schema. A server that the test stopped is started once more for it.
func conform(t testing.TB, n *NATS) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), startTimeout)
	defer cancel()
	if n.scratch != nil {
		if !n.options.JetStream {
			return // nowhere to keep an event
		}
		if err := n.Start(ctx); err != nil {
			t.Errorf("start the server to look at its events: %v", err)
			return
		}
	}
	compiled, err := schema()
	if err == nil {
		_, err = n.Conforming(ctx, compiled)
	}
	if err != nil {
		t.Errorf("the events of this test: %v", err)
	}
}

// Conforming counts the events of a server. An error names the first of them
// that is not as the schema says. What lies on the stream without the header
// of an event is a test's own.
func (n *NATS) Conforming(ctx context.Context, to *contract.Contract) (int, error) {
	who := nats.UserInfo(n.options.Username, n.options.Password)
	for _, u := range n.options.Users {
		who = nats.UserInfo(u.Username, u.Password)
	}
	conn, err := nats.Connect(n.url, who, nats.Timeout(10*time.Second))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		return 0, err
	}
	stream, err := js.Stream(ctx, "INBOUND_EMAIL")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, nil
	}
	if err != nil || stream.CachedInfo().State.Msgs == 0 {
		return 0, err
	}
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{})
	if err != nil {
		return 0, err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return 0, err
	}
	defer messages.Stop()
	events := 0
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return events, err
		}
		meta, err := m.Metadata()
		if err != nil {
			return events, err
		}
		if m.Headers().Get("Imapsync-Event") != "" {
			if err := to.Event(m.Data()); err != nil {
				return events, fmt.Errorf("%s (%d): %w\n%.2000s", m.Subject(), meta.Sequence.Stream, err, m.Data())
			}
			events++
		}
		if meta.NumPending == 0 {
			return events, nil
		}
	}
}
