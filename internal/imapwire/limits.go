package imapwire

import (
	"cmp"
	"time"
)

// Limits bounds what a server may cost. A zero field takes its default.
type Limits struct {
	Command     time.Duration // silence, or an unfinished line, while a command is outstanding; 30 s
	Literal     time.Duration // time in which a literal must advance by 16 KiB (or end); 60 s
	Idle        time.Duration // silence in IDLE; 10 min. At rest there is no limit
	Line        int           // bytes of one line without its literals; 1 MiB
	SearchNums  int           // numbers in one SEARCH response; 2,000,000
	LiteralSize int64         // bytes announced for one literal; 64 MiB
	Buffer      int           // bytes of a literal kept in memory while its UID is unknown; 256 KiB
	Total       int64         // bytes read over the life of the connection; 0 is no limit
}

func (lim Limits) withDefaults() Limits {
	return Limits{
		Command:     cmp.Or(lim.Command, 30*time.Second),
		Literal:     cmp.Or(lim.Literal, 60*time.Second),
		Idle:        cmp.Or(lim.Idle, 10*time.Minute),
		Line:        cmp.Or(lim.Line, 1<<20),
		SearchNums:  cmp.Or(lim.SearchNums, 2_000_000),
		LiteralSize: cmp.Or(lim.LiteralSize, 64<<20),
		Buffer:      cmp.Or(lim.Buffer, 256<<10),
		Total:       lim.Total,
	}
}

const (
	bufferSize    = 32 << 10 // socket buffer; a literal read into less than half of it goes through it
	progressBytes = 16 << 10 // bytes that count as progress inside a line or a literal
)
