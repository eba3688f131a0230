package sync

import "time"

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
		if m.headerOnly {
			size = headerWeight
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
