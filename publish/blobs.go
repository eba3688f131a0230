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

const (
	chunkBytes = 256 * kib
	// blobMargin is how much longer than an event a blob is kept. One found
	// again lives on from its first put, so it is put again when what is left
	// would be less than an event's life and a day.
	blobMargin = 7 * 24 * time.Hour
	blobSpare  = 24 * time.Hour
	// chunkTimeout is how long the broker may take to confirm a chunk.
	chunkTimeout = 10 * time.Second
)

// BlobOptions says which bucket to use and how.
type BlobOptions struct {
	Bucket   string        // imap-mail
	EventAge time.Duration // how long the stream keeps events; 14 days; below 0 is for ever
	Create   bool          // make the bucket when it is absent
	Make     MakeOptions   // how
}

// Blobs is the object store of attachments and raw mail, to put some there. It
// is safe for concurrent use.
type Blobs struct {
	*event.Blobs
	js           jetstream.JetStream
	stream       jetstream.Stream // of the bucket
	bucket       string
	chunk        int
	refreshAfter time.Duration // 0 is never
}

// OpenBlobs opens the bucket. It keeps objects for EventAge and 7 days when it
// is made here; one that is there is never altered. Errors wrap ErrStream,
// ErrNoJetStream or ErrUnreachable.
func OpenBlobs(ctx context.Context, nc *nats.Conn, o BlobOptions) (*Blobs, error) {
	b := &Blobs{bucket: cmp.Or(o.Bucket, event.DefaultBucket)}
	eventAge := cmp.Or(o.EventAge, StreamMaxAge)
	var err error
	if b.js, err = jetstream.New(nc, jetstream.WithDefaultTimeout(chunkTimeout), jetstream.WithPublishAsyncTimeout(chunkTimeout)); err != nil {
		return nil, err
	}
	b.stream, err = openStream(ctx, b.js, "OBJ_"+b.bucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) && o.Create {
		cfg := jetstream.ObjectStoreConfig{
			Bucket: b.bucket, Description: "attachments and raw mail of imapsync", Storage: jetstream.FileStorage,
		}
		if eventAge > 0 {
			cfg.TTL = eventAge + blobMargin
		}
		_, err = create(ctx, o.Make, "OBJ_"+b.bucket, func(ctx context.Context, replicas int) (jetstream.ObjectStore, error) {
			cfg.Replicas = replicas
			return b.js.CreateObjectStore(ctx, cfg)
		})
		if err == nil || errors.Is(err, jetstream.ErrBucketExists) { // by another process
			b.stream, err = openStream(ctx, b.js, "OBJ_"+b.bucket)
		}
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("bucket %s: %w: there is none: the first mail with an attachment makes it", b.bucket, event.ErrStream)
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", b.bucket, streamError(err))
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
	largest := nc.MaxPayload()
	if cfg.MaxMsgSize > 0 {
		largest = min(largest, int64(cfg.MaxMsgSize))
	}
	b.chunk = int(max(min(largest-headerReserve, chunkBytes), kib))
	return b, nil
}

// State tells what the bucket's stream looked like when it was opened.
func (b *Blobs) State() StreamState { return stateOf(b.stream.CachedInfo()) }

// Check looks whether a blob is there with all its bytes, without reading them.
// The error wraps ErrBlob when it is not.
func (b *Blobs) Check(ctx context.Context, blob *event.Blob) error {
	info, err := b.Stat(ctx, blob.Key)
	if err != nil {
		return err
	}
	chunks := b.ChunkSubject(info.NUID)
	held, err := ask(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) {
		return b.stream.Info(ctx, jetstream.WithSubjectFilter(chunks))
	})
	if err != nil {
		return fmt.Errorf("blob %s: %w", blob.Key, streamError(err))
	}
	if n := held.State.Subjects[chunks]; n < uint64(info.Chunks) {
		return fmt.Errorf("blob %s: %w: %d of its %d chunks are there", blob.Key, event.ErrBlob, n, info.Chunks)
	}
	return nil
}

// expires reports whether a stored blob would not outlive an event of now.
func (b *Blobs) expires(info event.BlobInfo) bool {
	return b.refreshAfter > 0 && time.Since(info.Stored) > b.refreshAfter
}
