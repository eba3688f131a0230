package event

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// What can go wrong, for the caller to tell apart with errors.Is. None of them
// carries a credential.
var (
	// ErrUnreachable: no server answered, or the connection is gone for good.
	ErrUnreachable = errors.New("nats is unreachable")
	// ErrConfig: a URL, a credentials file or a permission is wrong.
	ErrConfig = errors.New("nats is misconfigured")
	// ErrNoJetStream: the server answered, and has no JetStream for us.
	ErrNoJetStream = errors.New("nats has no jetstream")
	// ErrStream: the stream or bucket is missing, or cannot take our events.
	ErrStream = errors.New("the stream cannot be used")
	// ErrTimeout: the broker did not confirm in time. Whether it did what it was
	// asked is unknown; asking again is safe.
	ErrTimeout = errors.New("the broker did not confirm in time")
	// ErrBlob: a stored blob is missing, or is not what its name says.
	ErrBlob = errors.New("the blob cannot be used")
)

// namedOpening is named for a question that every server with JetStream answers,
// whichever has the stream: where none does, there is no JetStream.
func namedOpening(err error) error {
	if errors.Is(err, nats.ErrNoResponders) {
		return fmt.Errorf("%w: %w", ErrNoJetStream, err)
	}
	return named(err)
}

// named wraps what nats.go says to a request in the error that it means. Where nobody
// answers for a stream or a consumer, its servers are electing a leader.
func named(err error) error {
	switch {
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: %w", ErrNoJetStream, err)
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, jetstream.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining),
		errors.Is(err, nats.ErrTimeout), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, nats.ErrDisconnected), errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, nats.ErrReconnectBufExceeded):
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	case errors.Is(err, jetstream.ErrConsumerDeleted), errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w: %w", ErrStream, err)
	case errors.Is(err, context.Canceled):
		return err
	}
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.Code < 500 {
		return fmt.Errorf("%w: %w", ErrStream, err)
	}
	return fmt.Errorf("%w: %w", ErrTimeout, err) // a server that cannot just now: no leader, no room
}
