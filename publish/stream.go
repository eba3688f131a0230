package publish

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

// StreamMaxAge is how long a stream made by EnsureStream keeps an event.
const StreamMaxAge = 14 * 24 * time.Hour

// EnsureStream makes the stream when it is absent: file storage, limits
// retention, 14 days, one replica. One that is there is never altered; an
// operator who wants replicas or other limits makes it first. The error wraps
// ErrNoJetStream or ErrStream.
func EnsureStream(ctx context.Context, js jetstream.JetStream) (jetstream.Stream, error) {
	stream, err := openStream(ctx, js, event.StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		cfg := jetstream.StreamConfig{
			Name:        event.StreamName,
			Description: "INBOUND_EMAIL_RECEIVED events of imapsync",
			Subjects:    []string{event.Subjects},
			Retention:   jetstream.LimitsPolicy,
			Storage:     jetstream.FileStorage,
			MaxAge:      StreamMaxAge,
			AllowDirect: true,
		}
		stream, err = ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.CreateStream(ctx, cfg) })
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // another process was first
			stream, err = openStream(ctx, js, event.StreamName)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", event.StreamName, streamError(err))
	}
	return stream, nil
}

// askTimeout bounds one question to the broker. nats.go has such a bound only
// for a context without a deadline of its own, and that of a pass is far away:
// an answer that died with its broker would hold the pass until then.
const askTimeout = 5 * time.Second

// ask puts one question to the broker.
func ask[T any](ctx context.Context, question func(ctx context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return question(ctx)
}

func openStream(ctx context.Context, js jetstream.JetStream, name string) (jetstream.Stream, error) {
	return ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, name) })
}

// lastOn returns the last message that a stream has on a subject.
func lastOn(ctx context.Context, stream jetstream.Stream, subject string) (*jetstream.RawStreamMsg, error) {
	return ask(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return stream.GetLastMsgForSubject(ctx, subject)
	})
}

// StoredKeys returns the keys of all events of a provider that the stream
// keeps. It costs the broker a listing of subjects, not of events. Errors wrap
// ErrStream, ErrUnreachable or ctx's.
func (p *Publisher) StoredKeys(ctx context.Context, tenant, provider string) (map[string]bool, error) {
	js, err := jetstream.New(p.nc)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", event.ErrStream, err)
	}
	stream, err := js.Stream(ctx, event.StreamName)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", event.ErrStream, err)
	}
	filter := event.Subject(tenant, provider, "*")
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(filter))
	if err != nil {
		return nil, fmt.Errorf("%w: list subjects: %w", event.ErrStream, err)
	}
	prefix := strings.TrimSuffix(filter, "*")
	keys := make(map[string]bool, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		keys[strings.TrimPrefix(subject, prefix)] = true
	}
	return keys, nil
}
