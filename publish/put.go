package publish

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"imapsync/event"
	"imapsync/parse"
)

// Put stores what open reads, size bytes whose SHA-256 is the end of key,
// unless the store has it and will keep it for as long as an event. It reports
// whether it stored anything. Open may be called several times, once a try.
// Memory is the same whatever the size. Several at once on one key are
// harmless, and one that is broken off leaves nothing that can be seen.
func (b *Blobs) Put(ctx context.Context, key string, size int64, open func() io.Reader) (stored bool, err error) {
	return b.put(ctx, put{key: key, size: size, open: open})
}

func (b *Blobs) put(ctx context.Context, p put) (stored bool, err error) {
	for try := 1; ; try++ {
		stored, err := b.putOnce(ctx, p)
		if err == nil {
			return stored, nil
		}
		verdict, named := judge(err)
		if errors.Is(err, event.ErrBlob) {
			verdict, named = failed, err
		}
		if verdict == failed || try == putTries {
			return false, fmt.Errorf("blob %s: %w", p.key, named)
		}
		if cause := sleep(ctx, backoff(try)); cause != nil {
			return false, fmt.Errorf("blob %s: %w: %w", p.key, named, cause)
		}
	}
}

func (b *Blobs) putOnce(ctx context.Context, p put) (bool, error) {
	sum := path.Base(p.key)
	info, err := b.Stat(ctx, p.key)
	if err != nil && !errors.Is(err, event.ErrBlob) {
		return false, err
	}
	if err == nil && info.Size == p.size && info.SHA256 == sum && !b.expires(info) {
		return false, nil
	}
	id := nuid.Next()
	chunks, err := b.putChunks(ctx, id, sum, p)
	if err == nil {
		err = b.putMeta(ctx, p.key, id, sum, p.size, chunks, info.Seq)
	}
	if err == nil {
		return true, nil
	}
	b.discard(ctx, id)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && (api.ErrorCode == codeWrongLastSequence || api.ErrorCode == codeSequenceInProcess) {
		// Someone else has put it: the next try finds it.
		return false, fmt.Errorf("%w: put by another: %s", event.ErrTimeout, api.Description)
	}
	return false, err
}

// expires reports whether a stored blob would not outlive an event of now.
func (b *Blobs) expires(info event.BlobInfo) bool {
	return b.refreshAfter > 0 && time.Since(info.Stored) > b.refreshAfter
}

// putChunks sends the bytes under a name that nothing refers to yet, and
// returns once all are confirmed. A chunk that fails ends it: sent again it
// would stand after later ones.
func (b *Blobs) putChunks(ctx context.Context, id, sum string, p put) (_ uint32, err error) {
	subject := b.chunkSubject(id)
	var window [chunkWindow]jetstream.PubAckFuture
	defer func() {
		if err != nil {
			settle(ctx, window[:]) // or a chunk on its way would escape the discarding
		}
	}()
	var total int64
	var n uint32
	r, h := p.open(), sha256.New()
	buf, _ := b.buffers.Get().(*[]byte)
	if buf == nil {
		buf = new(make([]byte, b.chunk))
	}
	defer b.buffers.Put(buf)
	for {
		piece, readErr := next(r, *buf)
		if len(piece) > 0 {
			slot := &window[n%chunkWindow]
			if err := confirmed(ctx, slot); err != nil {
				return 0, err
			}
			_, _ = h.Write(piece)
			total += int64(len(piece))
			msg := &nats.Msg{Subject: subject, Data: piece, Header: nats.Header{jetstream.ExpectedStreamHeader: {"OBJ_" + b.bucket}}}
			// The bytes are copied to the connection before this returns, and
			// without retries never read again: piece is free.
			future, err := b.js.PublishMsgAsync(msg, jetstream.WithRetryAttempts(0))
			if err != nil {
				return 0, err
			}
			*slot = future
			n++
		}
		if errors.Is(readErr, io.EOF) || errors.Is(readErr, io.ErrUnexpectedEOF) {
			break
		}
		if readErr != nil {
			return 0, fmt.Errorf("%w: read: %w", event.ErrBlob, readErr)
		}
	}
	for i := range window {
		if err := confirmed(ctx, &window[i]); err != nil {
			return 0, err
		}
	}
	if total != p.size {
		return 0, fmt.Errorf("%w: read %d bytes, want %d", event.ErrBlob, total, p.size)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != sum {
		return 0, fmt.Errorf("%w: read %d bytes with sha256 %s, want %s", event.ErrBlob, total, got, sum)
	}
	return n, nil
}

// next returns as much of r as buf holds, until io.EOF or io.ErrUnexpectedEOF:
// of a bytes.Buffer where it stands, of anything else in buf.
func next(r io.Reader, buf []byte) ([]byte, error) {
	if whole, ok := r.(*bytes.Buffer); ok {
		if whole.Len() == 0 {
			return nil, io.EOF
		}
		return whole.Next(len(buf)), nil
	}
	n, err := io.ReadFull(r, buf)
	return buf[:n], err
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
		return fmt.Errorf("%w: %w", event.ErrTimeout, context.Cause(ctx))
	}
}

