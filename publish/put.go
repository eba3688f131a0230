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
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"imapsync/event"
	"imapsync/parse"
)

// putTries is how often a put is tried: five seconds in all.
const putTries = 8

// put is one blob to be stored.
type put struct {
	key  string
	size int64
	open func() io.Reader
}

// Put stores what open reads, size bytes whose SHA-256 is the end of key,
// unless the store has it and will keep it for as long as an event. It reports
// whether it stored anything. Open may be called several times, once a try.
// Memory is the same whatever the size. Several at once on one key are
// harmless, and one that is broken off leaves nothing that can be seen.
func (b *Blobs) Put(ctx context.Context, key string, size int64, open func() io.Reader) (stored bool, err error) {
	p := put{key, size, open}
	for try := 1; ; try++ {
		stored, err := b.putOnce(ctx, p)
		if err == nil {
			return stored, nil
		}
		verdict, named := verdictOf(err)
		if errors.Is(err, event.ErrBlob) {
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

func (b *Blobs) putOnce(ctx context.Context, p put) (bool, error) {
	info, err := b.Stat(ctx, p.key)
	if err != nil && !errors.Is(err, event.ErrBlob) {
		return false, err
	}
	sum := path.Base(p.key)
	if err == nil && info.Size == p.size && info.SHA256 == sum && !b.expires(info) {
		return false, nil
	}
	digest, err := hex.DecodeString(sum)
	if err != nil || len(digest) != sha256.Size {
		return false, fmt.Errorf("%w: the key does not end in a sha256", event.ErrBlob)
	}
	// nats.go makes an object visible before its chunks are confirmed, and takes
	// the chunks of one that it replaces from under whoever reads them. So it
	// puts under a name that nobody asks for; whole, the object gets its own.
	name := "incoming/" + nuid.Next()
	defer b.discard(ctx, b.MetaSubject(name))
	object, err := b.upload(ctx, name, p)
	if err != nil {
		return false, err
	}
	if want := "SHA-256=" + base64.URLEncoding.EncodeToString(digest); object.Digest != want {
		b.discard(ctx, b.ChunkSubject(object.NUID))
		return false, fmt.Errorf("%w: read %d bytes with %s, want %s", event.ErrBlob, object.Size, object.Digest, want)
	}
	err = b.reveal(ctx, p.key, object, info.Seq)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok { // else it may be visible all the same
		b.discard(ctx, b.ChunkSubject(object.NUID))
		if api.ErrorCode == codeWrongLastSequence || api.ErrorCode == codeSequenceInProcess {
			// Someone else has put it: the next try finds it.
			return false, fmt.Errorf("%w: put by another: %s", event.ErrTimeout, api.Description)
		}
	}
	return err == nil, err
}

// upload puts an object, and returns once it is proven to be whole.
func (b *Blobs) upload(ctx context.Context, name string, p put) (*jetstream.ObjectInfo, error) {
	// Without a deadline nats.go bounds each chunk by chunkTimeout. While its
	// context lives, it takes away what it stored of an object that fails.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(3*time.Second, cancel) })()

	began := time.Now()
	meta := jetstream.ObjectMeta{Name: name, Opts: &jetstream.ObjectMetaOptions{ChunkSize: uint32(min(int64(b.chunk), p.size))}}
	object, err := b.objects.Put(own, meta, &feed{ctx: ctx, b: b, name: name, r: p.open(), left: p.size})
	if err != nil {
		return nil, err
	}
	// A chunk for which nobody was there nats.go sends again after a while, from
	// a buffer in which the next chunk may stand by then.
	if object.Chunks > 1 && time.Since(began) >= b.doubt {
		if err := b.readBack(ctx, name); err != nil {
			b.discard(ctx, b.ChunkSubject(object.NUID))
			return nil, fmt.Errorf("%w: read back: %s", event.ErrTimeout, err.Error()) // to be put again
		}
	}
	return object, nil
}

// readBack reads an object, and by that proves it.
func (b *Blobs) readBack(ctx context.Context, name string) error {
	r, _, err := b.Get(ctx, name)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

// reveal makes an object visible under key, if the metadata there is still what
// Stat saw. The chunks of one that was there stay until they expire, for whoever
// reads them now.
func (b *Blobs) reveal(ctx context.Context, key string, object *jetstream.ObjectInfo, seen uint64) error {
	shown := *object
	shown.Name, shown.ModTime = key, time.Time{}
	data, err := json.Marshal(shown)
	if err != nil {
		return err
	}
	msg := &nats.Msg{Subject: b.MetaSubject(key), Data: data, Header: nats.Header{jetstream.MsgRollup: {jetstream.MsgRollupSubject}}}
	_, err = ask(ctx, func(ctx context.Context) (*jetstream.PubAck, error) {
		return b.js.PublishMsg(ctx, msg, jetstream.WithExpectStream("OBJ_"+b.bucket), jetstream.WithExpectLastSequencePerSubject(seen))
	})
	return err
}

// discard takes away what nothing refers to. When that fails too, it expires
// with the bucket.
func (b *Blobs) discard(ctx context.Context, subject string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 3*time.Second)
	defer cancel()
	_ = b.stream.Purge(ctx, jetstream.WithPurgeSubject(subject))
}

// feed is what nats.go reads an object from: left bytes, not one less or more. It
// fills each buffer, which is a chunk, and ends with its context.
type feed struct {
	ctx    context.Context // of a put: an io.Reader has no other way to be bounded
	b      *Blobs
	name   string
	r      io.Reader
	left   int64
	chunks int
	mark   jetstream.PubAckFuture // the last one, see pace
}

// paceChunks is how many chunks there are between two marks: half of what may be
// on its way at once.
const paceChunks = 4

func (f *feed) Read(chunk []byte) (int, error) {
	if f.ctx.Err() != nil {
		return 0, context.Cause(f.ctx)
	}
	if f.chunks++; f.chunks%paceChunks == 0 {
		if err := f.pace(); err != nil {
			return 0, err
		}
	}
	n, err := io.ReadFull(f.r, chunk)
	f.left -= int64(n)
	switch {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return 0, fmt.Errorf("%w: read: %w", event.ErrBlob, err)
	case f.left < 0 || err != nil && f.left > 0:
		return 0, fmt.Errorf("%w: it is not as long as was said, by %d bytes", event.ErrBlob, max(f.left, -f.left))
	case err != nil:
		return n, io.EOF
	}
	return n, nil
}

// pace waits until the broker has stored all up to the mark before the last.
// nats.go would send the whole object at once, which the broker has to hold, and
// from 128 MB on refuses. A mark is a message that it cannot take, since the
// subject has no message of that number: it says so once it comes to it.
func (f *feed) pace() error {
	mark, err := f.b.js.PublishMsgAsync(nats.NewMsg(f.b.MetaSubject(f.name)), jetstream.WithExpectLastSequencePerSubject(math.MaxInt64))
	if err != nil {
		return err
	}
	before := f.mark
	if f.mark = mark; before == nil {
		return nil
	}
	select {
	case <-before.Ok():
	case err := <-before.Err():
		if _, answered := errors.AsType[*jetstream.APIError](err); !answered {
			return err
		}
	case <-f.ctx.Done():
		return context.Cause(f.ctx)
	}
	return nil
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
