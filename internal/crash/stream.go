package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

// link is a connection to the broker, for as long as it lives.
type link struct {
	*nats.Conn
}

func connect(ctx context.Context, url string) (link, error) {
	if err := ctx.Err(); err != nil {
		return link{}, err
	}
	nc, err := nats.Connect(url, nats.Timeout(2*time.Second), nats.NoReconnect())
	return link{nc}, err
}

// errNoStream says that nothing was published yet.
var errNoStream = errors.New("no stream")

func (l link) stream(ctx context.Context) (jetstream.Stream, error) {
	js, err := jetstream.New(l.Conn)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	stream, err := js.Stream(ctx, "INBOUND_EMAIL")
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, errNoStream
	}
	return stream, err
}

// published is one event on the stream.
type published struct {
	subject string // of the mail, which names it
	key     string // event_key, the last of address
	address string // the subject on the stream

	attachments []event.Attachment
}

// read reads the events from a sequence on, and returns the sequence that
// comes next.
func (l link) read(ctx context.Context, from uint64) ([]published, uint64, error) {
	stream, err := l.stream(ctx)
	if errors.Is(err, errNoStream) {
		return nil, from, nil
	}
	if err != nil {
		return nil, from, err
	}
	last := stream.CachedInfo().State.LastSeq
	if last < from {
		return nil, from, nil
	}
	// nats.go has a bound of its own only for a context without a deadline, and an
	// ordered consumer has none at all: it asks for ever.
	asking, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	consumer, err := stream.CreateConsumer(asking, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: time.Minute, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return nil, from, err
	}
	var list []published
	var delivered uint64 // none of them may be lost on the way
	for from <= last {
		batch, err := consumer.Fetch(500, jetstream.FetchMaxWait(5*time.Second))
		if err != nil {
			return list, from, err
		}
		before := from
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return list, from, err
			}
			if delivered++; meta.Sequence.Consumer != delivered {
				return list, from, fmt.Errorf("the stream's event %d was not delivered", from)
			}
			var ev event.Event
			if err := json.Unmarshal(m.Data(), &ev); err != nil {
				return list, from, fmt.Errorf("event %d: %w", meta.Sequence.Stream, err)
			}
			mail := ev.Payload.EmailData
			list = append(list, published{mail.Subject, m.Subject()[strings.LastIndexByte(m.Subject(), '.')+1:], m.Subject(), mail.Attachments})
			from = meta.Sequence.Stream + 1
			if from > last {
				break
			}
		}
		if from == before {
			return list, from, fmt.Errorf("the stream gives nothing from sequence %d on, and has %d: %w", from, last, batch.Error())
		}
	}
	return list, from, nil
}
