// Package secret holds credentials so that they cannot be printed by mistake,
// seals them for storage, and reads them and the sealing keys from files.
//
// Invariants: a Value prints as "[redacted]" however it is formatted, logged
// or marshalled, and only Reveal gives the bytes; no error of this package
// carries any part of a secret or a key.
package secret

import (
	"crypto/subtle"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
)

const redacted = "[redacted]"

// Value is one secret. The zero Value is no secret at all. The text sits in a
// closure rather than behind a plain pointer: printers that walk unexported
// fields by reflection (fmt in an enclosing struct, go-cmp) see an address at
// most. Compare with Equal and IsZero; == does not compile.
type Value struct {
	reveal func() string
}

// New returns the secret s. The empty string gives the zero Value.
func New(s string) Value {
	if s == "" {
		return Value{}
	}
	return Value{reveal: func() string { return s }}
}

// Reveal returns the secret itself: the only way to it, so that every use can
// be found by name.
func (v Value) Reveal() string {
	if v.reveal == nil {
		return ""
	}
	return v.reveal()
}

// IsZero reports whether there is no secret.
func (v Value) IsZero() bool { return v.reveal == nil }

// Equal compares two secrets in constant time. go-cmp uses it too.
func (v Value) Equal(w Value) bool {
	return subtle.ConstantTimeCompare([]byte(v.Reveal()), []byte(w.Reveal())) == 1
}

// String returns "[redacted]".
func (Value) String() string { return redacted }

// GoString returns "[redacted]".
func (Value) GoString() string { return redacted }

// Format writes "[redacted]" for every verb.
func (Value) Format(s fmt.State, _ rune) { _, _ = s.Write([]byte(redacted)) }

// MarshalText returns "[redacted]". XML and gob come through here.
func (Value) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (Value) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue returns "[redacted]".
func (Value) LogValue() slog.Value { return slog.StringValue(redacted) }

var errNoSQL = errors.New("secret: a secret is stored sealed, never as a column value")

// Value refuses: a secret reaches a database as a sealed envelope only.
func (Value) Value() (driver.Value, error) { return nil, errNoSQL }

// Scan refuses: a secret comes out of a database by Box.Open only.
func (*Value) Scan(any) error { return errNoSQL }
