package event

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/internal/devenv"
	"imapsync/parse"
)

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
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
func numbered(n int, lim Limits) *Event {
	return New(&parse.Message{
		MessageID: fmt.Sprintf("%d@example.org", n), From: parse.Address{Email: "ada@example.org"}, Subject: "s", Text: "text",
	}, testDelivery(), lim)
}

func publish(t testing.TB, p *Publisher, ev *Event) Result {
	t.Helper()
	res, err := tryPublish(testContext(t), p, ev)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func tryPublish(ctx context.Context, p *Publisher, ev *Event) (Result, error) {
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
	stream, err := js.Stream(testContext(t), StreamName)
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
	cfg := jetstream.StreamConfig{Name: StreamName, Subjects: []string{Subjects}}
	change(&cfg)
	if _, err := js.CreateStream(testContext(t), cfg); err != nil {
		t.Fatal(err)
	}
	return js
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
	for _, ev := range []*Event{one, two, three} {
		if res := publish(t, p, ev); res.Duplicate {
			t.Errorf("%s was taken for a duplicate", Subject(ev.Payload.Tenant, ev.Payload.ProviderID, ev.Key))
		}
	}
	if got := len(subjects(t, nc)); got != 3 {
		t.Errorf("%d events on the stream, want 3", got)
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
	n, err := devenv.StartNATS(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	nc := connect(t, n)
	p := newPublisher(t, nc, PublisherOptions{AckTimeout: time.Second})
	ctx := testContext(t)
	const events = 6000
	down := make(chan struct{})
	go func() {
		defer close(down)
		time.Sleep(50 * time.Millisecond)
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
		if acks[i], err = p.Publish(ctx, numbered(i, p.Limits())); err != nil {
			t.Fatal(err)
		}
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
	n, err := devenv.StartNATS(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
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
			_, err := Subscribe(ctx, nc, SubscribeOptions{})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		started := time.Now()
		err := call(ctx)
		cancel()
		if took := time.Since(started); took > 2*time.Second {
			t.Errorf("%s: %v", name, took)
		}
		if !errors.Is(err, ErrUnreachable) && !errors.Is(err, ErrTimeout) {
			t.Errorf("%s: %v, want ErrUnreachable", name, err)
		}
	}
	nc.Close()
	if _, err := tryPublish(testContext(t), p, numbered(1, p.Limits())); !errors.Is(err, ErrUnreachable) {
		t.Errorf("closed: %v, want ErrUnreachable", err)
	}
}

func TestStreamFull(t *testing.T) {
	for name, change := range map[string]func(*jetstream.StreamConfig){
		"messages": func(c *jetstream.StreamConfig) { c.MaxMsgs = 3 },
		"bytes":    func(c *jetstream.StreamConfig) { c.MaxBytes = 4000 },
	} {
		t.Run(name, func(t *testing.T) {
			nc := connect(t, devenv.TestNATS(t))
			makeStream(t, nc, func(c *jetstream.StreamConfig) { c.Discard = jetstream.DiscardNew; change(c) })
			p := newPublisher(t, nc, PublisherOptions{})
			publish(t, p, numbered(0, p.Limits()))
			var full error
			for i := 1; i < 10 && full == nil; i++ {
				_, full = tryPublish(testContext(t), p, numbered(i, p.Limits()))
			}
			if !errors.Is(full, ErrStreamFull) {
				t.Errorf("%v, want ErrStreamFull", full)
			}
			if res := publish(t, p, numbered(0, p.Limits())); !res.Duplicate {
				t.Error("what is on a full stream is a duplicate still")
			}
		})
	}
	t.Run("account", func(t *testing.T) {
		nc := connect(t, devenv.TestNATS(t, devenv.NATSMaxStore(64*kib)))
		p := newPublisher(t, nc, PublisherOptions{})
		var full error
		for i := 0; i < 1000 && full == nil; i++ {
			_, full = tryPublish(testContext(t), p, numbered(i, p.Limits()))
		}
		if !errors.Is(full, ErrStreamFull) {
			t.Errorf("%v, want ErrStreamFull", full)
		}
	})
}

func TestStreamVanishes(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	p := newPublisher(t, nc, PublisherOptions{StreamGrace: 300 * time.Millisecond})
	if err := p.js.DeleteStream(testContext(t), StreamName); err != nil {
		t.Fatal(err)
	}
	if _, err := tryPublish(testContext(t), p, numbered(1, p.Limits())); !errors.Is(err, ErrStream) {
		t.Errorf("%v, want ErrStream", err)
	}
	// It comes back within the grace.
	p.grace = 10 * time.Second
	ack, err := p.Publish(testContext(t), numbered(1, p.Limits()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := EnsureStream(testContext(t), p.js); err != nil {
		t.Fatal(err)
	}
	if res, err := ack.Wait(testContext(t)); err != nil || res.Seq != 1 || res.Duplicate {
		t.Errorf("%+v, %v", res, err)
	}
	// Another stream takes its subjects.
	if err := p.js.DeleteStream(testContext(t), StreamName); err != nil {
		t.Fatal(err)
	}
	if _, err := p.js.CreateStream(testContext(t), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"mail.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := tryPublish(testContext(t), p, numbered(2, p.Limits())); !errors.Is(err, ErrStream) {
		t.Errorf("%v, want ErrStream", err)
	}
	if _, err := NewPublisher(testContext(t), nc, PublisherOptions{}); !errors.Is(err, ErrStream) || !strings.Contains(err.Error(), "another stream") {
		t.Errorf("%v, want ErrStream naming the cause", err)
	}
}

func TestTooLarge(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t, devenv.NATSMaxPayload(64*kib)))
	makeStream(t, nc, func(c *jetstream.StreamConfig) { c.MaxMsgSize = 56 * kib })
	p := newPublisher(t, nc, PublisherOptions{})
	if got, want := p.Limits().EventBytes, 56*kib-brokerReserve-headerReserve; got != want {
		t.Errorf("EventBytes %d, want %d", got, want)
	}
	ev := fullEvent()
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
	for name, m := range monsters() {
		if _, err := tryPublish(testContext(t), p, New(m, testDelivery(), p.Limits())); err != nil {
			// The three differ in nothing that counts for the key.
			t.Errorf("%s: %v", name, err)
		}
	}

	small := connect(t, devenv.TestNATS(t, devenv.NATSMaxPayload(32*kib)))
	if _, err := NewPublisher(testContext(t), small, PublisherOptions{}); !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), "max_payload") {
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
	if _, err := NewPublisher(testContext(t), nc, PublisherOptions{}); !errors.Is(err, ErrStream) {
		t.Errorf("a stream without acks: %v, want ErrStream", err)
	}
	if err := js.DeleteStream(testContext(t), StreamName); err != nil {
		t.Fatal(err)
	}
	p := newPublisher(t, nc, PublisherOptions{MaxPending: 4, AckTimeout: 30 * time.Second})
	cfg := p.stream.CachedInfo().Config
	if err := js.DeleteStream(testContext(t), StreamName); err != nil {
		t.Fatal(err)
	}
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
	if _, err := p.Publish(ctx, numbered(5, p.Limits())); !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the fifth of four: %v, want ErrTimeout", err)
	}
}

// TestWindowIsGivenBack: sends that come to nothing leave their room to others.
func TestWindowIsGivenBack(t *testing.T) {
	n, err := devenv.StartNATS(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
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
	if !p.window.TryAcquire(pendingBytes) {
		t.Error("the window is not empty")
	}
}

// TestWaitAgain: a Wait that was cut short can be repeated.
func TestWaitAgain(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	p := newPublisher(t, nc, PublisherOptions{StreamGrace: time.Minute})
	if err := p.js.DeleteStream(testContext(t), StreamName); err != nil {
		t.Fatal(err)
	}
	ack, err := p.Publish(testContext(t), numbered(1, p.Limits()))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 900*time.Millisecond)
	defer cancel()
	if _, err := ack.Wait(ctx); err == nil {
		t.Fatal("stored on no stream")
	}
	if _, err := EnsureStream(testContext(t), p.js); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if res, err := ack.Wait(testContext(t)); err != nil || res.Seq != 1 {
			t.Errorf("%+v, %v", res, err)
		}
	}
}

func TestEnsureStreamNeverAlters(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	js := makeStream(t, nc, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour; c.Subjects = []string{"mail.>"} })
	p := newPublisher(t, nc, PublisherOptions{})
	publish(t, p, numbered(1, p.Limits()))
	stream, err := js.Stream(testContext(t), StreamName)
	if err != nil {
		t.Fatal(err)
	}
	if cfg := stream.CachedInfo().Config; cfg.MaxAge != time.Hour || cfg.Subjects[0] != "mail.>" {
		t.Errorf("%+v", cfg)
	}
}

