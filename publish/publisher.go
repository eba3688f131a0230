// Package publish makes the event of a mail and puts it on the JetStream stream,
// its blobs into the object store before it. It knows no database, and may be
// used from outside to publish the same events:
//
//	nc, err := publish.Connect(ctx, publish.ConnectOptions{URL: "nats://127.0.0.1:4222"})
//	pub, err := publish.NewPublisher(ctx, nc, publish.PublisherOptions{})
//	mail := publish.New(msg, publish.Delivery{Tenant: …, ProviderID: …, Raw: raw}, pub.Limits())
//	err = pub.StoreBlobs(ctx, mail)          // attachments and raw mail, before the event
//	ack, err := pub.Publish(ctx, mail)        // returns once it is on its way
//	res, err := ack.Wait(ctx)                 // res.Seq, res.Duplicate
//
// Invariants: an event is published once for as long as the stream keeps it,
// however often Publish is called; the blobs an event names are stored before
// it; no mail makes an event that the stream refuses, whatever is too long is cut
// and leaves a defect; every call is bounded by its context.
package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/semaphore"

	"imapsync/event"
)

// PublisherOptions says how to publish. Zero fields take the defaults named.
type PublisherOptions struct {
	Limits      Limits        // EventBytes is lowered to what the broker takes
	MaxPending  int           // events on their way at once; 512
	AckTimeout  time.Duration // for one confirmation, then it is published again; 5 s
	StreamGrace time.Duration // how long a stream may be without a leader; 5 s
	Patience    time.Duration // how long the broker may answer no publish at all; 15 s
	Make        MakeOptions   // of a stream or a bucket that is absent
	Logger      *slog.Logger  // warnings about the stream; nil for none
}

// DefaultPatience is that of PublisherOptions.
const DefaultPatience = 15 * time.Second

// pendingBytes bounds the events on their way at once, in bytes.
const pendingBytes = 32 * mib

// Publisher publishes events and their blobs. It is safe for concurrent use.
type Publisher struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	stream jetstream.Stream
	limits Limits
	grace  time.Duration
	make   MakeOptions
	log    *slog.Logger

	patience time.Duration
	heard    atomic.Int64 // when the broker last answered a publish, in Unix nanoseconds

	window    *semaphore.Weighted // bytes on their way; each event counts as minWeight at least
	minWeight int64

	sending sync.Mutex          // never held while nats.go is called, which calls arrived under its own
	onWay   map[*nats.Msg]int64 // its weight in the window, until it is given back

	mu    sync.Mutex
	blobs *Blobs // opened at first use

	seen     sync.Mutex
	state    StreamState // as it was last looked at, and what was acknowledged since
	lookedAt uint64      // the connection's reconnects at that time
}

// NewPublisher makes sure of the stream and returns a Publisher on it. The
// bucket is made when the first blob is stored. Errors wrap ErrNoJetStream,
// ErrStream, ErrConfig or ErrUnreachable, or are those of Make.May.
func NewPublisher(ctx context.Context, nc *nats.Conn, o PublisherOptions) (*Publisher, error) {
	p := &Publisher{nc: nc, grace: orDuration(o.StreamGrace, 5*time.Second), patience: orDuration(o.Patience, DefaultPatience), make: o.Make, log: o.Logger}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	if o.MaxPending <= 0 {
		o.MaxPending = 512
	}
	p.onWay = make(map[*nats.Msg]int64)
	p.window = semaphore.NewWeighted(pendingBytes)
	p.minWeight = max(pendingBytes/int64(o.MaxPending), 1)
	js, err := jetstream.New(nc,
		jetstream.WithPublishAsyncTimeout(orDuration(o.AckTimeout, 5*time.Second)),
		jetstream.WithPublishAsyncMaxPending(2*o.MaxPending), // the window is the bound, this is never met
		jetstream.WithPublishAsyncAckHandler(func(_ jetstream.JetStream, m *nats.Msg, ack *jetstream.PubAck) {
			p.heard.Store(time.Now().UnixNano())
			p.reached(ack.Sequence)
			p.arrived(m)
			m.Data = nil // stored: no need to keep it until the caller asks
		}),
		jetstream.WithPublishAsyncErrHandler(func(_ jetstream.JetStream, m *nats.Msg, err error) {
			if _, ok := errors.AsType[*jetstream.APIError](err); ok {
				p.heard.Store(time.Now().UnixNano())
			}
			p.arrived(m)
		}))
	if err != nil {
		return nil, err
	}
	p.js = js
	if p.stream, err = EnsureStream(ctx, js, o.Make); err != nil {
		return nil, err
	}
	p.remember(p.stream.CachedInfo())
	cfg := p.stream.CachedInfo().Config
	for _, problem := range StreamProblems(cfg) {
		if problem.Fatal {
			return nil, fmt.Errorf("%w: %s", event.ErrStream, problem)
		}
		level := slog.LevelWarn
		if problem.Loses {
			level = slog.LevelError
		}
		p.log.Log(ctx, level, "stream_unfit", "code", problem.Code, "problem", problem.What, "fix", problem.Fix)
	}
	p.limits = o.Limits
	fits := eventBytes(nc.MaxPayload(), int64(cfg.MaxMsgSize))
	if fits < minEventBytes {
		return nil, fmt.Errorf("%w: the broker takes messages of %d bytes only: set max_payload=%d or more", event.ErrConfig, nc.MaxPayload(), minMessage)
	}
	if p.limits.EventBytes <= 0 || p.limits.EventBytes > fits {
		p.limits.EventBytes = fits
	}
	p.limits = p.limits.withDefaults()
	return p, nil
}

