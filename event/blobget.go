package event

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/nats-io/nats.go/jetstream"
)

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
	m, err := ask(r.ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		return r.b.stream.GetMsg(ctx, r.seq+1, jetstream.WithGetMsgSubject(r.b.chunkSubject(r.info.nuid)))
	})
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
