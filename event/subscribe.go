package event

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// SubscribeOptions says which events, and who remembers how far one has read.
type SubscribeOptions struct {
	// Durable is the name of a consumer that the broker remembers; two that
	// use one name share the events. "" reads for itself alone and remembers
	// nothing: Ack, Nak and Term then do nothing.
	Durable string

	Tenant     string // "" for all
	ProviderID string // "" for all

	// NewOnly leaves out what is on the stream already. A durable consumer
	// that exists goes on where it was.
	NewOnly bool

	AckWait    time.Duration // then an event is delivered again; 30 s
	MaxDeliver int           // deliveries of one event; 0 is without end

	// Idle ends Events when nothing came for so long; 0 waits for ever.
	Idle time.Duration

	Bucket string // of the blobs; imap-mail
}

// Subscription reads events.
type Subscription struct {
	nc       *nats.Conn
	consumer jetstream.Consumer
	idle     time.Duration
	bucket   string
	durable  bool
}

// Subscribe opens a subscription. Stop ranging over Events, or end its
// context, to leave. Errors wrap ErrStream, ErrNoJetStream, ErrConfig or
// ErrUnreachable.
func Subscribe(ctx context.Context, nc *nats.Conn, o SubscribeOptions) (*Subscription, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	for name, token := range map[string]string{"tenant": o.Tenant, "provider id": o.ProviderID, "durable name": o.Durable} {
		if token != "" && (!ValidToken(token) || strings.ContainsAny(token, `/\`)) {
			return nil, fmt.Errorf("subscribe: %w: the %s %.128q cannot stand in a subject", ErrConfig, name, token)
		}
	}
	cfg := jetstream.ConsumerConfig{
		Durable:       o.Durable,
		FilterSubject: Subject(cmp.Or(o.Tenant, "*"), cmp.Or(o.ProviderID, "*"), "*"),
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       o.AckWait,
		MaxDeliver:    o.MaxDeliver,
	}
	if o.NewOnly {
		cfg.DeliverPolicy = jetstream.DeliverNewPolicy
	}
	if o.AckWait <= 0 {
		cfg.AckWait = 30 * time.Second
	}
	if o.MaxDeliver <= 0 {
		cfg.MaxDeliver = -1
	}
	s := &Subscription{nc: nc, idle: o.Idle, bucket: o.Bucket, durable: o.Durable != ""}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if s.durable {
		s.consumer, err = js.Consumer(ctx, StreamName, o.Durable)
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			s.consumer, err = js.CreateConsumer(ctx, StreamName, cfg)
		} else if err == nil {
			if has := s.consumer.CachedInfo().Config.FilterSubject; has != cfg.FilterSubject {
				return nil, fmt.Errorf("subscribe: %w: consumer %s reads %q, not %q: choose another name", ErrConfig, o.Durable, has, cfg.FilterSubject)
			}
		}
	} else {
		cfg.AckPolicy, cfg.AckWait, cfg.MaxDeliver = jetstream.AckNonePolicy, 0, 0
		cfg.InactiveThreshold = time.Minute
		s.consumer, err = js.CreateConsumer(ctx, StreamName, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe: stream %s: %w", StreamName, namedOpening(err))
	}
	return s, nil
}

// DecodeError is a message on the stream that is no event of ours.
type DecodeError struct {
	Subject string
	Seq     uint64
	Err     error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("message %d (%s) is no event: %v", e.Seq, e.Subject, e.Err)
}

func (e *DecodeError) Unwrap() error { return e.Err }

// Received is one event from the stream. A durable subscription gets it again
// unless it is answered by Ack, Nak or Term within AckWait.
type Received struct {
	Event     *Event // nil with a *DecodeError
	Data      []byte // its JSON as it stands on the stream, with what a later version may have added
	Subject   string
	Seq       uint64    // on the stream
	Published time.Time // when the stream took it
	Delivered int       // how often it was delivered, this time included
	Pending   uint64    // how many are behind it

	msg     jetstream.Msg
	durable bool
}

// Events yields events as they come, until ctx ends, Idle passes, or the
// consumer or the connection is gone, which is the last error it yields. A
// *DecodeError concerns one message only: the Received beside it can be
// answered, and the next follows.
func (s *Subscription) Events(ctx context.Context) iter.Seq2[*Received, error] {
	return func(yield func(*Received, error) bool) {
		messages, err := s.consumer.Messages(jetstream.PullMaxMessages(100), jetstream.WithMessagesErrOnMissingHeartbeat(false))
		if err != nil {
			yield(nil, fmt.Errorf("subscribe: %w", named(err)))
			return
		}
		defer s.leave(messages)
		for {
			next, cancel := ctx, func() {}
			if s.idle > 0 {
				next, cancel = context.WithTimeout(ctx, s.idle)
			}
			msg, err := messages.Next(jetstream.NextContext(next))
			cancel()
			if err != nil {
				if next.Err() == nil { // neither ctx nor Idle
					yield(nil, fmt.Errorf("subscribe: %w", named(err)))
				}
				return
			}
			received, err := receive(msg, s.durable)
			if !yield(received, err) {
				return
			}
		}
	}
}

// leave ends the pulling and hands back what was fetched ahead: another reader
// of a durable consumer would otherwise wait for AckWait to get it.
func (s *Subscription) leave(messages jetstream.MessagesContext) {
	if !s.durable || s.nc.IsClosed() {
		messages.Stop()
		return
	}
	messages.Drain()
	for {
		msg, err := messages.Next(jetstream.NextMaxWait(time.Second))
		if err != nil {
			messages.Stop()
			return
		}
		_ = msg.Nak()
	}
}

func receive(msg jetstream.Msg, durable bool) (*Received, error) {
	r := &Received{Subject: msg.Subject(), Data: msg.Data(), msg: msg, durable: durable}
	meta, err := msg.Metadata()
	if err != nil {
		return r, &DecodeError{Subject: r.Subject, Err: err}
	}
	r.Seq, r.Published = meta.Sequence.Stream, meta.Timestamp.UTC()
	r.Delivered, r.Pending = int(meta.NumDelivered), meta.NumPending
	ev := &Event{}
	if err := json.Unmarshal(msg.Data(), ev); err != nil {
		return r, &DecodeError{Subject: r.Subject, Seq: r.Seq, Err: err}
	}
	if ev.Type != Type {
		return r, &DecodeError{Subject: r.Subject, Seq: r.Seq, Err: fmt.Errorf("its eventType is %.64q", ev.Type)}
	}
	ev.Key = r.Subject[strings.LastIndexByte(r.Subject, '.')+1:]
	r.Event = ev
	return r, nil
}

// Ack says that the event is dealt with, and waits until the broker knows.
func (r *Received) Ack(ctx context.Context) error {
	if !r.durable {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if err := r.msg.DoubleAck(ctx); err != nil {
		return fmt.Errorf("ack %d: %w", r.Seq, named(err))
	}
	return nil
}

// Nak asks for the event again, after delay.
func (r *Received) Nak(delay time.Duration) error {
	if !r.durable {
		return nil
	}
	return r.msg.NakWithDelay(delay)
}

// Term says that the event can never be dealt with, and why.
func (r *Received) Term(reason string) error {
	if !r.durable {
		return nil
	}
	return r.msg.TermWithReason(reason)
}

// OpenBlob opens a blob that an event names; see Blobs.Get.
func (s *Subscription) OpenBlob(ctx context.Context, blob Blob) (io.ReadCloser, error) {
	blobs, err := OpenBlobs(ctx, s.nc, cmp.Or(blob.Bucket, s.bucket))
	if err != nil {
		return nil, err
	}
	r, _, err := blobs.Get(ctx, blob.Key)
	return r, err
}
