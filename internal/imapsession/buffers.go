package imapsession

import "sync"

// pooledBytes is the size from which a message's memory is used again rather
// than left to the garbage collector, which lets it pile up.
const pooledBytes = 1 << 20

// Buffers keeps the memory of large messages for the next ones. It never holds
// more than Max bytes.
type Buffers struct {
	mu   sync.Mutex
	free [][]byte
	held int64
	Max  int64
}

// Get returns size bytes, not zeroed.
func (b *Buffers) Get(size int64) []byte {
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

// Put takes back what nobody refers to any more.
func (b *Buffers) Put(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cap(buf) < pooledBytes || b.held+int64(cap(buf)) > b.Max {
		return
	}
	b.free = append(b.free, buf)
	b.held += int64(cap(buf))
}
