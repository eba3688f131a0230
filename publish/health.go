package publish

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

// Health is what there is to know about the broker. Of a stream or a bucket
// that is absent there is nothing: the first publisher makes it.
type Health struct {
	Server     string // its version
	MaxPayload int64  // bytes
	Stream     bool   // it is there
	Bucket     bool
	Messages   uint64
	Bytes      uint64 // of the events kept
	StoreUsed  uint64 // bytes, by the account
	StoreLimit int64  // bytes, of the account; -1: the server's alone; 0: not known
	Problems   []Problem
}

// minPayload is what events aim to stay below, and what a broker must leave
// beside it for headers.
const minPayload = 256<<10 + 16<<10

// CheckHealth looks at the broker, and changes nothing. Errors wrap
// ErrUnreachable or ErrNoJetStream.
func CheckHealth(ctx context.Context, nc *nats.Conn) (Health, error) {
	h := Health{Server: nc.ConnectedServerVersion(), MaxPayload: nc.MaxPayload()}
	if h.MaxPayload < minPayload {
		h.Problems = append(h.Problems, Problem{
			What: fmt.Sprintf("max_payload is %d bytes: bodies of mail will be cut in events, and be whole only as blobs", h.MaxPayload),
			Fix:  "set max_payload: 1MB in nats-server.conf",
		})
	}
	js, err := jetstream.New(nc)
	if err != nil {
		return h, err
	}
	switch account, err := ask(ctx, js.AccountInfo); {
	case err == nil:
		h.StoreUsed, h.StoreLimit = account.Store, account.Limits.MaxStore
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && nc.IsConnected(): // or the stream does not answer either
		h.Problems = append(h.Problems, Problem{
			What: "how full the account's storage is nobody knows: there is no answer to $JS.API.INFO",
			Fix:  "let the user of NATS publish to $JS.API.INFO",
		})
	default:
		return h, streamError(err)
	}
	if h.StoreLimit > 0 {
		h.full(fmt.Sprintf("the account's storage (%d of %d bytes)", h.StoreUsed, h.StoreLimit), h.StoreUsed, h.StoreLimit, "", "")
	}
	stream, err := openStream(ctx, js, event.StreamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return h, nil
	}
	if err != nil {
		return h, streamError(err)
	}
	ours := stream.CachedInfo()
	h.Stream, h.Messages, h.Bytes = true, ours.State.Msgs, ours.State.Bytes
	h.Problems = append(h.Problems, StreamProblems(ours.Config)...)
	h.Problems = append(h.Problems, OneReplica(ours.Config)...)
	h.limits("stream "+event.StreamName, ours)
	bucket, err := openStream(ctx, js, "OBJ_"+event.DefaultBucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return h, nil
	}
	if err != nil {
		return h, streamError(err)
	}
	blobs := bucket.CachedInfo()
	h.Bucket = true
	h.Problems = append(h.Problems, BucketProblems(blobs.Config, ours.Config)...)
	h.Problems = append(h.Problems, OneReplica(blobs.Config)...)
	h.limits("bucket "+event.DefaultBucket, blobs)
	return h, nil
}

// limits warns of a stream that will soon refuse what comes. A ring refuses nothing.
func (h *Health) limits(what string, info *jetstream.StreamInfo) {
	cfg, state := info.Config, info.State
	if cfg.Discard != jetstream.DiscardNew {
		return
	}
	if cfg.MaxBytes > 0 {
		h.full(fmt.Sprintf("%s (%d of %d bytes)", what, state.Bytes, cfg.MaxBytes), state.Bytes, cfg.MaxBytes, cfg.Name, "bytes")
	}
	if cfg.MaxMsgs > 0 {
		h.full(fmt.Sprintf("%s (%d of %d messages)", what, state.Msgs, cfg.MaxMsgs), state.Msgs, cfg.MaxMsgs, cfg.Name, "msgs")
	}
}

// full warns of what is nearly full: a stream and which of its limits, or without one
// the account.
func (h *Health) full(what string, used uint64, limit int64, stream, of string) {
	p := Problem{Fix: "give the account more in nats-server.conf (max_file), or keep events for a shorter time"}
	if stream != "" {
		p = Problem{Code: "stream_limit", Stream: stream, Want: of, Fix: "give it more room"}
	}
	switch share := float64(used) / float64(limit); {
	case share >= 0.98:
		p.Fatal, p.What = true, what+" is full"
	case share >= 0.8:
		p.What = what + " is nearly full"
	default:
		return
	}
	h.Problems = append(h.Problems, p)
}
