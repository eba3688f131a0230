package sync

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// wireLimits bounds what a server may cost. A zero field takes its default.
type wireLimits struct {
	Command     time.Duration // silence, or an unfinished line, while a command is outstanding; 30 s
	Literal     time.Duration // time in which a literal must advance by 16 KiB (or end); 60 s
	Idle        time.Duration // silence in IDLE; 10 min. At rest there is no limit
	Line        int           // bytes of one line without its literals; 1 MiB
	SearchNums  int           // numbers in one SEARCH response; 2,000,000
	LiteralSize int64         // bytes announced for one literal; 64 MiB
	Buffer      int           // bytes of a literal kept in memory while its UID is unknown; 256 KiB
	Total       int64         // bytes read over the life of the connection; 0 is no limit
}

func (lim wireLimits) withDefaults() wireLimits {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&lim.Command, 30*time.Second)
	def(&lim.Literal, 60*time.Second)
	def(&lim.Idle, 10*time.Minute)
	if lim.Line <= 0 {
		lim.Line = 1 << 20
	}
	if lim.SearchNums <= 0 {
		lim.SearchNums = 2_000_000
	}
	if lim.LiteralSize <= 0 {
		lim.LiteralSize = 64 << 20
	}
	if lim.Buffer <= 0 {
		lim.Buffer = 256 << 10
	}
	return lim
}

const (
	wireBuffer   = 32 << 10 // socket buffer; a literal read into less than half of it goes through it
	wireProgress = 16 << 10 // bytes that count as progress inside a line or a literal
)

// errWireTimeout is in the chain of every error caused by a server that stays
// silent or drips. os.ErrDeadlineExceeded is too.
var errWireTimeout = errors.New("server too slow")

// limitError says that the server exceeded a cap of wireLimits.
type limitError struct {
	What string // "line", "literal", "search", "connection"
	Got  int64  // bytes or numbers announced or read, at least
	Max  int64
}

func (e *limitError) Error() string {
	if e.What == "search" {
		return fmt.Sprintf("server sent a search response of more than %d numbers", e.Max)
	}
	return fmt.Sprintf("server sent a %s of %d bytes, over the limit of %d", e.What, e.Got, e.Max)
}

// protocolError says that the server sent what no repair makes sense of. Line
// is a redacted, printable excerpt.
type protocolError struct {
	What string
	Line string
}

func (e *protocolError) Error() string {
	if e.Line == "" {
		return "protocol: " + e.What
	}
	return fmt.Sprintf("protocol: %s: %q", e.What, e.Line)
}

// wireError is the first thing that ended a connection: what was being waited
// for, and the cause with its type intact.
type wireError struct {
	Command string // "greeting", "UID FETCH", … never arguments; "" when none was outstanding
	Err     error
}

func (e *wireError) Error() string {
	if e.Command == "" {
		return e.Err.Error()
	}
	return strings.ToLower(e.Command) + ": " + e.Err.Error()
}

func (e *wireError) Unwrap() error { return e.Err }

// status is what the server last said about itself or about a command: an
// untagged BYE, NO or BAD, or a tagged NO or BAD (RFC 3501 section 7.1).
type status struct {
	Type    string // "BYE", "NO", "BAD"; "" when there was none
	Code    string // response code in upper case without brackets, may be ""
	Args    string // what followed the code inside the brackets
	Text    string // valid UTF-8 without control characters, secrets redacted
	Command string // the command it answers; "" when untagged
}

func (s status) String() string {
	var b strings.Builder
	b.WriteString(s.Type)
	if s.Code != "" {
		b.WriteString(" [" + s.Code)
		if s.Args != "" {
			b.WriteString(" " + s.Args)
		}
		b.WriteString("]")
	}
	if s.Text != "" {
		b.WriteString(" " + s.Text)
	}
	return b.String()
}
