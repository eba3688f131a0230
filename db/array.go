package db

import (
	"database/sql/driver"
	"encoding/binary"

	"github.com/lib/pq/oid"
)

// texts and bigints are parameters of the types text[] and bigint[]. They go in
// Postgres' binary format, which spares both sides the quoting and the parsing;
// the driver sends bytes as that, see openPool.
type (
	texts   []string
	bigints []int64
)

// Value implements [driver.Valuer].
func (a texts) Value() (driver.Value, error) {
	size := arrayHead
	for _, s := range a {
		size += 4 + len(s)
	}
	b := appendArrayHead(make([]byte, 0, size), oid.T_text, len(a))
	for _, s := range a {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return b, nil
}

// Value implements [driver.Valuer].
func (a bigints) Value() (driver.Value, error) {
	b := appendArrayHead(make([]byte, 0, arrayHead+12*len(a)), oid.T_int8, len(a))
	for _, n := range a {
		b = binary.BigEndian.AppendUint32(b, 8)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return b, nil
}

const arrayHead = 20 // bytes, when there are elements

// appendArrayHead says what follows: one dimension from 1 to n, no NULL in it.
func appendArrayHead(b []byte, element oid.Oid, n int) []byte {
	dimensions := uint32(min(n, 1)) // an empty array has none
	b = binary.BigEndian.AppendUint32(b, dimensions)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(element))
	if dimensions > 0 {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
		b = binary.BigEndian.AppendUint32(b, 1)
	}
	return b
}
