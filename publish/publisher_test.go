package publish

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
	"imapsync/internal/devenv"
	"imapsync/parse"
)

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func connect(t testing.TB, n *devenv.NATS) *nats.Conn {
	t.Helper()
	nc, err := Connect(testContext(t), ConnectOptions{URL: n.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func newPublisher(t testing.TB, nc *nats.Conn, o PublisherOptions) *Publisher {
	t.Helper()
	p, err := NewPublisher(testContext(t), nc, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// numbered returns the nth of a series of different events.
func numbered(n int, lim Limits) *Mail {
	d := testDelivery()
	d.Key = fmt.Sprintf("%032x", n)
	return New(&parse.Message{
		MessageID: fmt.Sprintf("%d@example.org", n), From: parse.Address{Email: "ada@example.org"}, Subject: "s", Text: "text",
	}, d, lim)
}

func publish(t testing.TB, p *Publisher, ev *Mail) Result {
	t.Helper()
	res, err := tryPublish(testContext(t), p, ev)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func tryPublish(ctx context.Context, p *Publisher, ev *Mail) (Result, error) {
	ack, err := p.Publish(ctx, ev)
	if err != nil {
		return Result{}, err
	}
	return ack.Wait(ctx)
}

// subjects returns how often each subject is on the stream.
func subjects(t testing.TB, nc *nats.Conn) map[string]uint64 {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	stream, err := js.Stream(testContext(t), event.StreamName)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(testContext(t), jetstream.WithSubjectFilter(">"))
	if err != nil {
		t.Fatal(err)
	}
	return info.State.Subjects
}

// makeStream makes the stream before NewPublisher does.
func makeStream(t testing.TB, nc *nats.Conn, change func(*jetstream.StreamConfig)) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	cfg := jetstream.StreamConfig{Name: event.StreamName, Subjects: []string{event.Subjects}}
	change(&cfg)
	if _, err := js.CreateStream(testContext(t), cfg); err != nil {
		t.Fatal(err)
	}
	return js
}

// deleteStream takes the stream away. Another one stays beside it, since a
// server that removes its last stream removes the directory under a new one.
func deleteStream(t testing.TB, js jetstream.JetStream) {
	t.Helper()
	if _, err := js.CreateStream(testContext(t), jetstream.StreamConfig{Name: "BESIDE", Subjects: []string{"beside"}}); err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(testContext(t), event.StreamName); err != nil {
		t.Fatal(err)
	}
}

func TestPublishedOnce(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	p := newPublisher(t, nc, PublisherOptions{})
	other := newPublisher(t, connect(t, devenv.OpenNATS(nc.ConnectedUrl())), PublisherOptions{})
	const events, times = 50, 8
	fresh := make([]int, events)
	seqs := make([]map[uint64]bool, events)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range events {
		seqs[i] = map[uint64]bool{}
		for n := range times {
			wg.Go(func() {
				by := p
				if n%2 == 1 {
					by = other
				}
				res, err := tryPublish(testContext(t), by, numbered(i, by.Limits()))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				seqs[i][res.Seq] = true
				if !res.Duplicate {
					fresh[i]++
				}
			})
		}
	}
	wg.Wait()
	for i := range events {
		if fresh[i] != 1 || len(seqs[i]) != 1 || seqs[i][0] {
			t.Errorf("event %d: stored %d times, at %v", i, fresh[i], seqs[i])
		}
	}
	if got := len(subjects(t, nc)); got != events {
		t.Errorf("%d events on the stream, want %d", got, events)
	}
}

func TestPublishedOnceAfterTheWindow(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	makeStream(t, nc, func(c *jetstream.StreamConfig) { c.Duplicates = 100 * time.Millisecond })
	p := newPublisher(t, nc, PublisherOptions{})
	first := publish(t, p, numbered(1, p.Limits()))
	publish(t, p, numbered(2, p.Limits()))
	time.Sleep(300 * time.Millisecond)
	second := publish(t, p, numbered(1, p.Limits()))
	if first.Duplicate || !second.Duplicate || second.Seq != first.Seq {
		t.Errorf("first %+v, second %+v", first, second)
	}
}

// TestOneMailInTwoMailboxes: the broker's duplicate window looks at message
// ids across all subjects.
func TestOneMailInTwoMailboxes(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	p := newPublisher(t, nc, PublisherOptions{})
	m := &parse.Message{MessageID: "1@x", From: parse.Address{Email: "a@b.c"}}
	d := testDelivery()
	one := New(m, d, p.Limits())
	d.ProviderID = "11111111-0b9a-4877-a655-443322110000"
	two := New(m, d, p.Limits())
	d.Tenant = "22222222-0b9a-4877-a655-443322110000"
	three := New(m, d, p.Limits())
	if one.Key != two.Key || one.ID == two.ID || two.ID == three.ID {
		t.Error("one key, and an id for each mailbox")
	}
	for _, ev := range []*Mail{one, two, three} {
		if res := publish(t, p, ev); res.Duplicate {
			t.Errorf("%s was taken for a duplicate", event.Subject(ev.Payload.Tenant, ev.Payload.ProviderID, ev.Key))
		}
	}
	if got := len(subjects(t, nc)); got != 3 {
		t.Errorf("%d events on the stream, want 3", got)
	}
}

// TestCompact holds that a mail that waits is published as it was, and may be
// published again after it was acknowledged.
func TestCompact(t *testing.T) {
	t.Parallel()
	p := newPublisher(t, connect(t, devenv.TestNATS(t)), PublisherOptions{})
	for i, most := range []int{1 << 20, 10} {
		ev := numbered(i, p.Limits())
		want, err := json.Marshal(ev)
		if err != nil {
			t.Fatal(err)
		}
		if ev.Compact(most); (ev.Event == nil) == (ev.json == nil) || len(ev.json) > most {
			t.Errorf("at most %d: event %v, %d bytes of JSON", most, ev.Event != nil, len(ev.json))
		}
		seq := uint64(i + 1)
		for try, duplicate := range []bool{false, true} {
			ack, err := p.Publish(testContext(t), ev)
			if err != nil {
				t.Fatal(err)
			}
			if res, err := ack.Wait(testContext(t)); err != nil || res.Seq != seq || res.Duplicate != duplicate {
				t.Errorf("try %d: %+v, %v", try, res, err)
			}
		}
		got, err := p.stream.GetMsg(testContext(t), seq)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Data, want) {
			t.Errorf("data\n%s\nwant\n%s", got.Data, want)
		}
	}
	bad := New(&parse.Message{}, Delivery{Tenant: "a tenant", ProviderID: "p"}, p.Limits())
	if _, err := p.Publish(testContext(t), bad); !errors.Is(err, event.ErrConfig) {
		t.Errorf("a tenant that cannot stand in a subject: %v", err)
	}
}

func TestMessageOnTheWire(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	p := newPublisher(t, nc, PublisherOptions{})
	ev := numbered(1, p.Limits())
	res := publish(t, p, ev)
	m, err := p.stream.GetMsg(testContext(t), res.Seq)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"Nats-Msg-Id":                         testTenant + "." + testProvider + "." + ev.Key,
		"Nats-Expected-Last-Subject-Sequence": "0",
		"Nats-Expected-Stream":                "INBOUND_EMAIL",
		"Imapsync-Event":                      "INBOUND_EMAIL_RECEIVED",
	} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if want := "mail.inbound.v1." + testTenant + "." + testProvider + "." + ev.Key; m.Subject != want {
		t.Errorf("subject %s, want %s", m.Subject, want)
	}
	if string(m.Data) != string(validate(t, ev)) {
		t.Errorf("data %s", m.Data)
	}
}

// TestRestartInMidPublish: the broker goes away for a while under load.
func TestRestartInMidPublish(t *testing.T) {
	n := devenv.TestNATSServer(t)
	nc := connect(t, n)
	p := newPublisher(t, nc, PublisherOptions{AckTimeout: time.Second})
	ctx := testContext(t)
	const events = 6000
	half, down := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(down)
		<-half
		if err := n.Stop(); err != nil {
			t.Error(err)
		}
		time.Sleep(200 * time.Millisecond)
		if err := n.Start(ctx); err != nil {
			t.Error(err)
		}
	}()
	acks := make([]*Ack, events)
	for i := range acks {
		if i == events/2 {
			close(half)
		}
		ack, err := p.Publish(ctx, numbered(i, p.Limits()))
		if err != nil {
			t.Fatal(err)
		}
		acks[i] = ack
	}
	again := 0
	for _, ack := range acks {
		res, err := ack.Wait(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if res.Attempts > 1 {
			again++
		}
	}
	<-down
	if again == 0 {
		t.Error("the restart came too late to be felt")
	}
	got := subjects(t, nc)
	for subject, times := range got {
		if times != 1 {
			t.Errorf("%s is there %d times", subject, times)
		}
	}
	if len(got) != events {
		t.Errorf("%d events on the stream, want %d", len(got), events)
	}
}

func TestServerGone(t *testing.T) {
	n := devenv.TestNATSServer(t)
	nc := connect(t, n)
	p := newPublisher(t, nc, PublisherOptions{AckTimeout: 200 * time.Millisecond})
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func(ctx context.Context) error{
		"publish": func(ctx context.Context) error {
			_, err := tryPublish(ctx, p, numbered(1, p.Limits()))
			return err
		},
		"blob": func(ctx context.Context) error {
			_, err := p.Blobs(ctx)
			return err
		},
		"subscribe": func(ctx context.Context) error {
			_, err := event.Subscribe(ctx, nc, event.SubscribeOptions{})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		started := time.Now()
		err := call(ctx)
		cancel()
		if took := time.Since(started); took > 30*time.Second { // it does not wait forever
			t.Errorf("%s: %v", name, took)
		}
		if !errors.Is(err, event.ErrUnreachable) && !errors.Is(err, event.ErrTimeout) {
			t.Errorf("%s: %v, want ErrUnreachable", name, err)
		}
	}
	nc.Close()
	if _, err := tryPublish(testContext(t), p, numbered(1, p.Limits())); !errors.Is(err, event.ErrUnreachable) {
		t.Errorf("closed: %v, want ErrUnreachable", err)
	}
}

func TestTooLarge(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t, devenv.NATSMaxPayload(64*kib)))
	makeStream(t, nc, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 56 * kib })
	p := newPublisher(t, nc, PublisherOptions{})
	if got, want := p.Limits().EventBytes, 56*kib-brokerReserve-headerReserve; got != want {
		t.Errorf("EventBytes %d, want %d", got, want)
	}
	ev := &Mail{Event: fullEvent(), tenant: "t", provider: "p", key: "k"}
	ev.Payload.EmailData.Body.Text = strings.Repeat("x", 60*kib)
	if _, err := p.Publish(testContext(t), ev); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
	p.limits.EventBytes = 58 * kib
	ev.Payload.EmailData.Body.Text = strings.Repeat("x", 55*kib)
	if _, err := tryPublish(testContext(t), p, ev); !errors.Is(err, ErrTooLarge) {
		t.Errorf("the stream's limit: %v, want ErrTooLarge", err)
	}
	p.limits.EventBytes = mib
	ev.Payload.EmailData.Body.Text = strings.Repeat("x", 100*kib)
	if _, err := tryPublish(testContext(t), p, ev); !errors.Is(err, ErrTooLarge) {
		t.Errorf("the server's limit: %v, want ErrTooLarge", err)
	}
	p = newPublisher(t, nc, PublisherOptions{})
	d := testDelivery()
	for name, m := range monsters() {
		d.Key = hex.EncodeToString([]byte(name))
		if res, err := tryPublish(testContext(t), p, New(m, d, p.Limits())); err != nil {
			t.Errorf("%s: %v", name, err)
		} else if err := p.stream.DeleteMsg(testContext(t), res.Seq); name == "everything" && err != nil {
			t.Error(err) // what parse promises of its fields does not hold for this one
		}
	}

	small := connect(t, devenv.TestNATS(t, devenv.NATSMaxPayload(32*kib)))
	if _, err := NewPublisher(testContext(t), small, PublisherOptions{}); !errors.Is(err, event.ErrConfig) || !strings.Contains(err.Error(), "max_payload") {
		t.Errorf("a broker of 32 KiB: %v, want ErrConfig naming max_payload", err)
	}
}

func TestWindowIsBounded(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	makeStream(t, nc, func(c *jetstream.StreamConfig) { c.NoAck = true })
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewPublisher(testContext(t), nc, PublisherOptions{}); !errors.Is(err, event.ErrStream) {
		t.Errorf("a stream without acks: %v, want ErrStream", err)
	}
	deleteStream(t, js)
	p := newPublisher(t, nc, PublisherOptions{MaxPending: 4, AckTimeout: 30 * time.Second})
	cfg := p.stream.CachedInfo().Config
	deleteStream(t, js)
	cfg.NoAck = true // now nothing is ever confirmed
	if _, err := js.CreateStream(testContext(t), cfg); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if _, err := p.Publish(testContext(t), numbered(i, p.Limits())); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := p.Publish(ctx, numbered(5, p.Limits())); !errors.Is(err, event.ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the fifth of four: %v, want ErrTimeout", err)
	}
}

// TestWindowIsGivenBack: sends that come to nothing leave their room to others.
func TestWindowIsGivenBack(t *testing.T) {
	n := devenv.TestNATSServer(t)
	p := newPublisher(t, connect(t, n), PublisherOptions{MaxPending: 4, AckTimeout: time.Second})
	if err := n.Stop(); err != nil {
		t.Fatal(err)
	}
	for range 8 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := tryPublish(ctx, p, numbered(1, p.Limits())); err == nil {
			t.Error("published to nobody")
		}
		cancel()
	}
	if err := n.Start(testContext(t)); err != nil {
		t.Fatal(err)
	}
	for i := range 8 { // duplicates are given back too
		publish(t, p, numbered(i%2, p.Limits()))
	}
	// The last one's room comes back just after its acknowledgement.
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := p.window.Acquire(ctx, pendingBytes); err != nil {
		t.Errorf("the window is not empty: %v", err)
	}
}

