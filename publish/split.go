package publish

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strings"
)

// splitter finds the leaves of a mail for its key, once over its bytes. A line
// that is not what the rules ask for is taken as text, with all that follows it
// in its part: of a mail that can be read in two ways every byte counts.
type splitter struct {
	raw    []byte
	open   []multipart    // outermost first
	byName map[string]int // of each boundary, the innermost in open
	leaves hash.Hash
	sum    leafSum // of the leaf at hand
	line   []byte  // room
	layers int     // how many mails that are encoded as a whole stand around this one
	looked int     // bytes that were looked at, each time counted
}

// multipart is one whose parts are being read.
type multipart struct {
	boundary string
	digest   bool
	outer    int // in open, one of the same boundary, or -1
}

// delimiter is a boundary line, or the end of the mail when level is -1.
type delimiter struct {
	level  int // in open
	closes bool
	before int // where what stands before it ends
	after  int // where the next line begins
}

func newSplitter(raw []byte) *splitter {
	return &splitter{raw: raw, leaves: sha256.New()}
}

// walk reads the mail and returns its header.
func (s *splitter) walk() *header {
	h, body, stray := s.header(0, true)
	s.parts(s.content(h, body, stray, false))
	return h
}

// parts reads on from the delimiter that ended the first part. What follows a
// closing delimiter is nobody's; a part that follows it is one.
func (s *splitter) parts(at delimiter) {
	for at.level >= 0 {
		s.closeTo(at.level + 1)
		if at.closes {
			at = s.find(at.after)
			continue
		}
		h, body, stray := s.header(at.after, false)
		if stray >= 0 {
			stray = at.after // a person may be shown its header
		}
		at = s.content(h, body, stray, s.open[at.level].digest)
	}
}

// content reads what belongs to a header: a leaf, up to the delimiter that ends
// it, or a multipart, up to its first part.
func (s *splitter) content(h *header, body, stray int, digest bool) delimiter {
	for {
		if stray >= 0 {
			return s.rawLeaf(stray)
		}
		kind, params := mediaType(h.contentType.first())
		if h.contentType.list == nil && digest {
			kind = "message/rfc822"
		}
		encoding := transferEncoding(h.transferEncoding.first())
		switch {
		case strings.HasPrefix(kind, "multipart/"):
			return s.multipart(body, boundary(params), kind == "multipart/digest")
		case kind != "message/rfc822" && kind != "message/global":
			at := s.find(body)
			s.leaf(kind, encoding, s.raw[body:at.before])
			return at
		case encoding != asItStands:
			at := s.find(body)
			s.encodedMail(kind, encoding, s.raw[body:at.before])
			return at
		}
		h, body, stray = s.header(body, true)
		s.mailWithin(h)
		digest = false
	}
}

// mailWithin counts the header of a mail within the mail, which is shown too.
func (s *splitter) mailWithin(h *header) {
	s.leaf("message/rfc822", asItStands, []byte(h.identity().HeaderKey))
}

// rawLeaf counts what nobody can tell how to read: as text, as it stands.
func (s *splitter) rawLeaf(begin int) delimiter {
	at := s.find(begin)
	s.leaf("text/plain", asItStands, s.raw[begin:at.before])
	return at
}

// maxLayers is how many mails are opened that stand one in the other and are
// each encoded as a whole, which no mail may be: each is a copy.
const maxLayers = 3

func (s *splitter) encodedMail(kind string, e encoding, body []byte) {
	if s.layers >= maxLayers {
		s.leaf(kind, e, body)
		return
	}
	var raw bytes.Buffer
	decode(e, body, &raw)
	inner := newSplitter(raw.Bytes())
	inner.leaves, inner.layers = s.leaves, s.layers+1
	h, at, stray := inner.header(0, true)
	inner.mailWithin(h)
	inner.parts(inner.content(h, at, stray, false))
	s.looked += len(body) + inner.looked
}

// multipart goes to the first part of a multipart whose body begins at body.
// One without is text.
func (s *splitter) multipart(body int, boundary string, digest bool) delimiter {
	level := len(s.open)
	if boundary == "" {
		return s.rawLeaf(body)
	}
	s.begin(multipart{boundary: boundary, digest: digest})
	at := s.find(body)
	for at.level == level && at.closes {
		at = s.find(at.after)
	}
	if at.level != level {
		s.closeTo(level)
		s.leaf("text/plain", asItStands, s.raw[body:at.before])
	}
	return at
}

func (s *splitter) begin(m multipart) {
	if s.byName == nil {
		s.byName = map[string]int{}
	}
	m.outer = -1
	if outer, ok := s.byName[m.boundary]; ok {
		m.outer = outer
	}
	s.byName[m.boundary] = len(s.open)
	s.open = append(s.open, m)
}

// closeTo leaves n multiparts open.
func (s *splitter) closeTo(n int) {
	for len(s.open) > n {
		last := s.open[len(s.open)-1]
		s.open = s.open[:len(s.open)-1]
		if last.outer >= 0 {
			s.byName[last.boundary] = last.outer
		} else {
			delete(s.byName, last.boundary)
		}
	}
}

// find returns the first delimiter from the line at pos on.
func (s *splitter) find(pos int) delimiter {
	end := delimiter{level: -1, before: len(s.raw), after: len(s.raw)}
	if len(s.open) == 0 {
		return end
	}
	for at := pos; at < len(s.raw); {
		if !bytes.HasPrefix(s.raw[at:], []byte("--")) {
			i := bytes.Index(s.raw[at:], []byte("\n--"))
			if i < 0 {
				s.looked += len(s.raw) - at
				return end
			}
			s.looked += i
			at += i + 1
		}
		next := s.lineEnd(at)
		if level, closes := s.match(s.raw[at:next]); level >= 0 {
			before := s.raw[pos:at]
			before = bytes.TrimSuffix(bytes.TrimSuffix(before, []byte("\n")), []byte("\r"))
			return delimiter{level: level, closes: closes, before: pos + len(before), after: next}
		}
		at = next
	}
	return end
}

// match tells which multipart a line is a delimiter of, else -1: an inner one
// goes before an outer one of the same boundary.
func (s *splitter) match(line []byte) (level int, closes bool) {
	if len(s.open) == 0 || !bytes.HasPrefix(line, []byte("--")) {
		return -1, false
	}
	name := trimBlanks(line[2:])
	if level, ok := s.byName[string(name)]; ok {
		return level, false
	}
	if name, cut := bytes.CutSuffix(name, []byte("--")); cut {
		if level, ok := s.byName[string(name)]; ok {
			return level, true
		}
	}
	return -1, false
}

// lineEnd returns where the line after the one at pos begins.
func (s *splitter) lineEnd(pos int) int {
	end := len(s.raw)
	if i := bytes.IndexByte(s.raw[pos:], '\n'); i >= 0 {
		end = pos + i + 1
	}
	s.looked += end - pos
	return end
}

// print is the content print.
func (s *splitter) print() (text [2 * sha256.Size]byte) {
	hex.Encode(text[:], s.leaves.Sum(s.line[:0]))
	return text
}
