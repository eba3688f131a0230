package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

const (
	chunkBytes = 256 * kib
	// chunkWindow bounds the chunks of one blob on their way at once.
	chunkWindow = 8
	// blobMargin is how much longer than an event a blob is kept. One found
	// again lives on from its first put, so it is put again when what is left
	// would be less than an event's life and a day.
	blobMargin = 7 * 24 * time.Hour
	blobSpare  = 24 * time.Hour
	putTries   = 8 // five seconds in all
)

// BlobOptions says which bucket to use and how.
type BlobOptions struct {
	Bucket   string        // imap-mail
	EventAge time.Duration // how long the stream keeps events; 14 days; below 0 is for ever
	Create   bool          // make the bucket when it is absent
}

// Blobs is the JetStream object store of attachments and raw mail. Its layout
// is that of every NATS client's object store (ADR-20), so `nats object get`
// reads it. It is safe for concurrent use.
//
// It does not put through nats.go's ObjectStore: that writes the metadata
// before the chunks are confirmed, repeats a chunk from a buffer it has
// overwritten, and takes the chunks from under whoever reads. Here the
// metadata, which makes an object visible, is written last and on condition
// that nobody else has written it meanwhile.
type Blobs struct {
	*event.Blobs
	js           jetstream.JetStream
	stream       jetstream.Stream
	bucket       string
	chunk        int
	refreshAfter time.Duration // 0 is never
	buffers      sync.Pool     // of *[]byte, each a chunk
}

// OpenBlobs opens the bucket. It keeps objects for EventAge and 7 days when it
// is made here; one that is there is never altered. Errors wrap ErrStream,
// ErrNoJetStream or ErrUnreachable.
func OpenBlobs(ctx context.Context, nc *nats.Conn, o BlobOptions) (*Blobs, error) {
	b := &Blobs{bucket: cmp.Or(o.Bucket, event.DefaultBucket)}
	fail := func(err error) (*Blobs, error) {
		return nil, fmt.Errorf("bucket %s: %w", b.bucket, streamError(err))
	}
	var err error
	b.js, err = jetstream.New(nc, jetstream.WithPublishAsyncTimeout(10*time.Second))
	if err != nil {
		return nil, err
	}
	eventAge := o.EventAge
	if eventAge == 0 {
		eventAge = StreamMaxAge
	}
	name := "OBJ_" + b.bucket
	b.stream, err = openStream(ctx, b.js, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && o.Create {
		cfg := jetstream.ObjectStoreConfig{
			Bucket: b.bucket, Description: "attachments and raw mail of imapsync", Storage: jetstream.FileStorage,
		}
		if eventAge > 0 {
			cfg.TTL = eventAge + blobMargin
		}
		_, err = ask(ctx, func(ctx context.Context) (jetstream.ObjectStore, error) { return b.js.CreateObjectStore(ctx, cfg) })
		if err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
			return fail(err)
		}
		b.stream, err = openStream(ctx, b.js, name)
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("bucket %s: %w: there is none: the first mail with an attachment makes it", b.bucket, event.ErrStream)
	}
	if err != nil {
		return fail(err)
	}
	if b.Blobs, err = event.OpenBlobs(ctx, nc, b.bucket); err != nil {
		return nil, err
	}
	cfg := b.stream.CachedInfo().Config
	if cfg.MaxAge > 0 {
		if eventAge < 0 {
			eventAge = cfg.MaxAge // no bucket outlives such events: refresh as often as is sane
		}
		b.refreshAfter = max(cfg.MaxAge-eventAge-blobSpare, cfg.MaxAge/24)
	}
	b.chunk = chunkBytes
	if limit := min(nc.MaxPayload(), noLimit(int64(cfg.MaxMsgSize))) - headerReserve; limit < int64(b.chunk) {
		b.chunk = int(max(limit, kib))
	}
	return b, nil
}

func noLimit(n int64) int64 {
	if n <= 0 {
		return 1 << 62
	}
	return n
}

func (b *Blobs) chunkSubject(id string) string { return "$O." + b.bucket + ".C." + id }
