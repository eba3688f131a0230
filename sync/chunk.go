package sync

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"imapsync/db"
	"imapsync/event"
	"imapsync/parse"
)

// A chunk is what one FETCH asks for and one transaction commits.
const (
	chunkMessages = 100
	chunkBytes    = 4 << 20
	// batchUIDs is how many UIDs are marked as being handled at once.
	batchUIDs = 500
)

// message is one UID on its way from the search to the ledger.
type message struct {
	listed
	attempts   int  // before this one
	killed     int  // passes that were killed while handling it
	retry      bool // it comes from the quarantine
	released   bool // a person let it go out by its headers alone
	headerOnly bool // too large to be downloaded
	raw        []byte
	parsed     *parse.Message
	event      *event.Event
	brief      brief
	ack        *event.Ack
	known      bool // published before, under whatever UID
	again      bool // the stream has lost it: publish it though it is known
	expunged   bool
	failure    *failure
}

// brief is what is remembered of a message once its memory is given back.
type brief struct {
	key, messageID, subject, sender string
}

// failure is why a message could not be handled.
type failure struct {
	stage string
	code  string
	err   error
}

func (m *message) fail(stage, code string, err error) {
	if m.failure == nil {
		m.failure = &failure{stage, code, err}
	}
}

type chunk struct {
	messages []*message
	weight   int64 // bytes held of the in-flight budget
	bytes    int64 // downloaded
}

