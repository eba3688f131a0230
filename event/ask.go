package event

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

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
