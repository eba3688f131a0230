package event

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// askTimeout bounds one question to the broker. nats.go has such a bound only
// for a context without a deadline of its own, which may be far away: an answer
// that died with its broker would hold the reader until then.
const askTimeout = 5 * time.Second

// Blobs reads the JetStream object store of attachments and raw mail. Its layout
// is that of every NATS client's object store (ADR-20), so `nats object get`
// reads it. It is safe for concurrent use.
//
// It does not read through nats.go's ObjectStore, which waits for ever for a
// chunk that is missing and drops chunks under a slow reader.
type Blobs struct {
	bucket string
	stream jetstream.Stream
}

// OpenBlobs opens a bucket, "" for DefaultBucket. Errors wrap ErrStream,
// ErrNoJetStream or ErrUnreachable.
func OpenBlobs(ctx context.Context, nc *nats.Conn, bucket string) (*Blobs, error) {
	bucket = cmp.Or(bucket, DefaultBucket)
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	stream, err := js.Stream(ctx, "OBJ_"+bucket)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, fmt.Errorf("bucket %s: %w: there is none: the first mail with an attachment makes it", bucket, ErrStream)
	}
	if err != nil {
		return nil, fmt.Errorf("bucket %s: %w", bucket, namedOpening(err))
	}
	return &Blobs{bucket, stream}, nil
}

// BlobInfo is what is known of a stored blob.
type BlobInfo struct {
	Key    string
	Size   int64  // bytes
	SHA256 string // hex
	Stored time.Time
	Seq    uint64 // of its metadata on the bucket's stream; known of one that cannot be used, too

	NUID   string // under which its chunks stand
	Chunks uint32
}

// Stat looks a blob up. The error wraps ErrBlob when there is none.
func (b *Blobs) Stat(ctx context.Context, key string) (BlobInfo, error) {
	ask, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m, err := b.stream.GetLastMsgForSubject(ask, b.MetaSubject(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return BlobInfo{}, fmt.Errorf("blob %s: %w: not in bucket %s", key, ErrBlob, b.bucket)
	}
	if err != nil {
		return BlobInfo{}, fmt.Errorf("blob %s: %w", key, named(err))
	}
	var meta jetstream.ObjectInfo
	if err := json.Unmarshal(m.Data, &meta); err != nil {
		return BlobInfo{Seq: m.Sequence}, fmt.Errorf("blob %s: %w: metadata cannot be read", key, ErrBlob)
	}
	if meta.Deleted {
		return BlobInfo{Seq: m.Sequence}, fmt.Errorf("blob %s: %w: it was deleted", key, ErrBlob)
	}
	digest, err := jetstream.DecodeObjectDigest(meta.Digest)
	if err != nil || len(digest) != sha256.Size {
		return BlobInfo{Seq: m.Sequence}, fmt.Errorf("blob %s: %w: no digest", key, ErrBlob)
	}
	return BlobInfo{
		Key: key, Size: int64(meta.Size), SHA256: hex.EncodeToString(digest), Stored: m.Time, Seq: m.Sequence, NUID: meta.NUID, Chunks: meta.Chunks,
	}, nil
}

// MetaSubject is the subject of a blob's metadata, which makes it visible.
func (b *Blobs) MetaSubject(key string) string {
	return "$O." + b.bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(key))
}

// ChunkSubject is the subject of the chunks of an object, by its NUID.
func (b *Blobs) ChunkSubject(nuid string) string { return "$O." + b.bucket + ".C." + nuid }

// Get opens a blob. Reading it ends with an error that wraps ErrBlob when the
// bytes are not those its name promises; until io.EOF they are not proven. The
// reader asks for one chunk at a time, bounded by ctx.
func (b *Blobs) Get(ctx context.Context, key string) (io.ReadCloser, BlobInfo, error) {
	info, err := b.Stat(ctx, key)
	if err != nil {
		return nil, BlobInfo{}, err
	}
	return &blobReader{ctx: ctx, b: b, info: info, hash: sha256.New()}, info, nil
}

type blobReader struct {
	ctx  context.Context // of Get: an io.Reader has no other way to be bounded
	b    *Blobs
	info BlobInfo
	hash hash.Hash
	read int64
	seq  uint64 // of the last chunk
	rest []byte
	err  error
}

func (r *blobReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.next()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *blobReader) next() {
	if r.read == r.info.Size {
		r.err = io.EOF
		if got := hex.EncodeToString(r.hash.Sum(nil)); got != r.info.SHA256 {
			r.err = fmt.Errorf("blob %s: %w: sha256 is %s", r.info.Key, ErrBlob, got)
		}
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, askTimeout)
	defer cancel()
	m, err := r.b.stream.GetMsg(ctx, r.seq+1, jetstream.WithGetMsgSubject(r.b.ChunkSubject(r.info.NUID)))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		r.err = fmt.Errorf("blob %s: %w: it ends after %d of %d bytes", r.info.Key, ErrBlob, r.read, r.info.Size)
	case err != nil:
		r.err = fmt.Errorf("blob %s: %w", r.info.Key, named(err))
	case r.read+int64(len(m.Data)) > r.info.Size:
		r.err = fmt.Errorf("blob %s: %w: it is longer than %d bytes", r.info.Key, ErrBlob, r.info.Size)
	default:
		_, _ = r.hash.Write(m.Data)
		r.read += int64(len(m.Data))
		r.seq, r.rest = m.Sequence, m.Data
	}
}

// Close ends the reading.
func (r *blobReader) Close() error {
	if r.err == nil {
		r.err, r.rest = errors.New("blob "+r.info.Key+": read after close"), nil
	}
	return nil
}
