package parse

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// content is what the leaves of the tree amount to.
type content struct {
	text    []byte // all text/plain parts, UTF-8
	html    []byte // all text/html parts, UTF-8
	hasText bool   // there is a text/plain part, if only an empty one
	charset string // label of the first text part: a hint for raw header bytes
	files   []Attachment
	leaves  []*part
}

// sortLeaves goes through the leaves in the order of the mail: text/plain and text/html
// that are no attachments are the body, every other leaf is a file.
func sortLeaves(root *part, lim Limits, ds *defects) *content {
	c := &content{}
	c.leaves = appendLeaves(nil, root)
	var winmails []*part
	for _, p := range c.leaves {
		if p.typ.major == "text" && c.charset == "" {
			c.charset = p.typ.param("charset")
		}
		switch {
		case p.isBody() && p.typ.minor == "plain":
			c.hasText = true
			c.text = c.appendBody(c.text, p, lim, ds)
		case p.isBody():
			c.html = c.appendBody(c.html, p, lim, ds)
		case p.isWinmail():
			winmails = append(winmails, p)
		default:
			c.addFile(p, ds)
		}
	}
	for _, p := range winmails { // last: their text counts only when there is no other
		if !openWinmail(c, p, lim, ds) {
			c.addFile(p, ds)
		}
	}
	c.markInline()
	return c
}

func appendLeaves(out []*part, p *part) []*part {
	if len(p.children) == 0 {
		return append(out, p)
	}
	for _, child := range p.children {
		out = appendLeaves(out, child)
	}
	return out
}

// isBody reports whether a leaf is shown as the mail's text.
func (p *part) isBody() bool {
	return p.typ.is("text", "plain", "html") && p.disp.major != "attachment"
}

func (p *part) encoding(ds *defects) encoding {
	v := p.head.get("content-transfer-encoding")
	e, known := transferEncoding(v)
	if !known {
		ds.add("transfer_encoding_unknown", string(v[:min(len(v), 40)]))
	}
	return e
}

// appendBody appends the text of p to dst, on a line of its own.
func (c *content) appendBody(dst []byte, p *part, lim Limits, ds *defects) []byte {
	left := lim.TextBytes - len(c.text) - len(c.html)
	raw := decodeTransfer(p.encoding(ds), p.body, left+1)
	text := p.toUTF8(raw[:min(len(raw), left)], ds)
	most := len(dst) + left
	if len(dst) > 0 && len(text) > 0 && dst[len(dst)-1] != '\n' {
		dst = append(dst, '\n')
	}
	if p.typ.minor == "plain" && strings.EqualFold(p.typ.param("format"), "flowed") {
		text = unflow(cleanText(nil, text), strings.EqualFold(p.typ.param("delsp"), "yes"))
	}
	dst = cleanText(slices.Grow(dst, len(text)+1), text)
	if len(raw) > left || len(dst) > most {
		ds.add("text_too_long", "text beyond the limit is left out")
		dst = shorten(dst, most)
	}
	return dst
}

// toUTF8 decodes the text of p by its label, an HTML document without one by
// its own.
func (p *part) toUTF8(raw []byte, ds *defects) []byte {
	label := p.typ.param("charset")
	cs, known := lookupCharset(label)
	if !known && p.typ.minor == "html" && !utf8.Valid(raw) {
		if meta := metaCharset(raw); meta != "" {
			cs, known = lookupCharset(meta)
		}
	}
	if !known && label != "" {
		ds.add("charset_unknown", label)
	}
	return bytes.TrimPrefix(cs.toUTF8(raw), []byte("\xef\xbb\xbf"))
}

// id is the part path; a mail that is one part is part "1" (RFC 3501).
func (p *part) id() string { return cmp.Or(p.path, "1") }

// unflow joins the lines of format=flowed text that were broken for display
// only (RFC 3676 section 4), within each depth of quoting. delSp drops the
// blank before the break as well.
func unflow(b []byte, delSp bool) []byte {
	if bytes.IndexByte(b, ' ') < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	soft := false // the line before ended in a soft break
	depth := 0
	for line := range bytes.Lines(b) {
		line, ended := bytes.CutSuffix(line, []byte("\n"))
		text := bytes.TrimLeft(line, ">")
		d := len(line) - len(text)
		text = bytes.TrimPrefix(text, []byte(" ")) // stuffed
		if soft && d == depth && !isSignatureMark(string(text)) {
			if delSp {
				out = out[:len(out)-1]
			}
		} else {
			if soft {
				out = append(out, '\n')
			}
			out = append(out, line[:d]...)
			if d > 0 && len(text) > 0 {
				out = append(out, ' ')
			}
		}
		out = append(out, text...)
		depth = d
		soft = ended && bytes.HasSuffix(text, []byte(" ")) && string(text) != "-- "
		if ended && !soft {
			out = append(out, '\n')
		}
	}
	if soft {
		out = append(out, '\n')
	}
	return out
}
