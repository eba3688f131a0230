package event

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"imapsync/parse"
)

const (
	chunkBytes = 128 * kib
	// chunkWindow bounds the chunks of one blob on their way at once.
	chunkWindow = 16
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
	Logger   *slog.Logger
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
	b.stream, err = b.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) && o.Create {
		cfg := jetstream.ObjectStoreConfig{
			Bucket: b.bucket, Description: "attachments and raw mail of imapsync", Storage: jetstream.FileStorage,
		}
		if eventAge > 0 {
			cfg.TTL = eventAge + blobMargin
		}
		if _, err = b.js.CreateObjectStore(ctx, cfg); err != nil && !errors.Is(err, jetstream.ErrBucketExists) {
			return fail(err)
		}
		b.stream, err = b.js.Stream(ctx, name)
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
	m, err := b.stream.GetLastMsgForSubject(ctx, b.metaSubject(key))
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

// Put stores what open reads, size bytes whose SHA-256 is the end of key,
// unless the store has it and will keep it for as long as an event. It reports
// whether it stored anything. Open may be called several times, once a try.
// Memory is the same whatever the size. Several at once on one key are
// harmless, and one that is broken off leaves nothing that can be seen.
func (b *Blobs) Put(ctx context.Context, key string, size int64, open func() io.Reader) (stored bool, err error) {
	for try := 1; ; try++ {
		stored, err := b.putOnce(ctx, key, size, open)
		if err == nil {
			return stored, nil
		}
		verdict, named := judge(err)
		if errors.Is(err, ErrBlob) {
			verdict, named = failed, err
		}
		if verdict == failed || try == putTries {
			return false, fmt.Errorf("blob %s: %w", key, named)
		}
		if cause := sleep(ctx, backoff(try)); cause != nil {
			return false, fmt.Errorf("blob %s: %w: %w", key, named, cause)
		}
	}
}

func (b *Blobs) putOnce(ctx context.Context, key string, size int64, open func() io.Reader) (bool, error) {
	sum := path.Base(key)
	info, err := b.Stat(ctx, key)
	if err != nil && !errors.Is(err, ErrBlob) {
		return false, err
	}
	if err == nil && info.Size == size && info.SHA256 == sum && !b.expires(info) {
		return false, nil
	}
	id := nuid.Next()
	chunks, err := b.putChunks(ctx, id, sum, size, open())
	if err == nil {
		err = b.putMeta(ctx, key, id, sum, size, chunks, info.seq)
	}
	if err == nil {
		return true, nil
	}
	b.discard(ctx, id)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && (api.ErrorCode == codeWrongLastSequence || api.ErrorCode == codeSequenceInProcess) {
		// Someone else has put it: the next try finds it.
		return false, fmt.Errorf("%w: put by another: %s", ErrTimeout, api.Description)
	}
	return false, err
}

// expires reports whether a stored blob would not outlive an event of now.
func (b *Blobs) expires(info BlobInfo) bool {
	return b.refreshAfter > 0 && time.Since(info.Stored) > b.refreshAfter
}

// putChunks sends the bytes under a name that nothing refers to yet, and
// returns once all are confirmed. A chunk that fails ends it: sent again it
// would stand after later ones.
func (b *Blobs) putChunks(ctx context.Context, id, sum string, size int64, r io.Reader) (_ uint32, err error) {
	subject := b.chunkSubject(id)
	var window [chunkWindow]jetstream.PubAckFuture
	defer func() {
		if err != nil {
			settle(ctx, window[:]) // or a chunk on its way would escape the discarding
		}
	}()
	var total int64
	var n uint32
	h := sha256.New()
	buf := make([]byte, min(int64(b.chunk), max(size, 0)+1))
	for {
		length, readErr := io.ReadFull(r, buf)
		if length > 0 {
			slot := &window[n%chunkWindow]
			if err := confirmed(ctx, slot); err != nil {
				return 0, err
			}
			_, _ = h.Write(buf[:length])
			total += int64(length)
			msg := &nats.Msg{Subject: subject, Data: buf[:length], Header: nats.Header{jetstream.ExpectedStreamHeader: {"OBJ_" + b.bucket}}}
			// The bytes are copied to the connection before this returns, and
			// without retries never read again: buf is free.
			future, err := b.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
			if err != nil {
				return 0, err
			}
			*slot = future
			n++
		}
		if readErr == io.EOF || readErr == io.ErrUnexpectedEOF {
			break
		}
		if readErr != nil {
			return 0, fmt.Errorf("%w: read: %w", ErrBlob, readErr)
		}
	}
	for i := range window {
		if err := confirmed(ctx, &window[i]); err != nil {
			return 0, err
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); total != size || got != sum {
		return 0, fmt.Errorf("%w: read %d bytes with sha256 %s, want %d with %s", ErrBlob, total, got, size, sum)
	}
	return n, nil
}

// settle waits until nothing is on its way any more, a second at most.
func settle(ctx context.Context, window []jetstream.PubAckFuture) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	for i := range window {
		_ = confirmed(ctx, &window[i])
	}
}

// confirmed waits until a chunk is stored, and empties its slot; an empty one
// is no chunk.
func confirmed(ctx context.Context, slot *jetstream.PubAckFuture) error {
	future := *slot
	if future == nil {
		return nil
	}
	*slot = nil
	select {
	case <-future.Ok():
		return nil
	case err := <-future.Err():
		return err
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrTimeout, context.Cause(ctx))
	}
}