// handle takes UIDs through fetch, parse, publish and commit. Messages that
// something is wrong with go alone, so that they harm nothing but themselves.
func (f *folderPass) handle(ctx context.Context, uids []uint32) error {
	singly, err := f.suspects(ctx, uids)
	if err != nil {
		return err
	}
	for _, m := range singly {
		if f.runner.stopping() {
			return nil
		}
		if err := f.handleAlone(ctx, m); err != nil {
			return err
		}
	}
	uids = wanted(uids, f.state, f.handled)
	for batch := range slices.Chunk(uids, batchUIDs) {
		if f.runner.stopping() || f.quotaUsed() {
			return nil
		}
		messages := make([]*message, len(batch))
		for i, uid := range batch {
			messages[i] = &message{listed: listed{uid: uid}}
		}
		err := f.handleBatch(ctx, messages)
		if err != nil && f.connectionDied(ctx, err) {
			err = f.bisect(ctx, wanted(batch, f.state, f.handled), err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// connectionDied reports whether err may be the doing of a message: the
// session is gone, and neither the pass nor what all providers need has ended.
func (f *folderPass) connectionDied(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !f.session.alive() && !systemic(err) && !errors.Is(err, db.ErrFenced)
}

// bisect goes on one by one after a connection died over a batch. The message
// at fault is the one that does it again alone.
func (f *folderPass) bisect(ctx context.Context, uids []uint32, cause error) error {
	f.log.Warn("batch_failed", "messages", len(uids), "error", cause.Error())
	if err := f.reopen(ctx); err != nil {
		return errors.Join(cause, err)
	}
	for _, uid := range uids {
		if f.runner.stopping() {
			return nil
		}
		if err := f.handleAlone(ctx, &message{listed: listed{uid: uid}}); err != nil {
			return err
		}
	}
	return nil
}

// handleAlone takes one message through. When the connection dies over it and
// the server is there again for a new one, the message goes to quarantine.
func (f *folderPass) handleAlone(ctx context.Context, m *message) error {
	err := f.handleBatch(ctx, []*message{m})
	if err == nil || !f.connectionDied(ctx, err) {
		return err
	}
	if reopenErr := f.reopen(ctx); reopenErr != nil {
		return errors.Join(err, reopenErr)
	}
	_, code := Classify(err)
	failed := &message{listed: m.listed, attempts: m.attempts, retry: m.retry}
	failed.fail("fetch", code, err)
	return f.commit(ctx, &chunk{messages: []*message{failed}})
}

// reopen gets a new connection on the folder.
func (f *folderPass) reopen(ctx context.Context) error {
	if err := f.reconnect(ctx); err != nil {
		return err
	}
	selected, err := f.session.examine(f.status.Name)
	if err != nil {
		return err
	}
	if selected.UIDValidity != 0 && selected.UIDValidity != f.state.UIDValidity {
		return transient("uidvalidity_changed", errors.New("UIDVALIDITY changed during the pass"))
	}
	return nil
}

// handleBatch writes down which UIDs are about to be handled, so that being
// killed by one of them counts, and then takes them through.
func (f *folderPass) handleBatch(ctx context.Context, messages []*message) error {
	next := *f.state
	next.InFlight = nil
	for _, m := range messages {
		for range m.killed + 1 {
			next.InFlight = append(next.InFlight, int64(m.uid))
		}
	}
	if err := f.runner.Store.SetFolder(ctx, f.fence, &next); err != nil {
		return err
	}
	f.state = &next
	if err := f.look(messages); err != nil {
		return err
	}
	return f.pipeline(ctx, messages)
}

// look asks for sizes and dates. What the server leaves out is looked for a
// second time, by itself; what is gone then was expunged.
func (f *folderPass) look(messages []*message) error {
	uids := make([]uint32, len(messages))
	for i, m := range messages {
		uids[i] = m.uid
	}
	found, err := f.session.fetchSizes(uids)
	if err != nil {
		return err
	}
	for _, m := range messages {
		l, ok := found[m.uid]
		if !ok {
			if l, ok, err = f.secondLook(m.uid); err != nil {
				return err
			}
		}
		switch {
		case ok:
			m.listed = l
			m.headerOnly = m.released || l.size > f.maxMessageBytes()
		default:
			still, err := f.session.searchRange(m.uid, m.uid, nil)
			if err != nil {
				return err
			}
			if len(still) == 0 {
				m.expunged = true
				continue
			}
			m.fail("fetch", "not_returned", errors.New("the server lists the message and does not give it"))
		}
	}
	return nil
}

func (f *folderPass) secondLook(uid uint32) (listed, bool, error) {
	found, err := f.session.fetchSizes([]uint32{uid})
	l, ok := found[uid]
	return l, ok, err
}

// pipeline takes messages through three stages that overlap: the first fetches
// a chunk, the second parses and publishes the one before, the third waits for
// the acknowledgements of the one before that and commits it. The order of
// chunks is kept, so the cursor only moves over what is final.
func (f *folderPass) pipeline(ctx context.Context, messages []*message) error {
	g, ctx := errgroup.WithContext(ctx)
	fetched, published := make(chan *chunk), make(chan *chunk)
	var held atomic.Int64 // of the in-flight budget
	defer func() { f.runner.inFlight.Release(held.Load()) }()
	var fetchErr error // what was fetched before it is still handled
	g.Go(func() error {
		defer close(fetched)
		fetchErr = f.fetchChunks(ctx, messages, fetched, &held)
		return nil
	})
	g.Go(func() error {
		defer close(published)
		for c := range fetched {
			if err := f.prepare(ctx, c); err != nil {
				return err
			}
			f.runner.inFlight.Release(c.weight)
			held.Add(-c.weight)
			select {
			case published <- c:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	g.Go(func() error {
		for c := range published {
			if err := f.commit(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return fetchErr
}

// fetchChunks downloads messages and hands them on chunk by chunk. A chunk
// whose download breaks off is handed on as far as it came.
func (f *folderPass) fetchChunks(ctx context.Context, messages []*message, out chan<- *chunk, held *atomic.Int64) error {
	for _, c := range f.cut(messages) {
		if f.runner.stopping() || f.quotaUsed() {
			return nil
		}
		if err := f.runner.inFlight.Acquire(ctx, c.weight); err != nil {
			return context.Cause(ctx)
		}
		held.Add(c.weight)
		err := f.fetch(ctx, c)
		select {
		case out <- c:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// cut parts messages into chunks by number and bytes.
func (f *folderPass) cut(messages []*message) []*chunk {
	var chunks []*chunk
	var c *chunk
	for _, m := range messages {
		size := m.size
		if m.headerOnly {
			size = 64 << 10
		}
		if c == nil || len(c.messages) == chunkMessages || c.weight+size > chunkBytes {
			c = &chunk{}
			chunks = append(chunks, c)
		}
		c.messages = append(c.messages, m)
		c.weight += size
	}
	for _, c := range chunks {
		c.weight = min(c.weight, f.runner.Options.MaxInFlightBytes)
	}
	return chunks
}

// fetch downloads the bodies of a chunk. Of a message that the server leaves
// out, or gives without its body, it asks once more by itself.
func (f *folderPass) fetch(ctx context.Context, c *chunk) error {
	byUID := map[uint32]*message{}
	var whole, headers []uint32
	for _, m := range c.messages {
		switch {
		case m.expunged || m.failure != nil:
		case m.headerOnly:
			byUID[m.uid], headers = m, append(headers, m.uid)
		default:
			byUID[m.uid], whole = m, append(whole, m.uid)
		}
	}
	use := func(uid uint32, raw []byte) { byUID[uid].raw = raw }
	err := f.fetchAll(whole, headers, use)
	if err == nil {
		for _, m := range c.messages {
			if byUID[m.uid] == nil || len(m.raw) > 0 || m.size == 0 {
				continue
			}
			if err = f.fetchAll(only(m, false), only(m, true), use); err != nil {
				break
			}
			if m.raw == nil {
				m.fail("fetch", "no_body", errors.New("the server says OK and gives no body"))
			}
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		c.messages = slices.DeleteFunc(c.messages, func(m *message) bool {
			return m.raw == nil && !m.expunged && m.failure == nil
		})
	}
	for _, m := range c.messages {
		f.bytes.Add(int64(len(m.raw)))
		c.bytes += int64(len(m.raw))
		f.judge(m)
	}
	return err
}

func only(m *message, headerOnly bool) []uint32 {
	if m.headerOnly == headerOnly {
		return []uint32{m.uid}
	}
	return nil
}

func (f *folderPass) fetchAll(whole, headers []uint32, use func(uid uint32, raw []byte)) error {
	limit := f.maxMessageBytes() + f.maxMessageBytes()/2
	if len(whole) > 0 {
		if err := f.session.fetchBodies(whole, false, limit, use); err != nil {
			return err
		}
	}
	if len(headers) > 0 {
		return f.session.fetchBodies(headers, true, limit, use)
	}
	return nil
}

// defectReleased marks an event that a person let out of the quarantine.
const defectReleased = "released_from_quarantine"

// exchangeStub is what some servers put in place of a message they cannot
// convert.
const exchangeStub = "Retrieval using the IMAP4 protocol failed"

// judge looks at a body that came. RFC822.SIZE is a hint, so a body that is
// short is believed when it comes out the same again.
func (f *folderPass) judge(m *message) {
	switch {
	case m.failure != nil || m.expunged || m.headerOnly:
	case len(m.raw) == 0 && m.size > 0:
		m.fail("fetch", "no_body", errors.New("the server says OK and gives an empty body"))
	case int64(len(m.raw)) < m.size-m.size/10-512 && m.attempts < 2:
		m.fail("fetch", "short_body", fmt.Errorf("the body has %d bytes, the server announced %d", len(m.raw), m.size))
	case len(m.raw) < 8<<10 && containsStub(m.raw):
		m.fail("fetch", "server_stub", errors.New("the server put an error text in place of the message"))
	}
}

// prepare parses, stores blobs and publishes a chunk in the order of its UIDs.
// The error is about the broker or the database; a message that fails alone
// is marked.
func (f *folderPass) prepare(ctx context.Context, c *chunk) error {
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, m := range c.messages {
		if m.raw == nil || m.failure != nil {
			continue
		}
		g.Go(func() error {
			f.parse(m, false)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := f.lookUp(ctx, c); err != nil {
		return err
	}
	for _, m := range c.messages {
		if m.event != nil && !m.known && m.failure == nil {
			if err := f.publish(ctx, m); err != nil {
				return err
			}
		}
		f.giveBack(m)
	}
	return nil
}

// parse makes the event of a message. A panic in it is that message's failure.
func (f *folderPass) parse(m *message, reused bool) {
	defer func() {
		if v := recover(); v != nil {
			m.fail("parse", "panic", fmt.Errorf("panic: %v", v))
		}
	}()
	if m.parsed == nil {
		m.parsed = f.runner.parse(m.raw, parse.Limits{})
		m.brief.messageID, m.brief.subject = strings.Clone(m.parsed.MessageID), strings.Clone(m.parsed.Subject)
		m.brief.sender = strings.Clone(m.parsed.From.Email)
	}
	d := event.Delivery{
		Tenant: f.provider.Tenant, ProviderID: f.provider.ID, InboundDefaultsID: f.provider.DefaultsID,
		Folder: f.status.Name, UID: m.uid, UIDValidity: f.status.UIDValidity, InternalDate: m.internalDate,
		Size: m.size, OccurredAt: time.Now().UTC(), Raw: m.raw, KeepRaw: len(m.parsed.Attachments) > 0,
		MessageIDReused: reused,
	}
	if m.headerOnly {
		d.KeepRaw = false
		d.Skipped = []event.SkipReason{{Type: "raw_mime", Reason: event.SkipRawMIMEBytes, Size: m.size, Cap: f.maxMessageBytes()}}
	}
	if m.released {
		d.Skipped = nil
		d.Defects = []event.Defect{{Code: defectReleased, Detail: "the body could not be handled; the message was released from quarantine by its headers"}}
	}
	m.event = event.New(m.parsed, d, f.limits)
	m.event.Lost = m.again
	m.brief.key = m.event.Key
}

// lookUp finds out what the ledger knows of a chunk's messages: one under the
// same key has been published, and the same Message-ID under another key is
// the sender's doing and said in the event.
func (f *folderPass) lookUp(ctx context.Context, c *chunk) error {
	var keys, ids []string
	for _, m := range c.messages {
		if m.event != nil && m.failure == nil {
			keys = append(keys, m.event.Key)
			if m.parsed.MessageID != "" {
				ids = append(ids, db.Clean(m.parsed.MessageID))
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
		if m.event == nil || m.failure != nil {
			continue
		}
		id := db.Clean(m.parsed.MessageID)
		if m.known = byKey[m.event.Key] && !m.again; m.known {
			continue
		}
		if other := byID[id]; id != "" && other != "" && other != m.event.Key {
			f.parse(m, true)
		}
		byKey[m.event.Key], byID[id] = true, m.event.Key // the rest of the chunk
	}
	return nil
}

// publish stores the blobs of an event and sends it.
func (f *folderPass) publish(ctx context.Context, m *message) error {
	if err := f.runner.Publisher.StoreBlobs(ctx, m.event, m.parsed, m.raw); err != nil {
		return fmt.Errorf("uid %d: store blobs: %w", m.uid, err)
	}
	ack, err := f.runner.Publisher.Publish(ctx, m.event)
	switch {
	case errors.Is(err, event.ErrTooLarge):
		m.fail("publish", "too_large", err)
	case err != nil:
		return fmt.Errorf("publish uid %d: %w", m.uid, err)
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
	m.raw, m.parsed, m.event = nil, nil, nil
	f.runner.buffers.put(raw)
}