// putMeta makes the object visible, if its metadata is still what Stat saw.
// The chunks of an object put anew stay until they expire, for whoever reads
// them now.
func (b *Blobs) putMeta(ctx context.Context, key, id, sum string, size int64, chunks uint32, seen uint64) error {
	digest, err := hex.DecodeString(sum)
	if err != nil || len(digest) != sha256.Size {
		return fmt.Errorf("%w: the key does not end in a sha256", event.ErrBlob)
	}
	data, err := json.Marshal(jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{Name: key, Opts: &jetstream.ObjectMetaOptions{ChunkSize: uint32(b.chunk)}},
		Bucket:     b.bucket, NUID: id, Size: uint64(size), Chunks: chunks,
		Digest: "SHA-256=" + base64.URLEncoding.EncodeToString(digest),
	})
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: b.MetaSubject(key), Data: data, Header: nats.Header{
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

// put is one blob to be stored.
type put struct {
	key  string
	size int64
	open func() io.Reader
}

// HasBlobs reports whether the event names blobs, which StoreBlobs is to store.
func (m *Mail) HasBlobs() bool {
	data := &m.Payload.EmailData
	named := func(a event.Attachment) bool { return a.Blob != nil }
	return data.RawMIME != nil || data.Body.TextBlob != nil || data.Body.HTMLBlob != nil || slices.ContainsFunc(data.Attachments, named)
}

// blobsOf lists the blobs an event names, with where their bytes are.
func blobsOf(ev *event.Event, m *parse.Message, raw []byte) ([]put, error) {
	data := &ev.Payload.EmailData
	var puts []put
	sources := m.Attachments // the event lists some of them, in the same order
	for _, a := range data.Attachments {
		if a.Blob == nil {
			continue
		}
		i := slices.IndexFunc(sources, func(s parse.Attachment) bool { return clipped(s.ID, idLength.bytes) == a.ID })
		if i < 0 {
			return nil, fmt.Errorf("%w: the message has no attachment %q", event.ErrBlob, a.ID)
		}
		puts = append(puts, put{a.Blob.Key, a.Size, sources[i].Open})
		sources = sources[i+1:]
	}
	text := func(blob *event.Blob, s string) {
		if blob != nil {
			puts = append(puts, put{blob.Key, blob.Size, func() io.Reader { return strings.NewReader(s) }})
		}
	}
	text(data.Body.TextBlob, m.Text)
	text(data.Body.HTMLBlob, m.HTML)
	if data.RawMIME != nil {
		blob := data.RawMIME.Blob
		puts = append(puts, put{blob.Key, blob.Size, func() io.Reader { return bytes.NewBuffer(raw) }})
	}
	return puts, nil
}