// putMeta makes the object visible, if its metadata is still what Stat saw.
// The chunks of an object put anew stay until they expire, for whoever reads
// them now.
func (b *Blobs) putMeta(ctx context.Context, key, id, sum string, size int64, chunks uint32, seen uint64) error {
	digest, err := hex.DecodeString(sum)
	if err != nil || len(digest) != sha256.Size {
		return fmt.Errorf("%w: the key does not end in a sha256", ErrBlob)
	}
	data, err := json.Marshal(jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{Name: key, Opts: &jetstream.ObjectMetaOptions{ChunkSize: uint32(b.chunk)}},
		Bucket:     b.bucket, NUID: id, Size: uint64(size), Chunks: chunks,
		Digest: "SHA-256=" + base64.URLEncoding.EncodeToString(digest),
	})
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: b.metaSubject(key), Data: data, Header: nats.Header{
		jetstream.MsgRollup:                 {jetstream.MsgRollupSubject},
		jetstream.ExpectedStreamHeader:      {"OBJ_" + b.bucket},
		jetstream.ExpectedLastSubjSeqHeader: {strconv.FormatUint(seen, 10)},
	}}
	future, err := b.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
	if err != nil {
		return err
	}
	return confirmed(ctx, &future)
}

// discard takes away chunks that nothing refers to. When that fails too, they
// expire with the bucket.
func (b *Blobs) discard(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	_ = b.stream.Purge(ctx, jetstream.WithPurgeSubject(b.chunkSubject(id)))
}

func (b *Blobs) metaSubject(key string) string {
	return "$O." + b.bucket + ".M." + base64.URLEncoding.EncodeToString([]byte(key))
}

func (b *Blobs) chunkSubject(id string) string { return "$O." + b.bucket + ".C." + id }

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
	m, err := r.b.stream.GetMsg(r.ctx, r.seq+1, jetstream.WithGetMsgSubject(r.b.chunkSubject(r.info.nuid)))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		r.err = fmt.Errorf("blob %s: %w: it ends after %d of %d bytes", r.info.Key, ErrBlob, r.read, r.info.Size)
	case err != nil:
		r.err = fmt.Errorf("blob %s: %w", r.info.Key, streamError(err))
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

// put is one blob that an event names.
type put struct {
	key  string
	size int64
	open func() io.Reader
}

// blobsOf lists the blobs an event names, with where their bytes are.
func blobsOf(ev *Event, m *parse.Message, raw []byte) ([]put, error) {
	data := &ev.Payload.EmailData
	var puts []put
	sources := m.Attachments // the event lists some of them, in the same order
	for _, a := range data.Attachments {
		if a.Blob == nil {
			continue
		}
		i := slices.IndexFunc(sources, func(s parse.Attachment) bool { return clipped(s.ID, maxIDBytes) == a.ID })
		if i < 0 {
			return nil, fmt.Errorf("%w: the message has no attachment %q", ErrBlob, a.ID)
		}
		puts = append(puts, put{a.Blob.Key, a.Size, sources[i].Open})
		sources = sources[i+1:]
	}
	text := func(blob *Blob, s string) {
		if blob != nil {
			puts = append(puts, put{blob.Key, blob.Size, func() io.Reader { return strings.NewReader(s) }})
		}
	}
	text(data.Body.TextBlob, m.Text)
	text(data.Body.HTMLBlob, m.HTML)
	if data.RawMIME != nil {
		blob := data.RawMIME.Blob
		puts = append(puts, put{blob.Key, blob.Size, func() io.Reader { return bytes.NewReader(raw) }})
	}
	return puts, nil
}
