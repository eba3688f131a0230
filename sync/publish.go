package sync

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"imapsync/db"
	"imapsync/event"
	"imapsync/publish"
)

// blobWriters is how many messages have their blobs stored at a time: each
// waits for the broker several times over.
const blobWriters = 8

// storeBlobs stores what the events of a chunk name, before any of them goes
// out.
func (f *folderPass) storeBlobs(ctx context.Context, c *chunk) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(blobWriters)
	for _, m := range c.messages {
		if !m.toPublish() || !m.event.HasBlobs() {
			continue
		}
		g.Go(func() error {
			err := f.runner.Publisher.StoreBlobs(ctx, m.event)
			if errors.Is(err, event.ErrBlob) {
				m.fail("blob", "blob", err) // of this message alone
				return nil
			}
			if err != nil {
				return fmt.Errorf("uid %d: store blobs: %w", m.UID, err)
			}
			return nil
		})
	}
	return g.Wait()
}

// publish sends an event, whose blobs are stored. Its acknowledgement is waited
// for when it is committed.
func (f *folderPass) publish(ctx context.Context, m *message) error {
	ack, err := f.runner.Publisher.Publish(ctx, m.event)
	switch {
	case errors.Is(err, publish.ErrTooLarge):
		m.fail("publish", "too_large", err)
	case err != nil:
		return fmt.Errorf("publish uid %d: %w", m.UID, err)
	}
	m.ack = ack
	return nil
}

// giveBack returns the memory of a message that is on its way to the broker.
func (f *folderPass) giveBack(m *message) {
	if m.failure != nil {
		return // its raw mail may be kept for a person
	}
	raw := m.raw
	m.raw, m.event = nil, nil
	f.runner.buffers.Put(raw)
}

// publishLimits are the publisher's, narrowed by the provider's own caps.
func (r *Runner) publishLimits(p *db.Provider) publish.Limits {
	lim := r.Publisher.Limits()
	if p.MaxAttachment > 0 {
		lim.AttachmentBytes = p.MaxAttachment
	}
	if p.MaxAttachments > 0 {
		lim.AttachmentTotalBytes = p.MaxAttachments
	}
	if p.MaxAttachmentN > 0 {
		lim.AttachmentCount = p.MaxAttachmentN
	}
	return lim
}
