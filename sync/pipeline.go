package sync

import (
	"context"
	"iter"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

const (
	// markedUIDs is how many UIDs are marked as being handled at once: after
	// being killed they are handled apart.
	markedUIDs = 1000
	// batchUIDs is how many messages are handled at once outside a pass.
	batchUIDs = 500
)

// handleAll takes UIDs of any number through. Those that come next are marked
// as being handled by the commits of those before them.
func (f *folderPass) handleAll(ctx context.Context, uids []uint32) error {
	first := uids[:min(len(uids), markedUIDs)]
	f.toMark = uids[len(first):]
	defer func() { f.toMark = nil }()
	batches := func(yield func([]*message) bool) {
		for batch := range slices.Chunk(uids, markedUIDs) {
			if !yield(newMessages(batch)) {
				return
			}
		}
	}
	return f.takeThrough(ctx, batches, toInt64(first))
}

// handleBatch takes at most markedUIDs messages through.
func (f *folderPass) handleBatch(ctx context.Context, messages []*message) error {
	var mark []int64
	for _, m := range messages {
		for range m.killed + 1 {
			mark = append(mark, int64(m.UID))
		}
	}
	return f.takeThrough(ctx, slices.Values([][]*message{messages}), mark)
}

func toInt64(uids []uint32) []int64 {
	list := make([]int64, len(uids))
	for i, uid := range uids {
		list[i] = int64(uid)
	}
	return list
}

// pipeline is the way of messages through a folder's pass: three stages that
// overlap, each with one goroutine. The order of chunks is kept, so the cursor
// only moves over what is final.
type pipeline struct {
	*folderPass
	room      *semaphore.Weighted // for messages that may be fetched: they are marked, and not committed yet
	held      atomic.Int64        // bytes of the in-flight budget
	fetched   chan *chunk
	published chan *chunk
}

// takeThrough writes down which UIDs are about to be handled, so that being killed by
// one of them counts, and then takes them through.
func (f *folderPass) takeThrough(ctx context.Context, batches iter.Seq[[]*message], mark []int64) error {
	if err := f.store(ctx, f.cursor.markInFlight(mark)); err != nil {
		return err
	}
	f.sent, f.began = nil, f.runner.now()
	p := &pipeline{folderPass: f, room: semaphore.NewWeighted(markedUIDs), fetched: make(chan *chunk), published: make(chan *chunk)}
	defer func() { f.runner.inFlight.Release(p.held.Load()) }()
	g, ctx := errgroup.WithContext(ctx)
	stage := func(work func() error) { g.Go(func() error { return recovered(work) }) }
	var fetchErr error // what was fetched before it is still handled
	stage(func() error {
		defer close(p.fetched)
		fetchErr = p.fetchBatches(ctx, batches)
		return nil
	})
	stage(func() error {
		defer close(p.published)
		return p.prepareChunks(ctx)
	})
	stage(func() error { return p.commitChunks(ctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	return fetchErr
}

// fetchBatches is the first stage: it asks for the sizes of one batch after the
// other, and downloads them.
func (p *pipeline) fetchBatches(ctx context.Context, batches iter.Seq[[]*message]) error {
	for messages := range batches {
		if p.mustEnd() {
			return nil
		}
		if err := p.askSizes(messages); err != nil {
			return err
		}
		within := p.withinQuota(messages)
		if err := p.fetchWindows(ctx, within); err != nil || len(within) < len(messages) {
			return err
		}
	}
	return nil
}

// prepareChunks is the second stage: it parses what was fetched and publishes it.
func (p *pipeline) prepareChunks(ctx context.Context) error {
	for c := range p.fetched {
		if err := p.prepare(ctx, c); err != nil {
			return err
		}
		p.runner.inFlight.Release(c.weight)
		p.held.Add(-c.weight)
		if err := handOn(ctx, p.published, c); err != nil {
			return err
		}
	}
	return nil
}

// commitChunks is the third stage: it waits for acknowledgements and moves the cursor.
func (p *pipeline) commitChunks(ctx context.Context) error {
	for c := range p.published {
		if err := p.commit(ctx, c); err != nil {
			return err
		}
		p.room.Release(int64(len(c.messages)))
	}
	return nil
}

// handOn gives a chunk to the next stage.
func handOn(ctx context.Context, to chan<- *chunk, c *chunk) error {
	select {
	case to <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A chunk is what one transaction commits: so many messages, so many bytes, or
// what came in so long a time.
const (
	chunkMessages = 250
	chunkBytes    = 4 << 20
	chunkPatience = time.Second
	// windowMessages is how many bodies one FETCH asks for.
	windowMessages = 500
	// headerWeight is what a message counts of which only the header is read.
	headerWeight = 64 << 10
)

type chunk struct {
	messages []*message
	weight   int64 // bytes held of the in-flight budget
	bytes    int64 // downloaded
}

// maxChunkBytes is how much one FETCH asks for unless it is one message: no more
// than the body of one may have.
func (f *folderPass) maxChunkBytes() int64 {
	return min(chunkBytes, f.runner.Options.MaxInFlightBytes, f.maxMessageBytes())
}

// chunks parts messages by number and bytes.
func (f *folderPass) chunks(messages []*message) []*chunk {
	var chunks []*chunk
	var c *chunk
	for _, m := range messages {
		size := m.Size
		switch {
		case m.absent || m.failure != nil:
			size = 0
		case m.headerOnly:
			size = headerWeight
		case size == 0:
			size = f.maxChunkBytes() // the server does not say
		}
		if c == nil || len(c.messages) == chunkMessages || c.weight+size > f.maxChunkBytes() {
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

// windows joins small chunks, so that one FETCH asks for several: on a long
// line each costs a round trip. A window of several weighs no more than limit.
func windows(chunks []*chunk, limit int64) [][]*chunk {
	var list [][]*chunk
	var weight int64
	var count int
	for i, c := range chunks {
		if i == 0 || weight+c.weight > limit || count+len(c.messages) > windowMessages {
			list, weight, count = append(list, nil), 0, 0
		}
		list[len(list)-1] = append(list[len(list)-1], c)
		weight, count = weight+c.weight, count+len(c.messages)
	}
	return list
}
