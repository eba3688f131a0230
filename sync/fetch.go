package sync

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// maxSizeless is how many messages of a batch are asked for their size by themselves,
// and say none: by then the server does not know it.
const maxSizeless = 3

// askSizes asks for sizes and dates of messages. What the server leaves out, and a size
// that it does not say or that only the headers would be read by, is asked for a second
// time, by itself. A size that is unknown still is no reason not to read the message.
func (f *folderPass) askSizes(messages []*message) error {
	uids := make([]uint32, len(messages))
	for i, m := range messages {
		uids[i] = m.UID
	}
	found, err := f.session.FetchSizes(uids)
	if err != nil {
		return err
	}
	var missing []*message
	sizeless := 0
	for _, m := range messages {
		listed, ok := found[m.UID]
		if !ok || listed.Size == 0 && sizeless < maxSizeless || listed.Size > f.maxMessageBytes() {
			again, err := f.session.FetchSizes([]uint32{m.UID})
			if err != nil {
				return err
			}
			if second, shown := again[m.UID]; shown {
				listed, ok = second, true
			}
			if listed.Size == 0 {
				sizeless++
			}
		}
		if !ok {
			missing = append(missing, m)
			continue
		}
		m.Listed = listed
		m.headerOnly = m.released || m.degraded() || m.Size > f.maxMessageBytes()
	}
	return f.findAbsent(missing)
}

// describe asks for the sizes and dates of messages of which nothing else is read: by
// them their entries in the quarantine are known when the folder is numbered anew. A
// server that does not say them, or a connection that ends, keeps nobody from a charge.
func (f *folderPass) describe(messages []*message) {
	uids := make([]uint32, len(messages))
	for i, m := range messages {
		uids[i] = m.UID
	}
	listed, err := f.session.FetchSizes(uids)
	if err != nil {
		f.log.Warn("sizes_not_given", "messages", len(uids), "error", err.Error())
	}
	for _, m := range messages {
		if l, ok := listed[m.UID]; ok {
			m.Listed = l
		}
	}
}

// withinQuota leaves of messages those that the provider's bytes of the day
// take, the last of them whole.
func (f *folderPass) withinQuota(messages []*message) []*message {
	left := f.quotaLeft()
	for i, m := range messages {
		if left <= 0 {
			return messages[:i]
		}
		left -= m.Size
	}
	return messages
}

// fetchWindows downloads messages, window by window, and hands them on chunk by
// chunk. A chunk whose download breaks off is handed on as far as it came.
func (p *pipeline) fetchWindows(ctx context.Context, messages []*message) error {
	for _, window := range windows(p.chunks(messages), p.maxChunkBytes()) {
		if p.ending() {
			return nil
		}
		var weight, count int64
		for _, c := range window {
			weight += c.weight
			count += int64(len(c.messages))
		}
		if p.room.Acquire(ctx, count) != nil || p.runner.inFlight.Acquire(ctx, weight) != nil {
			return context.Cause(ctx)
		}
		p.held.Add(weight)
		if p.ending() {
			return nil
		}
		if err := p.fetchWindow(ctx, window); err != nil {
			return err
		}
	}
	return nil
}

// download is one FETCH of bodies under way.
type download struct {
	*pipeline
	chunks  []*chunk // not handed on yet; the first is being filled
	ready   int      // of its messages, how many are there, in order
	began   time.Time
	missing map[uint32]*message
	stopped error // the pass ended: nothing is handed on any more
}

