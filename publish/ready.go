package publish

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

// Connected returns an error of ErrUnreachable while there is no connection to the
// broker. It asks nobody.
func (p *Publisher) Connected() error {
	if p.nc.IsConnected() {
		return nil
	}
	return fmt.Errorf("nats: %w: the connection is %s", event.ErrUnreachable, p.nc.Status())
}

// Ready returns why nothing could be published now: the broker does not answer, the
// stream is not there, or it is full. Errors wrap ErrUnreachable, ErrStream,
// ErrNoJetStream or ErrStreamFull.
func (p *Publisher) Ready(ctx context.Context) error {
	if err := p.Connected(); err != nil {
		return err
	}
	stream, err := openStream(ctx, p.js, event.StreamName)
	if err != nil {
		return fmt.Errorf("stream %s: %w", event.StreamName, streamError(err))
	}
	return hasRoom(stream.CachedInfo())
}

// HasRoom is Ready by what the broker said when the publisher was made.
func (p *Publisher) HasRoom() error { return hasRoom(p.stream.CachedInfo()) }

// hasRoom returns an error of ErrStreamFull for a stream that refuses the next event.
func hasRoom(info *jetstream.StreamInfo) error {
	cfg, state := info.Config, info.State
	full := cfg.MaxMsgs > 0 && state.Msgs >= uint64(cfg.MaxMsgs) ||
		cfg.MaxBytes > 0 && state.Bytes+minEventBytes > uint64(cfg.MaxBytes)
	if cfg.Discard != jetstream.DiscardNew || !full {
		return nil
	}
	return fmt.Errorf("stream %s: %w: %d events, %d bytes", event.StreamName, ErrStreamFull, state.Msgs, state.Bytes)
}
