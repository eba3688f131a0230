package provider

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imapsync/db"
	"imapsync/event"
	"imapsync/publish"
)

// Verification is how the ledger of one mailbox compares with the stream and the
// bucket.
type Verification struct {
	Provider    string   `json:"provider"`
	Published   int      `json:"published"` // by the ledger, since the time asked for
	Lost        int      `json:"lost"`      // not on the stream
	Moved       int      `json:"moved"`     // on the stream, at another sequence than it was acknowledged with
	BlobsLost   int      `json:"blobsLost"` // on the stream, naming blobs that the bucket does not have whole
	Republished int      `json:"republished"`
	Gone        int      `json:"gone"` // lost, and seen to be no longer on the mail server either
	GoneKeys    []string `json:"goneKeys,omitempty"`
}

// Left is how many events are not what the ledger says, still.
func (v *Verification) Left() int { return v.Lost + v.BlobsLost - v.Republished }

// Verify looks whether what the ledger calls published is on the stream, with its
// blobs, and publishes again what is not. Of an error about the mailbox there is a
// Verification too. By is who asked for it.
func (j *Job) Verify(ctx context.Context, p *db.Provider, since time.Time, republish bool, by string) (*Verification, error) {
	if err := j.Runner.SeeStream(ctx); err != nil {
		return nil, fmt.Errorf("provider %s: read the stream: %w", p, err)
	}
	state, _ := j.Runner.Publisher.State()
	published, err := j.Store.PublishedEvents(ctx, p.Ref(), later(since, state.MaxAge))
	if err != nil {
		return nil, err
	}
	v := &Verification{Provider: p.Name, Published: len(published)}
	lost, err := j.compare(ctx, p, published, state, v)
	if err != nil {
		return nil, fmt.Errorf("provider %s: read the stream: %w", p, err)
	}
	if republish && len(lost) > 0 {
		rep, res := j.Runner.Republish(ctx, p, lost)
		v.Republished, v.Gone, v.GoneKeys = rep.Published, len(rep.Gone), rep.Gone
		switch {
		case res.Busy:
			return v, Busy(p)
		case res.Err != nil:
			return v, res.Err // what it did not get to may be there yet
		}
	}
	return v, j.settle(ctx, p, since, v, by)
}

// later is since, or from when on the stream keeps all events if that is later: what
// is about to expire may have done so.
func later(since time.Time, maxAge time.Duration) time.Time {
	if oldest := time.Now().Add(maxAge/100 - maxAge); maxAge > 0 && oldest.After(since) {
		return oldest
	}
	return since
}

// compare fills in what of the events is not as the ledger says, and returns those
// that are to be published again.
func (j *Job) compare(ctx context.Context, p *db.Provider, published []db.PublishedEvent, state publish.StreamState, v *Verification) (lost []db.PublishedEvent, err error) {
	first := state.Last + 1
	for _, e := range published {
		if e.StreamSeq > 0 {
			first = min(first, e.StreamSeq)
		}
	}
	blobs := blobCheck{job: j, found: map[string]bool{}}
	stored := map[string]publish.StoredEvent{}
	broken := map[string]bool{}
	err = j.Runner.Publisher.Stored(ctx, p.Tenant, p.ID, first, func(e publish.StoredEvent) error {
		whole, err := blobs.whole(ctx, e.Blobs)
		stored[e.Key], broken[e.Key] = publish.StoredEvent{Acknowledged: e.Acknowledged}, !whole
		return err
	})
	if err != nil {
		return nil, err
	}
	var elsewhere []string // below all sequences that the ledger names, or nowhere
	for _, e := range published {
		if _, ok := stored[e.EventKey]; !ok {
			elsewhere = append(elsewhere, e.EventKey)
		}
	}
	held, err := j.Runner.Publisher.Held(ctx, p.Tenant, p.ID, elsewhere)
	if err != nil {
		return nil, err
	}
	moved := map[string]bool{}
	for i, key := range elsewhere {
		moved[key] = held[i]
	}
	for _, e := range published {
		at, ok := stored[e.EventKey]
		switch {
		case !ok && moved[e.EventKey]:
			v.Moved++
		case !ok && state.Taken && e.StreamSeq <= state.Last: // a consumer has it
		case !ok:
			v.Lost++
			lost = append(lost, e)
		case broken[e.EventKey]:
			v.BlobsLost++
			lost = append(lost, e)
		case at.Seq != e.StreamSeq:
			v.Moved++
		}
	}
	return lost, nil
}

// settle writes down what is still lost of a mailbox of which a run had found that
// events are, when all of them were looked at.
func (j *Job) settle(ctx context.Context, p *db.Provider, since time.Time, v *Verification, by string) error {
	now, err := j.Store.Provider(ctx, p.Ref())
	if err != nil || now.LostState == db.LostNone || since.After(*now.LostSince) {
		return err
	}
	left := int64(max(0, v.Left()-v.Gone))
	return j.Store.SettleLost(ctx, p.Ref(), left, audit(p, by, "events_verified", db.Detail{
		"published": fmt.Sprint(v.Published), "republished": fmt.Sprint(v.Republished), "gone": fmt.Sprint(v.Gone), "left": fmt.Sprint(left),
	}))
}

// blobCheck looks blobs up, each once.
type blobCheck struct {
	job    *Job
	bucket *publish.Blobs
	absent bool
	found  map[string]bool
}

// whole reports whether the bucket has all of blobs.
func (c *blobCheck) whole(ctx context.Context, blobs []*event.Blob) (bool, error) {
	all := true
	for _, b := range blobs {
		ok, known := c.found[b.Key]
		if !known {
			var err error
			if ok, err = c.has(ctx, b); err != nil {
				return false, err
			}
			c.found[b.Key] = ok
		}
		all = all && ok
	}
	return all, nil
}

func (c *blobCheck) has(ctx context.Context, b *event.Blob) (bool, error) {
	if c.bucket == nil && !c.absent {
		bucket, err := publish.OpenBlobs(ctx, c.job.NATS, publish.BlobOptions{Bucket: b.Bucket})
		if c.absent = errors.Is(err, event.ErrStream); err != nil && !c.absent {
			return false, err
		}
		c.bucket = bucket
	}
	if c.absent {
		return false, nil
	}
	err := c.bucket.Check(ctx, b)
	if errors.Is(err, event.ErrBlob) {
		return false, nil
	}
	return err == nil, err
}