func orDuration(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// Limits returns the limits for New, under which no event is too large for
// this broker.
func (p *Publisher) Limits() Limits { return p.limits }

// Publish sends an event and returns once it is on its way, blocking while there
// are MaxPending others, or 32 MiB of them. Whether it is stored, Wait says. An
// event may be published several times. Errors wrap ErrConfig, ErrTooLarge,
// ErrUnreachable or ctx's.
func (p *Publisher) Publish(ctx context.Context, m *Mail) (*Ack, error) {
	msg, err := m.message()
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	if n := len(msg.Data); n > p.limits.EventBytes {
		return nil, fmt.Errorf("publish %s: %w: %d bytes, at most %d", m.key, ErrTooLarge, n, p.limits.EventBytes)
	}
	a := &Ack{p: p, msg: msg, began: time.Now()}
	if err := a.send(ctx); err != nil {
		return nil, fmt.Errorf("publish %s: %w", m.key, err)
	}
	return a, nil
}

// arrived gives a send's room in the window back, once: a connection that
// breaks fails what is on its way, and the publish under way fails beside it.
func (p *Publisher) arrived(m *nats.Msg) {
	p.sending.Lock()
	weight, ok := p.onWay[m]
	delete(p.onWay, m)
	p.sending.Unlock()
	if ok {
		p.window.Release(weight)
	}
}

func (p *Publisher) weight(m *nats.Msg) int64 {
	return min(max(int64(len(m.Data)), p.minWeight), pendingBytes)
}

// StoreBlobs stores the blobs that an event names and the store lacks: its
// attachments, bodies that were cut, the raw mail, which must be as New was given
// it. It comes before Publish. It uses the same memory whatever the size.
func (p *Publisher) StoreBlobs(ctx context.Context, m *Mail) error {
	if !m.HasBlobs() {
		return nil
	}
	blobs, err := p.Blobs(ctx)
	if err != nil {
		return err
	}
	for _, put := range m.puts {
		put.lost = m.Lost
		if _, err := blobs.put(ctx, put); err != nil {
			return err
		}
	}
	return nil
}

// Blobs returns the object store, which is made when it is absent and Make.May
// lets it.
func (p *Publisher) Blobs(ctx context.Context) (*Blobs, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.blobs == nil {
		age := p.stream.CachedInfo().Config.MaxAge
		if age == 0 {
			age = -1 // the stream keeps events for ever
		}
		blobs, err := OpenBlobs(ctx, p.nc, BlobOptions{Bucket: p.limits.Bucket, EventAge: age, Create: true, Make: p.make})
		if err != nil {
			return nil, err
		}
		p.blobs = blobs
	}
	return p.blobs, nil
}

// backoff returns how long to wait before another try: from 50 ms, doubling up
// to 2 s, with a quarter more or less so that many do not come back as one.
func backoff(try int) time.Duration {
	d := min(50*time.Millisecond<<min(try-1, 10), 2*time.Second)
	return d*3/4 + rand.N(d/2)
}

// sleep waits for d, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
