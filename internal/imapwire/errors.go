package imapwire

import (
	"errors"
	"fmt"
	"strings"
)

// ErrTimeout is in the chain of every error caused by a server that stays
// silent or drips. os.ErrDeadlineExceeded is too.
var ErrTimeout = errors.New("server too slow")

// LimitError says that the server exceeded a cap of Limits.
type LimitError struct {
	What string // "line", "literal", "search", "list"
	Got  int64  // bytes or numbers announced or read, at least
	Max  int64
}

func (e *LimitError) Error() string {
	if e.What == "search" {
		return fmt.Sprintf("server sent a search response of more than %d numbers", e.Max)
	}
	return fmt.Sprintf("server sent a %s of %d bytes, over the limit of %d", e.What, e.Got, e.Max)
}

// ProtocolError says that the server sent what no repair makes sense of. Line
// is a redacted, printable excerpt.
type ProtocolError struct {
	What string
	Line string
}

func (e *ProtocolError) Error() string {
	if e.Line == "" {
		return "protocol: " + e.What
	}
	return fmt.Sprintf("protocol: %s: %q", e.What, e.Line)
}

// Error is the first thing that ended a connection: what was being waited
// for, and the cause with its type intact.
type Error struct {
	Command string // "greeting", "UID FETCH", … never arguments; "" when none was outstanding
	Err     error
}

func (e *Error) Error() string {
	if e.Command == "" {
		return e.Err.Error()
	}
	return strings.ToLower(e.Command) + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Status is what the server last said about itself or about a command: an
// untagged BYE, NO or BAD, or a tagged NO or BAD (RFC 3501 section 7.1).
type Status struct {
	Type    string // "BYE", "NO", "BAD"; "" when there was none
	Code    string // response code in upper case without brackets, may be ""
	Args    string // what followed the code inside the brackets
	Text    string // valid UTF-8 without control characters, secrets redacted
	Command string // the command it answers; "" when untagged
}

func (s Status) String() string {
	parts := []string{s.Type}
	if s.Code != "" {
		parts = append(parts, "["+strings.TrimSpace(s.Code+" "+s.Args)+"]")
	}
	if s.Text != "" {
		parts = append(parts, s.Text)
	}
	return strings.Join(parts, " ")
}