// fetchWindow downloads the bodies of chunks by one FETCH and hands on each
// chunk as soon as it is whole. When the pass is to end meanwhile, the message in hand
// is the last.
func (p *pipeline) fetchWindow(ctx context.Context, window []*chunk) error {
	d := &download{pipeline: p, chunks: window, began: p.runner.now(), missing: map[uint32]*message{}}
	var asked []*message
	var largest int64
	for _, c := range window {
		for _, m := range c.messages {
			if !m.absent && m.failure == nil {
				d.missing[m.UID], asked = m, append(asked, m)
				size := cmp.Or(m.Size, p.maxMessageBytes())
				if m.headerOnly {
					size = min(size, maxHeaderBytes)
				}
				largest = max(largest, size)
			}
		}
	}
	p.inHand.Store(largest)
	defer p.inHand.Store(0)
	err := p.fetchBodies(asked, func(uid uint32, raw []byte) bool {
		d.take(ctx, uid, raw)
		return d.stopped == nil && !p.ending()
	})
	for err == nil && d.stopped == nil && len(d.chunks) > 0 && !p.ending() {
		if err = d.askAgain(d.chunks[0]); err == nil {
			d.next(ctx)
		}
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	for d.stopped == nil && len(d.chunks) > 0 { // broken off: what came is handed on
		first := d.chunks[0]
		first.messages = slices.DeleteFunc(first.messages, func(m *message) bool {
			return m.raw == nil && !m.absent && m.failure == nil
		})
		d.next(ctx)
	}
	if d.stopped != nil {
		return d.stopped
	}
	return err
}

// take notes the body of a message and hands on what is whole by it, or what
// came in so long a time that it should not wait.
func (d *download) take(ctx context.Context, uid uint32, raw []byte) {
	m := d.missing[uid]
	if m == nil || d.stopped != nil {
		return // given twice: the first may be read by others now
	}
	m.raw = raw
	if len(raw) > 0 {
		delete(d.missing, uid)
	}
	for d.stopped == nil && len(d.chunks) > 0 {
		c := d.chunks[0]
		for d.ready < len(c.messages) && d.missing[c.messages[d.ready].UID] == nil {
			d.ready++
		}
		if 0 < d.ready && d.ready < len(c.messages) && d.runner.since(d.began) >= chunkPatience {
			d.chunks = slices.Insert(d.chunks, 1, c.split(d.ready))
		}
		if d.ready < len(c.messages) {
			return
		}
		d.next(ctx)
	}
}

func (d *download) next(ctx context.Context) {
	c := d.chunks[0]
	d.chunks, d.ready, d.began = d.chunks[1:], 0, d.runner.now()
	for _, m := range c.messages {
		c.bytes += int64(len(m.raw))
		checkBody(m)
	}
	d.bytes.Add(c.bytes)
	d.stopped = handOn(ctx, d.fetched, c)
}

// askAgain asks, one by one, for the messages of a chunk that the server left out
// or gave without their bodies. It gives up when that helps none of them.
func (d *download) askAgain(c *chunk) error {
	inVain := 0
	for _, m := range c.messages {
		if d.missing[m.UID] == nil {
			continue
		}
		if inVain == maxStreak || d.ending() {
			return transient("no_bodies", errors.New("the server says OK and gives no bodies"))
		}
		if err := d.fetchBodies([]*message{m}, func(_ uint32, raw []byte) bool { m.raw = raw; return true }); err != nil {
			return err
		}
		if inVain++; len(m.raw) > 0 {
			inVain = 0
		} else if m.raw == nil {
			m.fail("fetch", "no_body", errors.New("the server says OK and gives no body"))
		}
		delete(d.missing, m.UID)
	}
	return nil
}

// maxHeaderBytes bounds the headers that are downloaded by themselves.
const maxHeaderBytes = 8 << 20

// fetchBodies downloads messages, whole or their headers alone.
func (f *folderPass) fetchBodies(messages []*message, use func(uid uint32, raw []byte) (more bool)) error {
	var whole, headers []uint32
	for _, m := range messages {
		if m.headerOnly {
			headers = append(headers, m.UID)
		} else {
			whole = append(whole, m.UID)
		}
	}
	limit := f.maxMessageBytes() + f.maxMessageBytes()/2
	if len(whole) > 0 {
		if err := f.session.FetchBodies(whole, false, limit, use); err != nil {
			return err
		}
	}
	if len(headers) > 0 && f.session.Alive() {
		return f.session.FetchBodies(headers, true, maxHeaderBytes, use)
	}
	return nil
}
