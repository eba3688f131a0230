package parse

import (
	"bytes"
	"slices"
	"strconv"
)

// part is one node of the MIME tree. body is the raw bytes of a leaf.
type part struct {
	path     string // "1", "2.1"; "" for the mail itself
	head     fields
	typ      mediaType // Content-Type, with the default of its place
	disp     mediaType // Content-Disposition
	body     []byte
	parent   *part
	children []*part
}

func (p *part) isMultipart() bool { return p.typ.major == "multipart" }

// walk reads the tree of parts in one pass over raw. It is a total function:
// any bytes are a tree.
func walk(raw []byte, lim Limits, ds *defects) *part {
	w := &walker{raw: raw, lim: lim, ds: ds}
	root := &part{}
	w.part(root, 0)
	return root
}

type walker struct {
	raw   []byte
	lim   Limits
	ds    *defects
	stack [][]byte // boundaries of the open multiparts, outermost first
	parts int
	full  bool // the limit of parts is reached: no more boundaries
}

// part reads a header and what follows it, from pos to the boundary line that
// ends it, which it returns.
func (w *walker) part(p *part, pos int) hit {
	w.parts++
	var stop func([]byte) bool
	if len(w.stack) > 0 {
		stop = func(line []byte) bool { l, _ := w.match(line); return l >= 0 }
	}
	var n int
	p.head, n = splitHeader(w.raw[pos:], w.lim.HeaderBytes, stop, w.ds)
	pos += n
	p.typ = contentType(p, w.ds)
	p.disp = parseDisposition(p.head.get("content-disposition"))

	switch {
	case !p.isMultipart() || w.full:
	case len(w.stack) >= w.lim.Nesting:
		w.ds.add("nesting_too_deep", "parts beyond "+strconv.Itoa(w.lim.Nesting)+" levels are one part")
	default:
		if b := w.boundary(p, pos); len(b) > 0 {
			return w.multipart(p, b, pos)
		}
		// No boundary to be found: what stands there is one part, with a header
		// of its own or as plain text.
		if beginsWithHeader(w.raw[pos:]) && w.parts < w.lim.Parts {
			child := &part{parent: p, path: w.childPath(p)}
			p.children = append(p.children, child)
			return w.part(child, pos)
		}
		p.typ = mediaType{major: "text", minor: "plain"}
	}
	h := w.find(pos)
	p.body = w.raw[pos:max(pos, h.end)]
	return h
}

func (w *walker) childPath(p *part) string {
	n := strconv.Itoa(len(p.children) + 1)
	if p.path == "" {
		return n
	}
	return p.path + "." + n
}

// beginsWithHeader reports whether b begins with the header of a part or of a
// mail: by its first field, for prose has colons too.
func beginsWithHeader(b []byte) bool {
	if bytes.HasPrefix(b, []byte("From ")) {
		_, b, _ = bytes.Cut(b, []byte("\n"))
	}
	return slices.ContainsFunc([]string{
		"content-type:", "content-transfer-encoding:", "content-disposition:", "mime-version:",
		"from:", "to:", "subject:", "date:", "message-id:", "received:", "return-path:",
	}, func(name string) bool { return hasPrefixFold(b, name) })
}

func (w *walker) multipart(p *part, boundary []byte, pos int) hit {
	level := len(w.stack)
	w.stack = append(w.stack, boundary)
	h := w.find(pos)
	first := h
	for h.level == level && !h.closing {
		if w.parts >= w.lim.Parts {
			w.full = true
			w.ds.add("too_many_parts", "parts beyond "+strconv.Itoa(w.lim.Parts)+" are left in one")
		}
		child := &part{parent: p, path: w.childPath(p)}
		p.children = append(p.children, child)
		h = w.part(child, h.next)
	}
	w.stack = w.stack[:level]
	if h.level == level { // closed: what follows is the epilogue
		h = w.find(h.next)
	} else {
		w.ds.add("multipart_unclosed", "part "+p.path+": no closing boundary")
	}
	if len(p.children) == 0 {
		w.ds.add("multipart_empty", "part "+p.path+": no part inside")
		p.body = w.raw[pos:max(pos, first.end)]
		p.typ = mediaType{major: "text", minor: "plain"}
	}
	return h
}

// hit is where a part ends: at a boundary line of stack[level], or at the end
// of the mail (level -1).
type hit struct {
	level   int
	closing bool
	end     int // end of the content before the boundary line
	next    int // begin of the line after it
}

// find returns the next boundary line from the line at pos on.
func (w *walker) find(pos int) hit {
	for at := pos; len(w.stack) > 0 && !w.full; {
		i := dashLine(w.raw[at:])
		if i < 0 {
			break
		}
		at += i
		next := len(w.raw)
		if i := bytes.IndexByte(w.raw[at:], '\n'); i >= 0 {
			next = at + i + 1
		}
		if level, closing := w.match(w.raw[at:next]); level >= 0 {
			before := bytes.TrimSuffix(bytes.TrimSuffix(w.raw[pos:at], []byte("\n")), []byte("\r"))
			return hit{level: level, closing: closing, end: pos + len(before), next: next}
		}
		at = next
	}
	return hit{level: -1, end: len(w.raw), next: len(w.raw)}
}

// dashLine returns where the first line of b begins that begins with "--", or
// -1. Base64 has no dash, but a line end in every line: the dash is the quicker
// thing to look for. Where dashes are as common as line ends it is not.
func dashLine(b []byte) int {
	at := 0
	for tries := 0; tries <= 8+at/256; tries++ {
		i := bytes.IndexByte(b[at:], '-')
		if i < 0 {
			return -1
		}
		at += i
		if (at == 0 || b[at-1] == '\n') && bytes.HasPrefix(b[at:], []byte("--")) {
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
	line, dashes := bytes.CutPrefix(line, []byte("--"))
	if !dashes {
		return -1, false
	}
	line = bytes.TrimRight(line, " \t\r\n")
	for l, boundary := range slices.Backward(w.stack) {
		switch rest, ok := bytes.CutPrefix(line, boundary); {
		case ok && len(rest) == 0:
			return l, false
		case ok && string(rest) == "--":
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
	for range 50 {
		i := dashLine(body)
		if i < 0 {
			break
		}
		line, rest, _ := bytes.Cut(body[i:], []byte("\n"))
		name := bytes.TrimRight(line[2:], " \t\r")
		if len(name) > 0 && len(name) <= 200 && bytes.IndexByte(name, ' ') < 0 && looksLikeField(rest) {
			return name
		}
		body = rest
	}
	return nil
}
