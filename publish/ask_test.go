package publish

import (
	"context"
	"errors"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"imapsync/event"
	"imapsync/internal/devenv"
)

// A broker that dies with a question in hand never answers it, and the deadline
// of a pass is a quarter of an hour away.
func TestFailure04_BrokerNeverAnswers(t *testing.T) {
	t.Parallel()
	u, err := url.Parse(devenv.TestNATSServer(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	var deaf atomic.Bool
	proxy := devenv.TestProxy(t, u.Host, func(answer []byte) []byte {
		if deaf.Load() {
			return nil
		}
		return answer
	})
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 15*time.Minute)
	t.Cleanup(cancel)
	nc, err := Connect(ctx, ConnectOptions{URL: "nats://" + proxy.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	b, err := OpenBlobs(ctx, nc, BlobOptions{Create: true})
	if err != nil {
		t.Fatal(err)
	}
	deaf.Store(true)
	for name, question := range map[string]func() error{
		"open blobs":    func() error { _, err := OpenBlobs(ctx, nc, BlobOptions{Create: true}); return err },
		"stat":          func() error { _, err := b.Stat(ctx, "a/b/c"); return err },
		"new publisher": func() error { _, err := NewPublisher(ctx, nc, PublisherOptions{}); return err },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked, answer := time.Now(), make(chan error, 1)
			go func() { answer <- question() }()
			select {
			case err := <-answer:
				if !errors.Is(err, event.ErrUnreachable) {
					t.Errorf("got %v, want ErrUnreachable", err)
				}
			case <-time.After(askTimeout + time.Minute):
				t.Fatalf("still waiting after %s", time.Since(asked))
			}
		})
	}
}
