package sync

import (
	"context"
	"errors"
	"slices"
	"time"
)

// fetchChunks downloads messages and hands them on chunk by chunk. A chunk
// whose download breaks off is handed on as far as it came.
func (f *folderPass) fetchChunks(ctx context.Context, p *pipeline, messages []*message, out chan<- *chunk) error {
	handOn := func(c *chunk) error {
		select {
		case out <- c:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for _, flight := range flights(f.cut(messages), f.chunkBytes()) {
		if f.runner.stopping() {
			return nil
		}
		var weight, count int64
		for _, c := range flight {
			weight += c.weight
			count += int64(len(c.messages))
		}
		if p.marked.Acquire(ctx, count) != nil || f.runner.inFlight.Acquire(ctx, weight) != nil {
			return context.Cause(ctx)
		}
		p.held.Add(weight)
		if f.runner.stopping() {
			return nil
		}
		if err := f.fetch(ctx, flight, handOn); err != nil {
			return err
		}
	}
	return nil
}

// withinQuota leaves of messages those that the provider's bytes of the day
// take, the last of them whole.
func (f *folderPass) withinQuota(messages []*message) []*message {
	quota := f.provider.MaxBytesPerDay
	if quota == 0 {
		return messages
	}
	left := quota - f.provider.BytesToday(f.started) - f.bytes.Load()
	for i, m := range messages {
		if left <= 0 {
			return messages[:i]
		}
		left -= m.Size
	}
	return messages
}

// flights joins small chunks, so that one FETCH asks for several: on a long
// line each costs a round trip. A flight of several weighs no more than limit.
func flights(chunks []*chunk, limit int64) [][]*chunk {
	var list [][]*chunk
	var weight int64
	var count int
	for i, c := range chunks {
		if i == 0 || weight+c.weight > limit || count+len(c.messages) > flightMessages {
			list, weight, count = append(list, nil), 0, 0
		}
		list[len(list)-1] = append(list[len(list)-1], c)
		weight, count = weight+c.weight, count+len(c.messages)
	}
	return list
}

// chunkBytes is how much one FETCH asks for unless it is one message: no more
// than the body of one may have.
func (f *folderPass) chunkBytes() int64 {
	return min(chunkBytes, f.runner.Options.MaxInFlightBytes, f.maxMessageBytes())
}

// cut parts messages into chunks by number and bytes.
func (f *folderPass) cut(messages []*message) []*chunk {
	var chunks []*chunk
	var c *chunk
	for _, m := range messages {
		size := m.Size
		if m.headerOnly {
			size = 64 << 10
		}
		if c == nil || len(c.messages) == chunkMessages || c.weight+size > f.chunkBytes() {
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

// split leaves the first n messages in the chunk and returns one of the others.
func (c *chunk) split(n int) *chunk {
	rest := &chunk{messages: c.messages[n:], weight: c.weight * int64(len(c.messages)-n) / int64(len(c.messages))}
	c.messages, c.weight = c.messages[:n:n], c.weight-rest.weight
	return rest
}

// fetch downloads the bodies of chunks by one FETCH and hands on each chunk as
// soon as it is whole. Of a message that the server leaves out, or gives without
// its body, it asks once more by itself.
func (f *folderPass) fetch(ctx context.Context, flight []*chunk, handOn func(*chunk) error) error {
	missing := map[uint32]*message{}
	var whole, headers []uint32
	for _, c := range flight {
		for _, m := range c.messages {
			switch {
			case m.expunged || m.failure != nil:
			case m.headerOnly:
				missing[m.UID], headers = m, append(headers, m.UID)
			default:
				missing[m.UID], whole = m, append(whole, m.UID)
			}
		}
	}
	var stopped error
	ready, began := 0, time.Now() // of flight[0], how many are whole; since when it is filled
	next := func() error {
		c := flight[0]
		flight = flight[1:]
		ready, began = 0, time.Now()
		for _, m := range c.messages {
			f.bytes.Add(int64(len(m.raw)))
			c.bytes += int64(len(m.raw))
			f.judge(m)
		}
		return handOn(c)
	}
	isMissing := func(m *message) bool { return missing[m.UID] != nil }
	use := func(uid uint32, raw []byte) {
		m := missing[uid]
		if m == nil || stopped != nil {
			return // given twice: the first may be read by others now
		}
		m.raw = raw
		if len(raw) > 0 || m.Size == 0 {
			delete(missing, uid)
		}
		for stopped == nil && len(flight) > 0 {
			c := flight[0]
			for ready < len(c.messages) && !isMissing(c.messages[ready]) {
				ready++
			}
			if 0 < ready && ready < len(c.messages) && time.Since(began) >= chunkPatience {
				flight = slices.Insert(flight, 1, c.split(ready))
			}
			if ready < len(c.messages) {
				break
			}
			stopped = next()
		}
	}
	err := f.fetchAll(whole, headers, use)
	for err == nil && stopped == nil && len(flight) > 0 {
		for _, m := range flight[0].messages {
			if !isMissing(m) {
				continue
			}
			if err = f.fetchAll(only(m, false), only(m, true), func(_ uint32, raw []byte) { m.raw = raw }); err != nil {
				break
			}
			if m.raw == nil {
				m.fail("fetch", "no_body", errors.New("the server says OK and gives no body"))
			}
			delete(missing, m.UID)
		}
		if err == nil {
			stopped = next()
		}
	}
	if stopped != nil {
		return stopped
	}
	if err != nil && len(flight) > 0 {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		flight[0].messages = slices.DeleteFunc(flight[0].messages, func(m *message) bool {
			return m.raw == nil && !m.expunged && m.failure == nil
		})
		if stopped = next(); stopped != nil {
			return stopped
		}
	}
	return err
}

func only(m *message, headerOnly bool) []uint32 {
	if m.headerOnly == headerOnly {
		return []uint32{m.UID}
	}
	return nil
}

func (f *folderPass) fetchAll(whole, headers []uint32, use func(uid uint32, raw []byte)) error {
	limit := f.maxMessageBytes() + f.maxMessageBytes()/2
	if len(whole) > 0 {
		if err := f.session.FetchBodies(whole, false, limit, use); err != nil {
			return err
		}
	}
	if len(headers) > 0 {
		return f.session.FetchBodies(headers, true, maxHeaderBytes, use)
	}
	return nil
}
