package event_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
	"imapsync/internal/contract"
	"imapsync/internal/devenv"
	"imapsync/parse"
	"imapsync/publish"
)

const (
	testTenant   = "8a1c1b52-6a4e-4a0e-9d0f-1d2c3b4a5f60"
	testProvider = "7f3e2d1c-0b9a-4877-a655-443322110000"
)

// idle is after how long a subscription of these tests ends: what is on the stream
// comes sooner, however busy the machine is.
const idle = 3 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// broker is one NATS server with a publisher on it.
type broker struct {
	t  testing.TB
	nc *nats.Conn
	*publish.Publisher
}

func newBroker(t testing.TB, n *devenv.NATS) broker {
	t.Helper()
	nc, err := nats.Connect(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	p, err := publish.NewPublisher(testContext(t), nc, publish.PublisherOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return broker{t, nc, p}
}

// post publishes mails.
func (b broker) post(mails ...*publish.Mail) {
	b.t.Helper()
	for _, m := range mails {
		ack, err := b.Publish(testContext(b.t), m)
		if err == nil {
			_, err = ack.Wait(testContext(b.t))
		}
		if err != nil {
			b.t.Fatal(err)
		}
	}
}

// numbered publishes n events, the first of Message-ID 0@example.org.
func (b broker) numbered(n int) {
	b.t.Helper()
	d := testDelivery()
	for i := range n {
		d.Key = fmt.Sprintf("%032x", i)
		b.post(publish.New(&parse.Message{
			MessageID: fmt.Sprintf("%d@example.org", i), From: parse.Address{Email: "ada@example.org"}, Subject: "s", Text: "text",
		}, d, b.Limits()))
	}
}

func testDelivery() publish.Delivery {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return publish.Delivery{Tenant: testTenant, ProviderID: testProvider, Folder: "INBOX", UID: 12, UIDValidity: 34, InternalDate: at, OccurredAt: at}
}

// mail writes a mail with text and files: "name" to its content.
func mail(text string, files ...string) []byte {
	var b strings.Builder
	b.WriteString("Message-ID: <1@example.org>\nDate: Wed, 04 Mar 2026 06:06:00 +0100\nFrom: Ada <ada@example.org>\nTo: Desk <desk@example.com>\nSubject: A question\n" +
		"MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\nContent-Type: text/plain; charset=utf-8\n\n" + text + "\n")
	for i := 0; i+1 < len(files); i += 2 {
		fmt.Fprintf(&b, "--bb\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=%q\n\n%s\n", files[i], files[i+1])
	}
	b.WriteString("--bb--\n")
	return []byte(strings.ReplaceAll(b.String(), "\n", "\r\n"))
}

func subscribe(t testing.TB, b broker, o event.SubscribeOptions) *event.Subscription {
	t.Helper()
	sub, err := event.Subscribe(testContext(t), b.nc, o)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// TestMailToConsumer takes one mail all the way: parsed, blobs stored,
// published, consumed, its blobs opened.
func TestMailToConsumer(t *testing.T) {
	p := newBroker(t, devenv.TestNATS(t))
	big := strings.Repeat("0123456789abcdef\n", 20_000)
	raw := mail("Hello "+strings.Repeat("long text ", 50_000), "a.txt", "content", "big.txt", big, "a2.txt", "content")
	m := parse.Parse(raw, parse.Limits{})
	d := testDelivery()
	d.Raw, d.KeepRaw = raw, true
	ev := publish.New(m, d, p.Limits())
	for range 2 {
		if err := p.StoreBlobs(testContext(t), ev); err != nil {
			t.Fatal(err)
		}
	}
	p.post(ev)

	schema, err := contract.New(event.Schema)
	if err != nil {
		t.Fatal(err)
	}
	sub := subscribe(t, p, event.SubscribeOptions{Idle: idle})
	var got *event.Event
	for r, err := range sub.Events(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		got = r.Event
		if err := schema.Event(r.Data); err != nil {
			t.Errorf("against the schema: %v\n%.2000s", err, r.Data)
		}
	}
	if diff := cmp.Diff(ev.Event, got); diff != "" {
		t.Fatalf("sent and received differ: %s", diff)
	}
	data := got.Payload.EmailData
	if len(data.Attachments) != 3 || data.Body.TextBlob == nil || data.RawMIME == nil {
		t.Fatalf("%d attachments, text blob %v, raw %v", len(data.Attachments), data.Body.TextBlob, data.RawMIME)
	}
	for _, tt := range []struct {
		blob event.Blob
		want string
	}{
		{*data.Attachments[0].Blob, "content"}, {*data.Attachments[2].Blob, "content"},
		{*data.Body.TextBlob, m.Text}, {data.RawMIME.Blob, string(raw)},
	} {
		r, err := sub.OpenBlob(testContext(t), tt.blob)
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil || string(content) != tt.want {
			t.Errorf("blob of %d bytes, %v, want %d", len(content), err, len(tt.want))
		}
		_ = r.Close()
	}
	r, err := sub.OpenBlob(testContext(t), *data.Attachments[1].Blob)
	if err != nil {
		t.Fatal(err)
	}
	if content, err := io.ReadAll(r); err != nil || int64(len(content)) != data.Attachments[1].Size || !bytes.HasPrefix(content, []byte("0123456789abcdef")) {
		t.Errorf("big.txt: %d bytes, %v", len(content), err)
	}
}

func TestDurableSubscription(t *testing.T) {
	t.Parallel()
	p := newBroker(t, devenv.TestNATS(t))
	p.numbered(4)
	o := event.SubscribeOptions{Durable: "tickets", AckWait: idle, Idle: 2 * idle}
	ctx := testContext(t)
	var log []string
	for r, err := range subscribe(t, p, o).Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, r.Event.Payload.EmailData.ID)
		switch {
		case r.Seq == 1:
			err = r.Ack(ctx)
		case r.Seq == 2 && r.Delivered == 1:
			err = r.Nak(time.Millisecond)
		case r.Seq == 2:
			if r.Delivered != 2 {
				t.Errorf("delivered %d times", r.Delivered)
			}
			err = r.Ack(ctx)
		case r.Seq == 3:
			err = r.Term("not for us")
		}
		if err != nil {
			t.Error(err)
		}
		if r.Seq == 4 {
			if err := r.Nak(0); err != nil {
				t.Error(err)
			}
			break
		}
	}
	if got := strings.Join(log[:1], " "); got != "0@example.org" {
		t.Errorf("first %s", got)
	}
	// Another process goes on where this one was.
	left := map[uint64]bool{}
	for r, err := range subscribe(t, p, o).Events(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		left[r.Seq] = true
		if err := r.Ack(ctx); err != nil {
			t.Error(err)
		}
	}
	if left[1] || left[3] || !left[4] {
		t.Errorf("left were %v", left)
	}
	o.ProviderID = "other"
	if _, err := event.Subscribe(ctx, p.nc, o); !errors.Is(err, event.ErrConfig) {
		t.Errorf("one name for two filters: %v, want ErrConfig", err)
	}
	if _, err := event.Subscribe(ctx, p.nc, event.SubscribeOptions{Durable: "a.b"}); !errors.Is(err, event.ErrConfig) {
		t.Errorf("a bad name: %v, want ErrConfig", err)
	}
}

// TestLeavingHandsBack: what one reader had fetched ahead the next gets at
// once, not after AckWait.
func TestLeavingHandsBack(t *testing.T) {
	t.Parallel()
	p := newBroker(t, devenv.TestNATS(t))
	p.numbered(50)
	o := event.SubscribeOptions{Durable: "tickets", AckWait: time.Hour, Idle: idle}
	ctx := testContext(t)
	seen := map[uint64]bool{}
	for _, most := range []int{10, 50} {
		n := 0
		for r, err := range subscribe(t, p, o).Events(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Ack(ctx); err != nil {
				t.Error(err)
			}
			seen[r.Seq] = true
			if n++; n == most {
				break
			}
		}
	}
	if len(seen) != 50 {
		t.Errorf("%d of 50 events were read", len(seen))
	}
}

func TestSubscriptionFilters(t *testing.T) {
	p := newBroker(t, devenv.TestNATS(t))
	d := testDelivery()
	mine := publish.New(&parse.Message{MessageID: "1@x", From: parse.Address{Email: "a@b.c"}}, d, p.Limits())
	d.ProviderID = "other"
	other := publish.New(&parse.Message{MessageID: "1@x", From: parse.Address{Email: "a@b.c"}}, d, p.Limits())
	p.post(mine)
	p.post(other)
	for name, tt := range map[string]struct {
		o    event.SubscribeOptions
		want int
	}{
		"all":            {event.SubscribeOptions{}, 2},
		"one provider":   {event.SubscribeOptions{ProviderID: testProvider}, 1},
		"another tenant": {event.SubscribeOptions{Tenant: "nobody"}, 0},
		"new only":       {event.SubscribeOptions{NewOnly: true}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			tt.o.Idle = idle
			for _, err := range subscribe(t, p, tt.o).Events(testContext(t)) {
				if err != nil {
					t.Error(err)
				}
				n++
			}
			if n != tt.want {
				t.Errorf("%d events, want %d", n, tt.want)
			}
		})
	}
}

