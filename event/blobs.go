package event

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
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
	nc           *nats.Conn
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
	b := &Blobs{nc: nc, bucket: or(o.Bucket, defaultBucket)}
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
		return nil, fmt.Errorf("bucket %s: %w: there is none: the first mail with an attachment makes it", b.bucket, ErrStream)
	}
	if err != nil {
		return fail(err)
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

// BlobInfo is what is known of a stored blob.
type BlobInfo struct {
	Key    string
	Size   int64  // bytes
	SHA256 string // hex
	Stored time.Time

	nuid string
	seq  uint64 // of the metadata, for the condition of the next
}

// Stat looks a blob up. The error wraps ErrBlob when there is none.
func (b *Blobs) Stat(ctx context.Context, key string) (BlobInfo, error) {
	m, err := lastOn(ctx, b.stream, b.metaSubject(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return BlobInfo{}, fmt.Errorf("blob %s: %w: not in bucket %s", key, ErrBlob, b.bucket)
	}
	if err != nil {
		return BlobInfo{}, fmt.Errorf("blob %s: %w", key, streamError(err))
	}
	var meta jetstream.ObjectInfo
	if err := json.Unmarshal(m.Data, &meta); err != nil {
		return BlobInfo{seq: m.Sequence}, fmt.Errorf("blob %s: %w: metadata cannot be read", key, ErrBlob)
	}
	info := BlobInfo{Key: key, Size: int64(meta.Size), Stored: m.Time, nuid: meta.NUID, seq: m.Sequence}
	if meta.Deleted {
		return BlobInfo{seq: m.Sequence}, fmt.Errorf("blob %s: %w: it was deleted", key, ErrBlob)
	}
	digest, err := jetstream.DecodeObjectDigest(meta.Digest)
	if err != nil || len(digest) != sha256.Size {
		return BlobInfo{seq: m.Sequence}, fmt.Errorf("blob %s: %w: no digest", key, ErrBlob)
	}
	info.SHA256 = hex.EncodeToString(digest)
	return info, nil
}

func (b *Blobs) metaSubject(key string) string {
	return "$O." + b.bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(key))
}

func (b *Blobs) chunkSubject(id string) string { return "$O." + b.bucket + ".C." + id }
