package event

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"imapsync/internal/devenv"
	"imapsync/parse"
)

func subscribe(t testing.TB, p *Publisher, o SubscribeOptions) *Subscription {
	t.Helper()
	sub, err := Subscribe(testContext(t), p.nc, o)
	if err != nil {
		t.Fatal(err)
	}
	return sub
}

// TestMailToConsumer takes one mail all the way: parsed, blobs stored,
// published, consumed, its blobs opened.
func TestMailToConsumer(t *testing.T) {
	p := newPublisher(t, connect(t, devenv.TestNATS(t)), PublisherOptions{})
	big := strings.Repeat("0123456789abcdef\n", 20_000)
	raw := strings.ReplaceAll(mail(testHeader, "Hello "+strings.Repeat("long text ", 50_000), "a.txt", "content", "big.txt", big, "a2.txt", "content"), "\n", "\r\n")
	m := parse.Parse([]byte(raw), parse.Limits{})
	d := testDelivery()
	d.Raw, d.KeepRaw = []byte(raw), true
	ev := New(m, d, p.Limits())
	for range 2 {
		if err := p.StoreBlobs(testContext(t), ev, m, d.Raw); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, p, ev)

	sub := subscribe(t, p, SubscribeOptions{Idle: time.Second})
	var got *Event
	for r, err := range sub.Events(testContext(t)) {
		if err != nil {
			t.Fatal(err)
		}
		got = r.Event
		if string(r.Data) != string(validate(t, ev)) {
			t.Errorf("data %.200s", r.Data)
		}
	}
	if diff := cmp.Diff(ev, got, cmpopts.IgnoreUnexported(Event{})); diff != "" {
		t.Fatalf("sent and received differ: %s", diff)
	}
	data := got.Payload.EmailData
	if len(data.Attachments) != 3 || data.Body.TextBlob == nil || data.RawMIME == nil {
		t.Fatalf("%d attachments, text blob %v, raw %v", len(data.Attachments), data.Body.TextBlob, data.RawMIME)
	}
	for _, tt := range []struct {
		blob Blob
		want string
	}{
		{*data.Attachments[0].Blob, "content"}, {*data.Attachments[2].Blob, "content"},
		{*data.Body.TextBlob, m.Text}, {data.RawMIME.Blob, raw},
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

func TestStoreBlobsOfAnotherMessage(t *testing.T) {
	p := newPublisher(t, connect(t, devenv.TestNATS(t)), PublisherOptions{})
	m := parse.Parse([]byte(mail(testHeader, "x", "a.txt", "content")), parse.Limits{})
	other := parse.Parse([]byte(mail(testHeader, "x", "a.txt", "tnetnoc")), parse.Limits{})
	ev := New(m, testDelivery(), p.Limits())
	if err := p.StoreBlobs(testContext(t), ev, other, nil); !errors.Is(err, ErrBlob) {
		t.Errorf("%v, want ErrBlob", err)
	}
	if err := p.StoreBlobs(testContext(t), ev, &parse.Message{}, nil); !errors.Is(err, ErrBlob) {
		t.Errorf("%v, want ErrBlob", err)
	}
}

func TestDurableSubscription(t *testing.T) {
	p := newPublisher(t, connect(t, devenv.TestNATS(t)), PublisherOptions{})
	for i := range 4 {
		publish(t, p, numbered(i, p.Limits()))
	}
	o := SubscribeOptions{Durable: "tickets", AckWait: 500 * time.Millisecond, Idle: 1500 * time.Millisecond}
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
	if _, err := Subscribe(ctx, p.nc, o); !errors.Is(err, ErrConfig) {
		t.Errorf("one name for two filters: %v, want ErrConfig", err)
	}
	if _, err := Subscribe(ctx, p.nc, SubscribeOptions{Durable: "a.b"}); !errors.Is(err, ErrConfig) {
		t.Errorf("a bad name: %v, want ErrConfig", err)
	}
}

// TestLeavingHandsBack: what one reader had fetched ahead the next gets at
// once, not after AckWait.
func TestLeavingHandsBack(t *testing.T) {
	p := newPublisher(t, connect(t, devenv.TestNATS(t)), PublisherOptions{})
	for i := range 50 {
		publish(t, p, numbered(i, p.Limits()))
	}
	o := SubscribeOptions{Durable: "tickets", AckWait: time.Hour, Idle: time.Second}
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
	p := newPublisher(t, connect(t, devenv.TestNATS(t)), PublisherOptions{})
	d := testDelivery()
	mine := New(&parse.Message{MessageID: "1@x", From: parse.Address{Email: "a@b.c"}}, d, p.Limits())
	d.ProviderID = "other"
	other := New(&parse.Message{MessageID: "1@x", From: parse.Address{Email: "a@b.c"}}, d, p.Limits())
	publish(t, p, mine)
	publish(t, p, other)
	count := func(o SubscribeOptions) (n int) {
		o.Idle = 200 * time.Millisecond
		for _, err := range subscribe(t, p, o).Events(testContext(t)) {
			if err != nil {
				t.Error(err)
			}
			n++
		}
		return n
	}
	if n := count(SubscribeOptions{}); n != 2 {
		t.Errorf("all: %d, want 2", n)
	}
	if n := count(SubscribeOptions{ProviderID: testProvider}); n != 1 {
		t.Errorf("one provider: %d, want 1", n)
	}
	if n := count(SubscribeOptions{Tenant: "nobody"}); n != 0 {
		t.Errorf("another tenant: %d, want 0", n)
	}
	if n := count(SubscribeOptions{NewOnly: true}); n != 0 {
		t.Errorf("new only: %d, want 0", n)
	}
}

func TestForeignMessages(t *testing.T) {
	p := newPublisher(t, connect(t, devenv.TestNATS(t)), PublisherOptions{})
	for _, data := range []string{"{", `{"eventType":"OTHER"}`} {
		if _, err := p.js.Publish(testContext(t), Subject("t", "p", data[:1]), []byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	publish(t, p, numbered(1, p.Limits()))
	bad, good := 0, 0
	for r, err := range subscribe(t, p, SubscribeOptions{Durable: "d", Idle: 300 * time.Millisecond}).Events(testContext(t)) {
		if _, ok := errors.AsType[*DecodeError](err); ok {
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

func TestSubscriptionEnds(t *testing.T) {
	n := devenv.TestNATSServer(t)
	nc := connect(t, n)
	p := newPublisher(t, nc, PublisherOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	for _, err := range subscribe(t, p, SubscribeOptions{}).Events(ctx) {
		t.Errorf("nothing was published: %v", err)
	}
	sub := subscribe(t, p, SubscribeOptions{})
	time.AfterFunc(200*time.Millisecond, nc.Close)
	var last error
	for _, err := range sub.Events(testContext(t)) {
		last = err
	}
	if !errors.Is(last, ErrUnreachable) {
		t.Errorf("closed: %v, want ErrUnreachable", last)
	}
}
