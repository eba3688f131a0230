package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/fault"
	"imapsync/publish"
)

// MayMake says whether a stream that is absent, a bucket's by OBJ_ and its name, may
// be made: not when the ledger has what it should hold. Such an error wraps
// publish.ErrGone and tells what is lost; who asks names the stream.
func MayMake(ctx context.Context, store *db.Store, stream string, now time.Time) error {
	seen, err := store.SeenStreams(ctx, stream)
	if err != nil {
		return err
	}
	bucket := bucketOf(stream)
	age := publish.StreamMaxAge
	switch {
	case len(seen) > 0:
		age = seen[0].MaxAge()
	case bucket != "":
		return nil // there may have been no blob yet
	}
	var from time.Time
	if age > 0 {
		from = now.Add(-age)
	}
	spans, err := store.PublishedSpans(ctx, from, now.Add(time.Hour), 0)
	if err != nil || len(spans) == 0 {
		return err
	}
	events, first, last := extent(spans)
	published := fmt.Sprintf("%d events of %s, published from %s to %s", events, mailboxes(len(spans)), first.UTC().Format(time.RFC3339), last.UTC().Format(time.RFC3339))
	gone := fault.Newf(fault.Ours, "stream_gone", "%w: it held %s", publish.ErrGone, published)
	if bucket != "" {
		gone = fault.Newf(fault.Ours, "bucket_gone", "%w, with the attachments and the raw mail of what was published: %s", publish.ErrGone, published)
	}
	replicas := 1
	if len(seen) > 0 {
		replicas = seen[0].Replicas
	}
	return gone.With("stream", stream).With("since", first.UTC().Format(time.DateOnly)).With("replicas", fmt.Sprint(replicas))
}

// lossOf tells of an error that ends a run, where it is that the stream is gone, what is
// lost with it. One of a bucket tells that already.
func (r *Runner) lossOf(ctx context.Context, err error) error {
	if !errors.Is(err, publish.ErrGone) {
		return err
	}
	if told, ok := fault.Of(err); ok && told.Code == "bucket_gone" {
		return err // the stream is there, and the error says what is lost
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishPatience)
	defer cancel()
	if gone := MayMake(ctx, r.Store, event.StreamName, r.now()); errors.Is(gone, publish.ErrGone) {
		return fmt.Errorf("stream %s: %w", event.StreamName, gone)
	}
	return err
}

func mailboxes(n int) string {
	if n == 1 {
		return "1 mailbox"
	}
	return fmt.Sprintf("%d mailboxes", n)
}
