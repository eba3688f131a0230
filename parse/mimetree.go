package parse

import (
	"bytes"
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
	for _, name := range []string{"content-type:", "content-transfer-encoding:", "content-disposition:", "mime-version:",
		"from:", "to:", "subject:", "date:", "message-id:", "received:", "return-path:"} {
		if hasPrefixFold(b, name) {
			return true
		}
	}
	return false
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