// TestWaitAgain: a Wait that was cut short can be repeated.
func TestWaitAgain(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	p := newPublisher(t, nc, PublisherOptions{StreamGrace: time.Minute})
	deleteStream(t, p.js)
	ack, err := p.Publish(testContext(t), numbered(1, p.Limits()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
	defer cancel()
	if _, err := ack.Wait(ctx); err == nil {
		t.Fatal("stored on no stream")
	}
	if _, err := EnsureStream(testContext(t), p.js, MakeOptions{}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if res, err := ack.Wait(testContext(t)); err != nil || res.Seq != 1 {
			t.Errorf("%+v, %v", res, err)
		}
	}
}

func BenchmarkPublish(b *testing.B) {
	n, err := devenv.StartNATS(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	nc, err := Connect(b.Context(), ConnectOptions{URL: n.URL()})
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	p, err := NewPublisher(b.Context(), nc, PublisherOptions{})
	if err != nil {
		b.Fatal(err)
	}
	raw := strings.ReplaceAll(mail(testHeader, strings.Repeat("A line of an ordinary mail.\n", 60)), "\n", "\r\n")
	m := parse.Parse([]byte(raw), parse.Limits{})
	d := testDelivery()
	b.ReportAllocs()
	acks := make([]*Ack, 0, 1000)
	wait := func() {
		for _, ack := range acks {
			if _, err := ack.Wait(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
		acks = acks[:0]
	}
	for i := 0; b.Loop(); i++ {
		m.MessageID, d.Key = fmt.Sprintf("%d@example.org", i), fmt.Sprintf("%032x", i)
		ack, err := p.Publish(b.Context(), New(m, d, p.Limits()))
		if err != nil {
			b.Fatal(err)
		}
		if acks = append(acks, ack); len(acks) == cap(acks) {
			wait()
		}
	}
	wait()
}
