package publish

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
	"imapsync/internal/devenv"
)

func TestCheckHealth(t *testing.T) {
	problems := func(h Health) string {
		var list []string
		for _, p := range h.Problems {
			list = append(list, p.String())
		}
		return strings.Join(list, "\n")
	}
	t.Run("nothing there yet", func(t *testing.T) {
		h, err := CheckHealth(testContext(t), connect(t, devenv.TestNATSServer(t)))
		if err != nil || h.Stream || h.Bucket || len(h.Problems) > 0 || h.MaxPayload != 1<<20 || h.Server == "" {
			t.Errorf("%+v, %v", h, err)
		}
	})
	t.Run("ours", func(t *testing.T) {
		nc := connect(t, devenv.TestNATS(t))
		p := newPublisher(t, nc, PublisherOptions{})
		publish(t, p, numbered(1, p.Limits()))
		if _, err := OpenBlobs(testContext(t), nc, BlobOptions{Create: true}); err != nil {
			t.Fatal(err)
		}
		h, err := CheckHealth(testContext(t), nc)
		if err != nil || !h.Stream || !h.Bucket || h.Messages != 1 || h.Bytes == 0 {
			t.Errorf("%+v, %v", h, err)
		}
		for i, name := range []string{event.StreamName, "OBJ_imap-mail"} { // of one server; nothing else is wrong
			if len(h.Problems) != 2 || h.Problems[i].Code != "stream_replicas" || h.Problems[i].Stream != name || h.Problems[i].Fatal {
				t.Errorf("%s, want that %s has one replica", problems(h), name)
			}
		}
	})
	t.Run("full", func(t *testing.T) {
		nc := connect(t, devenv.TestNATS(t))
		makeStream(t, nc, func(c *jetstream.StreamConfig) { c.MaxBytes, c.Discard = 4000, jetstream.DiscardNew })
		p := newPublisher(t, nc, PublisherOptions{})
		for i := range 10 {
			if _, err := tryPublish(testContext(t), p, numbered(i, p.Limits())); err != nil {
				break
			}
		}
		h, err := CheckHealth(testContext(t), nc)
		if err != nil || !strings.Contains(problems(h), "full: give it more room") || h.Problems[len(h.Problems)-1].Code != "stream_limit" || h.Problems[len(h.Problems)-1].Stream != event.StreamName {
			t.Errorf("%+v, %v, %s", h, err, problems(h))
		}
	})
	t.Run("full of messages", func(t *testing.T) {
		nc := connect(t, devenv.TestNATS(t))
		makeStream(t, nc, func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 1, jetstream.DiscardNew })
		p := newPublisher(t, nc, PublisherOptions{})
		publish(t, p, numbered(1, p.Limits()))
		h, err := CheckHealth(testContext(t), nc)
		if last := h.Problems[len(h.Problems)-1]; err != nil || !last.Fatal || last.Want != "msgs" || !strings.Contains(last.What, "(1 of 1 messages) is full") {
			t.Errorf("%+v, %v, %s", h, err, problems(h))
		}
	})
	t.Run("work queue, small messages", func(t *testing.T) {
		nc := connect(t, devenv.TestNATSServer(t, devenv.NATSMaxPayload(100<<10)))
		makeStream(t, nc, func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy })
		h, err := CheckHealth(testContext(t), nc)
		if got := problems(h); err != nil || !strings.Contains(got, "max_payload: 1MB") || len(h.Problems) < 2 {
			t.Errorf("%v, %s", err, got)
		}
	})
	t.Run("few rights", func(t *testing.T) {
		t.Parallel() // it waits for an answer that does not come
		n := devenv.TestNATS(t, func(o *server.Options) {
			o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
				Publish: &server.SubjectPermission{Deny: []string{"$JS.API.INFO"}},
			}}}
		})
		nc, err := Connect(testContext(t), ConnectOptions{URL: strings.Replace(n.URL(), "nats://", "nats://u:p@", 1)})
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		newPublisher(t, nc, PublisherOptions{})
		h, err := CheckHealth(testContext(t), nc)
		if err != nil || !h.Stream || h.StoreLimit != 0 || !strings.Contains(problems(h), "publish to $JS.API.INFO") {
			t.Errorf("%+v, %v, %s", h, err, problems(h))
		}
	})
	t.Run("no jetstream", func(t *testing.T) {
		nc := connect(t, devenv.TestNATSServer(t, func(o *server.Options) { o.JetStream = false }))
		if _, err := CheckHealth(testContext(t), nc); !errors.Is(err, event.ErrNoJetStream) {
			t.Errorf("%v, want ErrNoJetStream", err)
		}
	})
}
