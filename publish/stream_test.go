package publish

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
	"imapsync/internal/devenv"
)

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
	deleteStream(t, p.js)
	if _, err := tryPublish(testContext(t), p, numbered(1, p.Limits())); !errors.Is(err, event.ErrStream) {
		t.Errorf("%v, want ErrStream", err)
	}
	// It comes back within the grace.
	p.grace = time.Minute
	ack, err := p.Publish(testContext(t), numbered(1, p.Limits()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := EnsureStream(testContext(t), p.js, MakeOptions{}); err != nil {
		t.Fatal(err)
	}
	if res, err := ack.Wait(testContext(t)); err != nil || res.Seq != 1 || res.Duplicate {
		t.Errorf("%+v, %v", res, err)
	}
	// Another stream takes its subjects.
	deleteStream(t, p.js)
	if _, err := p.js.CreateStream(testContext(t), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"mail.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := tryPublish(testContext(t), p, numbered(2, p.Limits())); !errors.Is(err, event.ErrStream) {
		t.Errorf("%v, want ErrStream", err)
	}
	if _, err := NewPublisher(testContext(t), nc, PublisherOptions{}); !errors.Is(err, event.ErrStream) || !strings.Contains(err.Error(), "another stream") {
		t.Errorf("%v, want ErrStream naming the cause", err)
	}
}

func TestEnsureStreamNeverAlters(t *testing.T) {
	nc := connect(t, devenv.TestNATS(t))
	js := makeStream(t, nc, func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour; c.Subjects = []string{"mail.>"} })
	p := newPublisher(t, nc, PublisherOptions{})
	publish(t, p, numbered(1, p.Limits()))
	stream, err := js.Stream(testContext(t), event.StreamName)
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
			if _, err := EnsureStream(testContext(t), js, MakeOptions{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	stream, err := EnsureStream(testContext(t), js, MakeOptions{})
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
	good := jetstream.StreamConfig{Name: event.StreamName, Subjects: []string{event.Subjects}}
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
		"ring, count":  {func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 }, "ring", false},
		"ring, size":   {func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 30 }, "ring", false},
		"short":        {func(c *jetstream.StreamConfig) { c.MaxAge = 23 * time.Hour }, "23h0m0s only", false},
		"a day":        {func(c *jetstream.StreamConfig) { c.MaxAge = 24 * time.Hour }, "", false},
		"no ring":      {func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 1000, jetstream.DiscardNew }, "", false},
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

func TestBucketProblems(t *testing.T) {
	day := 24 * time.Hour
	for _, tt := range []struct {
		bucket, events time.Duration
		storage        jetstream.StorageType
		want           int
	}{
		{21 * day, 14 * day, jetstream.FileStorage, 0},
		{0, 14 * day, jetstream.FileStorage, 0},
		{0, 0, jetstream.FileStorage, 0},
		{14 * day, 14 * day, jetstream.FileStorage, 1},
		{21 * day, 0, jetstream.FileStorage, 1},
		{21 * day, 14 * day, jetstream.MemoryStorage, 1},
	} {
		ps := BucketProblems(jetstream.StreamConfig{Name: "OBJ_b", MaxAge: tt.bucket, Storage: tt.storage}, jetstream.StreamConfig{Name: event.StreamName, MaxAge: tt.events})
		if len(ps) != tt.want {
			t.Errorf("%+v: %v", tt, ps)
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
	if _, err := NewPublisher(testContext(t), connect(t, n), PublisherOptions{}); !errors.Is(err, event.ErrNoJetStream) {
		t.Errorf("%v, want ErrNoJetStream", err)
	}
}
