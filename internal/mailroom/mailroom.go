// Package mailroom puts the demo's mails on a stream as events, without mailbox
// or database, for the tests of what consumes them: examples/.
package mailroom

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"imapsync/event"
	"imapsync/internal/devenv"
	"imapsync/parse"
	"imapsync/publish"
)

// Room is a broker of the test's own, with the stream of events on it.
type Room struct {
	URL  string
	Conn *nats.Conn

	t         testing.TB
	publisher *publish.Publisher
	mails     uint32
}

// Open starts a broker for one test.
func Open(t testing.TB) *Room {
	t.Helper()
	r := &Room{t: t, URL: devenv.TestNATS(t).URL()}
	var err error
	if r.Conn, err = publish.Connect(t.Context(), publish.ConnectOptions{URL: r.URL}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Conn.Close)
	if r.publisher, err = publish.NewPublisher(t.Context(), r.Conn, publish.PublisherOptions{}); err != nil {
		t.Fatal(err)
	}
	return r
}

// Mail returns a mail of internal/demo/mails, by its name without .eml.
func Mail(t testing.TB, name string) []byte {
	t.Helper()
	_, here, _, _ := runtime.Caller(0)
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../demo/mails", name+".eml"))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

// Post publishes mails of internal/demo/mails, in this order.
func (r *Room) Post(names ...string) []*event.Event {
	r.t.Helper()
	var events []*event.Event
	for _, name := range names {
		events = append(events, r.Put(Mail(r.t, name)))
	}
	return events
}

// Put publishes one mail, its blobs first.
func (r *Room) Put(raw []byte) *event.Event {
	r.t.Helper()
	r.mails++
	now := time.Now()
	m := parse.Parse(raw, parse.Limits{})
	ev := publish.New(m, publish.Delivery{
		Tenant: "00000000-0000-4000-8000-000000000000", ProviderID: "648edc4d-8eb8-47b8-b465-b57bd497620d",
		Folder: "INBOX", UID: r.mails, UIDValidity: 1, InternalDate: now, OccurredAt: now, Raw: raw, KeepRaw: true,
	}, r.publisher.Limits())
	err := r.publisher.StoreBlobs(r.t.Context(), ev)
	if err == nil {
		var ack *publish.Ack
		if ack, err = r.publisher.Publish(r.t.Context(), ev); err == nil {
			_, err = ack.Wait(r.t.Context())
		}
	}
	if err != nil {
		r.t.Fatal(fmt.Errorf("mail %d: %w", r.mails, err))
	}
	return ev.Event
}