func TestForeignMessages(t *testing.T) {
	t.Parallel()
	p := newBroker(t, devenv.TestNATS(t))
	js, err := jetstream.New(p.nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range []string{"{", `{"eventType":"OTHER"}`} {
		if _, err := js.Publish(testContext(t), event.Subject("t", "p", data[:1]), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	p.numbered(1)
	bad, good := 0, 0
	for r, err := range subscribe(t, p, event.SubscribeOptions{Durable: "d", Idle: idle}).Events(testContext(t)) {
		if _, ok := errors.AsType[*event.DecodeError](err); ok {
			bad++
			if err := r.Term("no event"); err != nil {
				t.Error(err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		good++
	}
	if bad != 2 || good != 1 {
		t.Errorf("%d bad, %d good", bad, good)
	}
}

// Where nobody takes an acknowledgement, as while the servers of a consumer elect a
// leader, the broker has JetStream all the same.
func TestNobodyTakesTheAck(t *testing.T) {
	p := newBroker(t, devenv.TestNATSServer(t))
	p.numbered(1)
	js, err := jetstream.New(p.nc)
	if err != nil {
		t.Fatal(err)
	}
	for received, err := range subscribe(t, p, event.SubscribeOptions{Durable: "d"}).Events(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		if err := js.DeleteStream(testContext(t), event.StreamName); err != nil {
			t.Fatal(err)
		}
		if err := received.Ack(testContext(t)); !errors.Is(err, event.ErrTimeout) || errors.Is(err, event.ErrNoJetStream) {
			t.Errorf("%v, want ErrTimeout", err)
		}
		break
	}
	if _, err := event.Subscribe(testContext(t), p.nc, event.SubscribeOptions{}); !errors.Is(err, event.ErrStream) {
		t.Errorf("no stream: %v, want ErrStream", err)
	}
	without := devenv.TestNATS(t, func(o *server.Options) { o.JetStream = false })
	nc, err := nats.Connect(without.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	_, subscribed := event.Subscribe(testContext(t), nc, event.SubscribeOptions{})
	_, opened := event.OpenBlobs(testContext(t), nc, "")
	for name, err := range map[string]error{"subscribe": subscribed, "open the blobs": opened} {
		if !errors.Is(err, event.ErrNoJetStream) {
			t.Errorf("%s: %v, want ErrNoJetStream", name, err)
		}
	}
}

func TestSubscriptionEnds(t *testing.T) {
	p := newBroker(t, devenv.TestNATSServer(t))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for _, err := range subscribe(t, p, event.SubscribeOptions{}).Events(ctx) {
		t.Errorf("nothing was published: %v", err)
	}
	sub := subscribe(t, p, event.SubscribeOptions{})
	time.AfterFunc(200*time.Millisecond, p.nc.Close)
	var last error
	for _, err := range sub.Events(testContext(t)) {
		last = err
	}
	if !errors.Is(last, event.ErrUnreachable) {
		t.Errorf("closed: %v, want ErrUnreachable", last)
	}
}
