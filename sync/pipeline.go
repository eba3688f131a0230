package sync

import (
	"context"
	"iter"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

const (
	// markedUIDs is how many UIDs are marked as being handled at once: after
	// being killed they are the suspects.
	markedUIDs = 1000
	// flightMessages is how many bodies one FETCH asks for.
	flightMessages = 500
	// batchUIDs is how many messages are handled at once outside a pass.
	batchUIDs = 500
)

// pipeline is the way of messages through a folder's pass.
type pipeline struct {
	windows iter.Seq[[]*message] // what to handle, in the order of the UIDs
	marked  *semaphore.Weighted  // messages that may be fetched: they are marked, not committed
	held    atomic.Int64         // bytes of the in-flight budget
}

// handleAll takes UIDs of any number through. Those that come next are marked
// as being handled by the commits of those before them.
func (f *folderPass) handleAll(ctx context.Context, uids []uint32) error {
	first := uids[:min(len(uids), markedUIDs)]
	f.toMark = uids[len(first):]
	defer func() { f.toMark = nil }()
	windows := func(yield func([]*message) bool) {
		for window := range slices.Chunk(uids, markedUIDs) {
			if !yield(newMessages(window)) {
				return
			}
		}
	}
	return f.stages(ctx, windows, toInt64(first))
}

// handleBatch takes at most markedUIDs messages through.
func (f *folderPass) handleBatch(ctx context.Context, messages []*message) error {
	var mark []int64
	for _, m := range messages {
		for range m.killed + 1 {
			mark = append(mark, int64(m.UID))
		}
	}
	return f.stages(ctx, slices.Values([][]*message{messages}), mark)
}

func toInt64(uids []uint32) []int64 {
	list := make([]int64, len(uids))
	for i, uid := range uids {
		list[i] = int64(uid)
	}
	return list
}

// stages writes down which UIDs are about to be handled, so that being killed by
// one of them counts, and then takes them through three stages that overlap:
// the first fetches a chunk, the second parses and publishes the one before, the
// third waits for the acknowledgements of the one before that and commits it.
// The order of chunks is kept, so the cursor only moves over what is final.
func (f *folderPass) stages(ctx context.Context, windows iter.Seq[[]*message], mark []int64) error {
	if err := f.store(ctx, f.cursor.markInFlight(mark)); err != nil {
		return err
	}
	p := &pipeline{windows: windows, marked: semaphore.NewWeighted(markedUIDs)}
	defer func() { f.runner.inFlight.Release(p.held.Load()) }()
	g, ctx := errgroup.WithContext(ctx)
	fetched, published := make(chan *chunk), make(chan *chunk)
	var fetchErr error // what was fetched before it is still handled
	stage := func(work func() error) { g.Go(func() error { return recovered(work) }) }
	stage(func() error {
		defer close(fetched)
		fetchErr = f.fetchWindows(ctx, p, fetched)
		return nil
	})
	stage(func() error {
		defer close(published)
		for c := range fetched {
			stopping := f.runner.stopping() // then what is only fetched is left for the next pass
			if !stopping {
				if err := f.prepare(ctx, c); err != nil {
					return err
				}
			}
			f.runner.inFlight.Release(c.weight)
			p.held.Add(-c.weight)
			if stopping {
				p.marked.Release(int64(len(c.messages)))
				continue
			}
			select {
			case published <- c:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	stage(func() error {
		for c := range published {
			if err := f.commit(ctx, c); err != nil {
				return err
			}
			p.marked.Release(int64(len(c.messages)))
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return fetchErr
}

// fetchWindows looks at the messages of one window after the other and
// downloads them.
func (f *folderPass) fetchWindows(ctx context.Context, p *pipeline, out chan<- *chunk) error {
	for messages := range p.windows {
		if f.runner.stopping() || f.quotaUsed() {
			return nil
		}
		if err := f.look(messages); err != nil {
			return err
		}
		within := f.withinQuota(messages)
		if err := f.fetchChunks(ctx, p, within, out); err != nil || len(within) < len(messages) {
			return err
		}
	}
	return nil
}