func TestEnsureStreamMakesIt(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := EnsureStream(testContext(t), js); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	stream, err := EnsureStream(testContext(t), js)
	if err != nil {
		t.Fatal(err)
	}
	cfg := stream.CachedInfo().Config
	if cfg.MaxAge != 14*24*time.Hour || cfg.Retention != jetstream.LimitsPolicy || cfg.Storage != jetstream.FileStorage || cfg.Subjects[0] != "mail.inbound.v1.>" || cfg.Duplicates != 2*time.Minute {
		t.Errorf("%+v", cfg)
	}
	if ps := StreamProblems(cfg); len(ps) != 0 {
		t.Errorf("problems with our own stream: %v", ps)
	}
}

func TestStreamProblems(t *testing.T) {
	good := jetstream.StreamConfig{Name: StreamName, Subjects: []string{Subjects}}
	for name, tt := range map[string]struct {
		change func(*jetstream.StreamConfig)
		what   string
		fatal  bool
	}{
		"good":         {func(*jetstream.StreamConfig) {}, "", false},
		"work queue":   {func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, "work queue", false},
		"interest":     {func(c *jetstream.StreamConfig) { c.Retention = jetstream.InterestPolicy }, "interest", false},
		"subjects":     {func(c *jetstream.StreamConfig) { c.Subjects = []string{"mail.inbound.v2.>"} }, "listens on", true},
		"no ack":       {func(c *jetstream.StreamConfig) { c.NoAck = true }, "acknowledge", true},
		"mirror":       {func(c *jetstream.StreamConfig) { c.Mirror = &jetstream.StreamSource{Name: "M"} }, "mirror", true},
		"sealed":       {func(c *jetstream.StreamConfig) { c.Sealed = true }, "sealed", true},
		"transform":    {func(c *jetstream.StreamConfig) { c.SubjectTransform = &jetstream.SubjectTransformConfig{} }, "rewrites", true},
		"memory":       {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "memory", false},
		"per subject":  {func(c *jetstream.StreamConfig) { c.DiscardNewPerSubject = true }, "per subject", false},
		"message size": {func(c *jetstream.StreamConfig) { c.MaxMsgSize = 10_000 }, "10000 bytes", true},
	} {
		cfg := good
		tt.change(&cfg)
		ps := StreamProblems(cfg)
		if tt.what == "" {
			if len(ps) != 0 {
				t.Errorf("%s: %v", name, ps)
			}
			continue
		}
		if len(ps) != 1 || !strings.Contains(ps[0].What, tt.what) || ps[0].Fatal != tt.fatal || ps[0].Fix == "" {
			t.Errorf("%s: %v, want one that says %q, fatal %v", name, ps, tt.what, tt.fatal)
		}
	}
}

