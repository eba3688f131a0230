package sync

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"imapsync/db"
	"imapsync/event"
	"imapsync/publish"
)

// A chunk is what one transaction commits: so many messages, so many bytes, or
// what came in so long a time.
const (
	chunkMessages = 250
	chunkBytes    = 4 << 20
	chunkPatience = time.Second
)

type chunk struct {
	messages []*message
	weight   int64 // bytes held of the in-flight budget
	bytes    int64 // downloaded
}

// prepare parses, stores blobs and publishes a chunk in the order of its UIDs.
// The error is about the broker or the database; a message that fails alone
// is marked.
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
					f.parse(m, false)
				}
			}
		})
	}
	workers.Wait()
}

// blobWriters is how many messages have their blobs stored at a time: each
// waits for the broker several times over.
const blobWriters = 8

// storeBlobs stores what the events of a chunk name, before any of them goes
// out.
func (f *folderPass) storeBlobs(ctx context.Context, c *chunk) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(blobWriters)
	for _, m := range c.messages {
		if !m.toPublish() || m.event == nil {
			continue
		}
		g.Go(func() error {
			err := f.runner.Publisher.StoreBlobs(ctx, m.event, m.parsed, m.raw)
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

// lookUp finds out what the ledger knows of a chunk's messages: one under the
// same key has been published, and the same Message-ID under another key is
// the sender's doing and said in the event.
func (f *folderPass) lookUp(ctx context.Context, c *chunk) error {
	var keys, ids []string
	for _, m := range c.messages {
		if m.hasEvent() && m.failure == nil {
			keys = append(keys, m.brief.key)
			if m.brief.messageID != "" {
				ids = append(ids, db.Clean(m.brief.messageID))
			}
		}
	}
	if len(keys) == 0 {
		return nil
	}
	known, err := f.runner.Store.KnownMessages(ctx, f.ref, keys, ids)
	if err != nil {
		return err
	}
	byKey, byID := map[string]bool{}, map[string]string{}
	for _, k := range known {
		byKey[k.EventKey] = true
		byID[k.MessageID] = k.EventKey
	}
	for _, m := range c.messages {
		if !m.hasEvent() || m.failure != nil {
			continue
		}
		key, id := m.brief.key, db.Clean(m.brief.messageID)
		if m.known = byKey[key] && !m.again; m.known {
			continue
		}
		if other := byID[id]; id != "" && other != "" && other != key {
			f.parse(m, true)
		}
		byKey[key], byID[id] = true, key // the rest of the chunk
	}
	return nil
}

// publish sends an event, whose blobs are stored.
func (f *folderPass) publish(ctx context.Context, m *message) error {
	var ack *publish.Ack
	var err error
	if m.sealed == nil {
		ack, err = f.runner.Publisher.Publish(ctx, m.event)
	} else {
		ack, err = f.runner.Publisher.Send(ctx, m.sealed)
	}
	switch {
	case errors.Is(err, publish.ErrTooLarge):
		m.fail("publish", "too_large", err)
	case err != nil:
		return fmt.Errorf("publish uid %d: %w", m.UID, err)
	}
	m.ack = ack
	return nil
}
