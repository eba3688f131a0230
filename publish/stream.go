package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

// StreamMaxAge is how long a stream made by EnsureStream keeps an event.
const StreamMaxAge = 14 * 24 * time.Hour

// MakeOptions say how a stream or a bucket is made that is absent. One that is
// there is never altered; an operator who wants other limits makes it first.
type MakeOptions struct {
	// Replicas is how many copies there are; 0 is three, and one where the
	// server is not clustered.
	Replicas int
	// May is asked before anything is made, by the name of its stream: a bucket's
	// is OBJ_ and its own. An error keeps it from being made, and is returned. nil
	// makes whatever is absent.
	May func(ctx context.Context, stream string) error
}

// clusterReplicas is of how many servers one may be lost without losing what the
// others have acknowledged.
const clusterReplicas = 3

// create makes a stream or a bucket, with as many replicas as there may be.
func create[T any](ctx context.Context, o MakeOptions, stream string, with func(ctx context.Context, replicas int) (T, error)) (made T, err error) {
	if o.May != nil {
		if err := o.May(ctx, stream); err != nil {
			return made, err
		}
	}
	replicas := cmp.Or(o.Replicas, clusterReplicas)
	attempt := func(ctx context.Context) (T, error) { return with(ctx, replicas) }
	made, err = ask(ctx, attempt)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == codeNoReplicas && o.Replicas == 0 {
		replicas = 1
		made, err = ask(ctx, attempt)
	}
	return made, err
}

// EnsureStream makes the stream when it is absent: file storage, limits
// retention, 14 days. The error wraps ErrNoJetStream or ErrStream, or is that of
// May.
func EnsureStream(ctx context.Context, js jetstream.JetStream, o MakeOptions) (jetstream.Stream, error) {
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
		stream, err = create(ctx, o, cfg.Name, func(ctx context.Context, replicas int) (jetstream.Stream, error) {
			cfg.Replicas = replicas
			return js.CreateStream(ctx, cfg)
		})
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
	stream, err := ask(ctx, func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, name) })
	if errors.Is(err, nats.ErrNoResponders) { // every server that has JetStream answers, whichever has the stream
		err = fmt.Errorf("%w: %w", jetstream.ErrJetStreamNotEnabled, err)
	}
	return stream, err
}

// lastOn returns the last message that a stream has on a subject.
func lastOn(ctx context.Context, stream jetstream.Stream, subject string) (*jetstream.RawStreamMsg, error) {
	return ask(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return stream.GetLastMsgForSubject(ctx, subject)
	})
}
