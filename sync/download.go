package sync

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
)

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
			if byUID[m.uid] == nil || len(m.raw) > 0 || m.raw != nil && m.size == 0 {
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
