package parse

import (
	"bytes"
	"slices"
)

// find returns the next boundary line at or after pos.
func (w *walker) find(pos int) hit {
	eof := hit{level: -1, end: len(w.raw), next: len(w.raw)}
	if len(w.stack) == 0 || w.full {
		return eof
	}
	at := pos
	for {
		if !(at == pos && bytes.HasPrefix(w.raw[at:], []byte("--"))) {
			i := dashes(w.raw[at:])
			if i < 0 {
				return eof
			}
			at += i
		}
		next := len(w.raw)
		if i := bytes.IndexByte(w.raw[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		level, closing := w.match(w.raw[at:next])
		if level >= 0 {
			end := at
			if end > pos && w.raw[end-1] == '\n' {
				end--
				if end > pos && w.raw[end-1] == '\r' {
					end--
				}
			}
			return hit{level: level, closing: closing, end: end, next: next}
		}
		at = max(next-1, at+1)
	}
}

// dashes returns where the first line of b after the one it begins with stands
// that begins with "--", or -1. Base64 has no dash, but a line end in every
// line: the dash is the quicker thing to look for. Where dashes are as common
// as line ends it is not.
func dashes(b []byte) int {
	at := 0
	for tries := 0; tries <= 8+at/256; tries++ {
		i := bytes.IndexByte(b[at:], '-')
		if i < 0 {
			return -1
		}
		at += i
		if at > 0 && b[at-1] == '\n' && bytes.HasPrefix(b[at:], []byte("--")) {
			return at
		}
		at++
	}
	if i := bytes.Index(b[at:], []byte("\n--")); i >= 0 {
		return at + i + 1
	}
	return -1
}

// match tells which open multipart a line is the boundary of. An inner one
// wins over an outer one of the same name.
func (w *walker) match(line []byte) (level int, closing bool) {
	if len(line) < 3 || line[0] != '-' || line[1] != '-' {
		return -1, false
	}
	line = bytes.TrimRight(line[2:], " \t\r\n")
	for l, b := range slices.Backward(w.stack) {
		if !bytes.HasPrefix(line, b) {
			continue
		}
		switch rest := line[len(b):]; {
		case len(rest) == 0:
			return l, false
		case len(rest) == 2 && rest[0] == '-' && rest[1] == '-':
			return l, true
		}
	}
	return -1, false
}

// boundary returns the boundary of the multipart p whose body begins at pos:
// the one it names if such a line exists, else the one its body begins with.
func (w *walker) boundary(p *part, pos int) []byte {
	named := []byte(p.typ.param("boundary"))
	if len(named) > 0 {
		w.stack = append(w.stack, named)
		h := w.find(pos)
		w.stack = w.stack[:len(w.stack)-1]
		if h.level == len(w.stack) {
			return named
		}
	}
	b := w.sniff(pos)
	if b == nil {
		w.ds.add("boundary_missing", "part "+p.path+": no line is its boundary")
		return named
	}
	w.ds.add("boundary_guessed", "part "+p.path+": "+string(b))
	return b
}

// sniff returns the boundary that the multipart body at pos seems to use: the
// first line of "--" that is followed by a header field.
func (w *walker) sniff(pos int) []byte {
	end := w.find(pos).end
	body := w.raw[min(pos, end):end]
	for tries := 0; len(body) > 0 && tries < 50; tries++ {
		i := 0
		if !bytes.HasPrefix(body, []byte("--")) {
			i = dashes(body)
			if i < 0 {
				return nil
			}
		}
		body = body[i:]
		line, rest, _ := bytes.Cut(body, []byte("\n"))
		name := bytes.TrimRight(line[2:], " \t\r")
		if len(name) > 0 && len(name) <= 200 && bytes.IndexByte(name, ' ') < 0 && looksLikeField(rest) {
			return name
		}
		body = rest
	}
	return nil
}

// hit is where a part ends: at a boundary line of stack[level], or at the end
// of the mail (level -1).
type hit struct {
	level   int
	closing bool
	end     int // end of the content before the boundary line
	next    int // begin of the line after it
}
