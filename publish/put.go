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
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"imapsync/event"
	"imapsync/parse"
)

const (
	// putTries is how often a put is tried: five seconds in all.
	putTries = 8
	// chunkWindow is how many chunks of one blob may be on their way at once.
	chunkWindow = 8
)

// put is one blob to be stored.
type put struct {
	key    string
	size   int64
	open   func() io.Reader
	summed bool // the SHA-256 in key was made of these very bytes, by New: once is enough
	lost   bool // the stream or the bucket has lost something: what is there may not be whole
}

// Put stores what open reads, size bytes whose SHA-256 is the end of key,
// unless the store has it and will keep it for as long as an event. It reports
// whether it stored anything. Open may be called several times, once a try.
// Memory is the same whatever the size. Several at once on one key are
// harmless, and one that is broken off leaves nothing that can be seen.
//
// It does not put through nats.go's ObjectStore, which makes an object visible
// before its chunks are confirmed, may send a chunk again behind later ones, has
// all of them on their way at once, and takes the chunks of an object that it
// replaces from under whoever reads them.
func (b *Blobs) Put(ctx context.Context, key string, size int64, open func() io.Reader) (stored bool, err error) {
	return b.put(ctx, put{key: key, size: size, open: open})
}

func (b *Blobs) put(ctx context.Context, p put) (stored bool, err error) {
	for try := 1; ; try++ {
		stored, err := b.putOnce(ctx, p)
		if err == nil {
			return stored, nil
		}
		verdict, named := verdictOf(err)
		if errors.Is(err, event.ErrBlob) {
			verdict, named = failed, err
		}
		if try == putTries && errors.Is(named, event.ErrStream) {
			named = b.goneOr(ctx, named)
		}
		if verdict == failed || try == putTries {
			return false, fmt.Errorf("blob %s: %w", p.key, named)
		}
		if cause := sleep(ctx, backoff(try)); cause != nil {
			return false, fmt.Errorf("blob %s: %w: %w", p.key, named, cause)
		}
	}
}

// goneOr tells why nothing listens on the bucket's subjects: it is gone, or has no
// leader just now.
func (b *Blobs) goneOr(ctx context.Context, named error) error {
	_, err := ask(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) { return b.stream.Info(ctx) })
	if err != nil {
		return fmt.Errorf("bucket %s: %w", b.bucket, goneError(err))
	}
	return fmt.Errorf("bucket %s has no leader: %w: %w", b.bucket, event.ErrTimeout, errors.New(named.Error()))
}

func (b *Blobs) putOnce(ctx context.Context, p put) (bool, error) {
	info, err := b.Stat(ctx, p.key)
	if err != nil && !errors.Is(err, event.ErrBlob) {
		return false, err
	}
	sum := path.Base(p.key)
	if err == nil && info.Size == p.size && info.SHA256 == sum && !b.expires(info) {
		if p.lost {
			err = b.Check(ctx, &event.Blob{Key: p.key})
		}
		if !errors.Is(err, event.ErrBlob) {
			return false, err
		}
	}
	digest, err := hex.DecodeString(sum)
	if err != nil || len(digest) != sha256.Size {
		return false, fmt.Errorf("%w: the key does not end in a sha256", event.ErrBlob)
	}
	object := jetstream.ObjectInfo{
		ObjectMeta: jetstream.ObjectMeta{Name: p.key, Opts: &jetstream.ObjectMetaOptions{ChunkSize: uint32(b.chunk)}},
		Bucket:     b.bucket, NUID: nuid.Next(), Size: uint64(p.size), Digest: "SHA-256=" + base64.URLEncoding.EncodeToString(digest),
	}
	chunks := b.ChunkSubject(object.NUID)
	if object.Chunks, err = b.upload(ctx, chunks, digest, p); err != nil {
		b.discard(ctx, chunks)
		return false, err
	}
	err = b.reveal(ctx, object, info.Seq)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok { // else it may be visible all the same
		b.discard(ctx, chunks)
		if api.ErrorCode == codeWrongLastSequence || api.ErrorCode == codeSequenceInProcess {
			// Someone else has put it: the next try finds it.
			return false, fmt.Errorf("%w: put by another: %s", event.ErrTimeout, api.Description)
		}
	}
	return err == nil, err
}

