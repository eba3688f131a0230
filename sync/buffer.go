package sync

import "sync"

// pooledBytes is the size from which a message's memory is used again rather
// than left to the garbage collector, which lets it pile up.
const pooledBytes = 1 << 20

// buffers keeps the memory of large messages for the next ones. It never holds
// more than max bytes.
type buffers struct {
	mu   sync.Mutex
	free [][]byte
	held int64
	max  int64
}

// get returns size bytes, not zeroed.
func (b *buffers) get(size int64) []byte {
	if b == nil || size < pooledBytes {
		return make([]byte, size)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, buf := range b.free {
		if int64(cap(buf)) >= size && int64(cap(buf)) <= 4*size {
			b.free = append(b.free[:i], b.free[i+1:]...)
			b.held -= int64(cap(buf))
			return buf[:size]
		}
	}
	// None fits: what is kept would only stand beside the new one.
	b.free, b.held = nil, 0
	return make([]byte, size, size+size/8)
}

// put takes back what nobody refers to any more.
func (b *buffers) put(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cap(buf) < pooledBytes || b.held+int64(cap(buf)) > b.max {
		return
	}
	b.free = append(b.free, buf)
	b.held += int64(cap(buf))
}