func TestCovered(t *testing.T) {
	for subject, want := range map[string]bool{
		">": true, "mail.>": true, "mail.inbound.>": true, "mail.inbound.v1.>": true, "mail.inbound.v1.*.*.*": true, "*.*.*.*.*.*": true,
		"mail.inbound.v1.*.*": false, "mail.inbound.v1.*.*.*.*": false, "mail.inbound.v1.a.>": false, "mail.inbound.v1.*.*.*.>": false,
		"mail.inbound.v2.>": false, "": false,
	} {
		if got := covered([]string{"other", subject}); got != want {
			t.Errorf("covered(%q) = %v", subject, got)
		}
	}
}

func TestNoJetStream(t *testing.T) {
	n := devenv.TestNATS(t, func(o *server.Options) { o.JetStream = false })
	if _, err := NewPublisher(testContext(t), connect(t, n), PublisherOptions{}); !errors.Is(err, ErrNoJetStream) {
		t.Errorf("%v, want ErrNoJetStream", err)
	}
}

func TestForbidden(t *testing.T) {
	n := devenv.TestNATS(t, func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Deny: []string{"mail.>"}},
		}}}
	})
	nc, err := Connect(testContext(t), ConnectOptions{URL: strings.Replace(n.URL(), "nats://", "nats://u:p@", 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	p := newPublisher(t, nc, PublisherOptions{AckTimeout: 200 * time.Millisecond})
	if _, err := tryPublish(testContext(t), p, numbered(1, p.Limits())); !errors.Is(err, ErrConfig) {
		t.Errorf("%v, want ErrConfig", err)
	}
}

func TestConnect(t *testing.T) {
	const pass = "hunter2-Tr0ub4dor"
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		for {
			if _, err := silent.Accept(); err != nil {
				return
			}
		}
	}()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	locked := devenv.TestNATS(t, func(o *server.Options) { o.Username, o.Password = "u", "other" })
	host := strings.TrimPrefix(locked.URL(), "nats://")
	emptyCreds := filepath.Join(t.TempDir(), "creds")
	if err := os.WriteFile(emptyCreds, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		o    ConnectOptions
		want error
		in   string
	}{
		"nobody listens":   {ConnectOptions{URL: "nats://u:" + pass + "@" + closed.Addr().String()}, ErrUnreachable, closed.Addr().String()},
		"silence":          {ConnectOptions{URL: "nats://u:" + pass + "@" + silent.Addr().String(), Timeout: 300 * time.Millisecond}, ErrUnreachable, silent.Addr().String()},
		"several":          {ConnectOptions{URL: closed.Addr().String() + ", nats://" + pass + "@" + closed.Addr().String()}, ErrUnreachable, "nats://" + closed.Addr().String() + ",nats://"},
		"wrong password":   {ConnectOptions{URL: "nats://u:" + pass + "@" + host}, ErrConfig, host},
		"no URL":           {ConnectOptions{}, ErrConfig, "no URL"},
		"bad URL":          {ConnectOptions{URL: "nats://u:" + pass + "%zz@h"}, ErrConfig, "cannot be read"},
		"bad port":         {ConnectOptions{URL: "nats://u:" + pass + "@h:port"}, ErrConfig, "cannot be read"},
		"bad scheme":       {ConnectOptions{URL: "http://u:" + pass + "@h"}, ErrConfig, `"http"`},
		"no creds file":    {ConnectOptions{URL: "nats://" + host, CredsFile: "/nowhere/creds"}, ErrConfig, "/nowhere/creds"},
		"empty creds file": {ConnectOptions{URL: "nats://" + host, CredsFile: emptyCreds}, ErrConfig, "no user"},
		"no ca file":       {ConnectOptions{URL: "nats://" + host, CAFile: "/nowhere/ca"}, ErrConfig, "/nowhere/ca"},
	} {
		t.Run(name, func(t *testing.T) {
			started := time.Now()
			nc, err := Connect(testContext(t), tt.o)
			if err == nil {
				nc.Close()
				t.Fatal("connected")
			}
			if !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.in) {
				t.Errorf("%v, want %v naming %s", err, tt.want, tt.in)
			}
			if strings.Contains(err.Error(), pass) {
				t.Errorf("%v shows the password", err)
			}
			if took := time.Since(started); took > 3*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := Connect(ctx, ConnectOptions{URL: "nats://" + silent.Addr().String()}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("ctx: %v, want ErrUnreachable", err)
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
		m.MessageID = fmt.Sprintf("%d@example.org", i)
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