// upload sends the bytes under a subject that nothing refers to yet, and returns
// once all are confirmed. A chunk that fails ends it: sent again it would stand
// behind later ones.
func (b *Blobs) upload(ctx context.Context, subject string, digest []byte, p put) (chunks uint32, err error) {
	var onWay []jetstream.PubAckFuture
	settle := func(ctx context.Context, most int) error { // until no more than that are on their way
		for len(onWay) > most {
			first := onWay[0]
			onWay = onWay[1:]
			if _, err := answer(ctx, first); err != nil {
				return err
			}
		}
		return nil
	}
	defer func() {
		if err != nil { // or a chunk on its way would escape the discarding
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			for len(onWay) > 0 {
				_ = settle(ctx, 0) // it stops at each that failed
			}
		}
	}()
	r, h := p.open(), sha256.New()
	buf := make([]byte, min(int64(b.chunk), p.size))
	for left := p.size; left > 0; chunks++ {
		piece := buf[:min(left, int64(len(buf)))]
		if _, err := io.ReadFull(r, piece); err != nil {
			return 0, fmt.Errorf("%w: read: %w", event.ErrBlob, err)
		}
		left -= int64(len(piece))
		if !p.summed {
			_, _ = h.Write(piece)
		}
		if err := settle(ctx, chunkWindow-1); err != nil {
			return 0, err
		}
		// The bytes are copied to the connection before this returns, and without
		// retries never read again: the buffer is free.
		future, err := b.js.PublishMsgAsync(&nats.Msg{Subject: subject, Data: piece}, jetstream.WithRetryAttempts(0))
		if err != nil {
			return 0, err
		}
		onWay = append(onWay, future)
	}
	if n, _ := io.ReadFull(r, make([]byte, 1)); n > 0 {
		return 0, fmt.Errorf("%w: it is longer than %d bytes", event.ErrBlob, p.size)
	}
	if got := h.Sum(nil); !p.summed && !bytes.Equal(got, digest) {
		return 0, fmt.Errorf("%w: read %d bytes with sha256 %x, want %x", event.ErrBlob, p.size, got, digest)
	}
	return chunks, settle(ctx, 0)
}

// reveal makes an object visible, if the metadata under its name is still what
// Stat saw. The chunks of one that was there stay until they expire, for whoever
// reads them now.
func (b *Blobs) reveal(ctx context.Context, object jetstream.ObjectInfo, seen uint64) error {
	data, err := json.Marshal(object)
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: b.MetaSubject(object.Name), Data: data, Header: nats.Header{jetstream.MsgRollup: {jetstream.MsgRollupSubject}}}
	_, err = ask(ctx, func(ctx context.Context) (*jetstream.PubAck, error) {
		return b.js.PublishMsg(ctx, msg, jetstream.WithExpectStream("OBJ_"+b.bucket), jetstream.WithExpectLastSequencePerSubject(seen))
	})
	return err
}

// discard takes away chunks that nothing refers to. When that fails too, they
// expire with the bucket.
func (b *Blobs) discard(ctx context.Context, chunks string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	_ = b.stream.Purge(ctx, jetstream.WithPurgeSubject(chunks))
}

// HasBlobs reports whether the event names blobs, which StoreBlobs is to store.
func (m *Mail) HasBlobs() bool { return len(m.puts) > 0 }

// nameBlobs lists the blobs that the event names, with where their bytes are.
func (m *Mail) nameBlobs(msg *parse.Message, listed []file, raw []byte) {
	data := &m.Payload.EmailData
	for i, a := range data.Attachments { // the first of those listed
		m.puts = append(m.puts, put{a.Blob.Key, a.Size, listed[i].Open, true, false})
	}
	text := func(blob *event.Blob, s string) {
		if blob != nil {
			m.puts = append(m.puts, put{blob.Key, blob.Size, func() io.Reader { return strings.NewReader(s) }, true, false})
		}
	}
	text(data.Body.TextBlob, msg.Text)
	text(data.Body.HTMLBlob, msg.HTML)
	if data.RawMIME != nil {
		blob := data.RawMIME.Blob
		m.puts = append(m.puts, put{blob.Key, blob.Size, func() io.Reader { return bytes.NewReader(raw) }, true, false})
	}
}
