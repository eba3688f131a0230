package db

import (
	"database/sql/driver"

	"github.com/lib/pq"
)

// InFlight is a list of UIDs; one that was killed before is in it several times.
// Every commit rewrites it, so the column holds it packed: an element is a UID
// and, in the bits from packBits up, which of the UIDs after it come next in the
// list. One without such bits is that UID, as every element once was.
type InFlight []int64

const (
	packBits  = 32 // of a UID
	packAfter = 31 // UIDs that the bits above can name
)

// Value implements [driver.Valuer].
func (f InFlight) Value() (driver.Value, error) {
	packed := pq.Int64Array{} // never NULL
	var first, last int64
	for i, uid := range f {
		if i > 0 && uid > last && uid-first <= packAfter {
			packed[len(packed)-1] |= 1 << (packBits + uid - first - 1)
		} else {
			packed, first = append(packed, uid), uid
		}
		last = uid
	}
	return packed.Value()
}

// Scan implements [database/sql.Scanner].
func (f *InFlight) Scan(src any) error {
	var packed pq.Int64Array
	if err := packed.Scan(src); err != nil {
		return err
	}
	*f = nil
	for _, element := range packed {
		first := element & (1<<packBits - 1)
		*f = append(*f, first)
		for i := range int64(packAfter) {
			if element>>(packBits+i)&1 == 1 {
				*f = append(*f, first+1+i)
			}
		}
	}
	return nil
}
