package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"imapsync/db"
	"imapsync/event"
	"imapsync/parse"
	"imapsync/publish"
)

// prepare parses a chunk, finds out what the ledger knows of it, stores its blobs
// and publishes it in the order of its UIDs. The error is about the broker or the
// database; a message that fails alone is marked.
func (f *folderPass) prepare(ctx context.Context, c *chunk) error {
	f.parseAll(c.messages)
	if err := f.lookUp(ctx, c); err != nil {
		return err
	}
	if err := f.storeBlobs(ctx, c); err != nil {
		return err
	}
	for _, m := range c.messages {
		if m.toPublish() {
			if err := f.publish(ctx, m); err != nil {
				return err
			}
		}
		f.giveBack(m)
	}
	return nil
}

// parseAll makes the events of a chunk. A goroutine for each message would
// begin with a small stack and grow it, every time.
func (f *folderPass) parseAll(messages []*message) {
	var taken atomic.Int64
	var workers sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(messages)) {
		workers.Go(func() {
			for i := int(taken.Add(1)) - 1; i < len(messages); i = int(taken.Add(1)) - 1 {
				if m := messages[i]; m.raw != nil && m.failure == nil {
					f.parse(m)
				}
			}
		})
	}
	workers.Wait()
}

// defectReleased marks an event that a person let out of the quarantine.
const defectReleased = "released_from_quarantine"

// defectDegraded marks the event of a message that has had its charges.
const defectDegraded = "body_not_handled"

// jsonSpare is how many bytes longer than its mail the JSON of an event may be
// while it waits. The budget of bytes in flight counts mail; what JSON escapes may
// be six times as long, and a reply stands in it twice.
const jsonSpare = 8 << 10

// parse makes the event of a message. A panic in it is that message's failure.
func (f *folderPass) parse(m *message) {
	defer func() {
		if v := recover(); v != nil {
			f.messageBug(m, panicked(v))
		}
	}()
	if m.summary.key == "" {
		m.summary.identify(m)
	}
	if m.parsed == nil {
		m.parsed = f.runner.parse(m.raw, parse.Limits{})
		m.summary.subject = strings.Clone(m.parsed.Subject)
		m.summary.sender = strings.Clone(m.parsed.From.Email) // known, should New panic at a file
	}
	m.event = publish.New(m.parsed, f.delivery(m), f.limits)
	m.event.Lost = m.again != ""
	if m.event.Compact(len(m.raw) + jsonSpare); !m.event.HasBlobs() {
		m.parsed = nil // else its files hold what they were decoded to
	}
}

// delivery is what an event says beside what stands in the mail.
func (f *folderPass) delivery(m *message) publish.Delivery {
	d := publish.Delivery{
		Tenant: f.provider.Tenant, ProviderID: f.provider.ID, InboundDefaultsID: f.provider.DefaultsID,
		Folder: f.status.Name, UID: m.UID, UIDValidity: f.status.UIDValidity, InternalDate: m.InternalDate,
		Size: m.Size, OccurredAt: f.runner.now(), Raw: m.raw, KeepRaw: len(m.parsed.Attachments) > 0 && !m.headerOnly,
		Key: m.summary.key, SameMessageIDAs: m.sameAs,
	}
	if m.headerOnly {
		d.Skipped = []event.SkipReason{{Type: "raw_mime", Reason: event.SkipRawMIMEBytes, Size: m.Size, Cap: f.maxMessageBytes()}}
	}
	if m.degraded() {
		d.Skipped = nil
		d.Defects = []event.Defect{{Code: defectDegraded, Detail: "the body could not be fetched or handled, five times over; the event has the headers alone"}}
	}
	if m.released {
		d.Skipped = nil
		d.Defects = []event.Defect{{Code: defectReleased, Detail: "the body could not be handled; the message was released from quarantine by its headers"}}
	}
	return d
}

// blobWriters is how many messages have their blobs stored at a time: each
// waits for the broker several times over.
const blobWriters = 8

// storeBlobs stores what the events of a chunk name, before any of them goes out.
func (f *folderPass) storeBlobs(ctx context.Context, c *chunk) error {
	var stored atomic.Bool
	pass := ctx
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(blobWriters)
	for _, m := range c.messages {
		if !m.toPublish() || !m.event.HasBlobs() {
			continue
		}
		stored.Store(true)
		g.Go(func() (err error) {
			defer func() {
				if v := recover(); v != nil {
					f.messageBug(m, panicked(v))
					err = nil
				}
			}()
			err = f.runner.Publisher.StoreBlobs(ctx, m.event)
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
	if err := g.Wait(); err != nil || !stored.Load() {
		return err
	}
	return f.runner.seeBucket(pass)
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
	f.runner.buffers.Put(m.raw)
	m.raw, m.parsed, m.event = nil, nil, nil
}

// publishLimits are the publisher's, narrowed by the provider's own caps.
func (r *Runner) publishLimits(p *db.Provider) publish.Limits {
	lim := r.Publisher.Limits()
	lim.AttachmentBytes = cmp.Or(max(0, p.MaxAttachment), lim.AttachmentBytes)
	lim.AttachmentTotalBytes = cmp.Or(max(0, p.MaxAttachments), lim.AttachmentTotalBytes)
	lim.AttachmentCount = cmp.Or(max(0, p.MaxAttachmentN), lim.AttachmentCount)
	return lim
}
