package parse

import (
	"bytes"
	"io"
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

// collect sorts the leaves in the order of the mail: text/plain and text/html
// that are no attachments are the body, every other leaf is a file.
func collect(root *part, lim Limits, ds *defects) *content {
	c := &content{}
	c.leaves = appendLeaves(nil, root)
	for _, p := range c.leaves {
		if p.typ.major == "text" {
			if c.charset = p.typ.param("charset"); c.charset != "" {
				break
			}
		}
	}
	var winmails []*part
	for _, p := range c.leaves {
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
	return p.typ.major == "text" && (p.typ.minor == "plain" || p.typ.minor == "html") && p.disp.major != "attachment"
}

func (p *part) encoding(ds *defects) encoding {
	v := p.head.get("content-transfer-encoding")
	if v == nil {
		return identity
	}
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
	if dst == nil {
		dst = make([]byte, 0, len(text)+1)
	}
	if p.typ.minor == "plain" && strings.EqualFold(p.typ.param("format"), "flowed") {
		text = unflow(cleanText(nil, text), strings.EqualFold(p.typ.param("delsp"), "yes"))
	}
	dst = cleanText(dst, text)
	if len(raw) > left || len(dst) > most {
		ds.add("text_too_long", "text beyond the limit is left out")
		dst = cut(dst, most)
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

// metaCharset returns the charset an HTML document names for itself.
func metaCharset(b []byte) string {
	b = b[:min(len(b), 4096)]
	for i := 0; ; {
		j := bytes.Index(b[i:], []byte("charset"))
		if j < 0 {
			return ""
		}
		i += j + len("charset")
		rest := bytes.TrimLeft(b[i:], " \t\r\n")
		if len(rest) > 0 && rest[0] == '=' {
			rest = bytes.TrimLeft(rest[1:], " \t\r\n\"'")
			if t := token(string(rest[:min(len(rest), 40)])); t != "" {
				return t
			}
		}
	}
}

// addFile hangs p into the list of files, unless it is empty.
func (c *content) addFile(p *part, ds *defects) {
	e, body := p.encoding(ds), p.body
	open := func() io.Reader { return newDecoder(e, body) }
	if e == identity && p.isMessage() {
		open = messageOpener(body)
	}
	if !holdsBytes(e, body) {
		ds.add("attachment_empty", "part "+p.id()+" ("+p.typ.String()+") holds nothing")
		return
	}
	c.files = append(c.files, Attachment{
		ID:          p.id(),
		Name:        p.fileName(),
		ContentType: cleanString(p.typ.String()),
		ContentID:   cleanID(decodeWords(p.head.get("content-id"), "")),
		open:        open,
	})
}

// holdsBytes reports whether anything at all comes out of body.
func holdsBytes(e encoding, body []byte) bool {
	var one [1]byte
	for _, b := range [][]byte{body[:min(len(body), 512)], body} {
		if n, _ := io.ReadFull(newDecoder(e, b), one[:]); n > 0 {
			return true
		}
	}
	return false
}

// id is the part path; a mail that is one part is part "1" (RFC 3501).
func (p *part) id() string {
	if p.path == "" {
		return "1"
	}
	return p.path
}

// markInline finds the files that the HTML shows by a cid: link.
func (c *content) markInline() {
	if len(c.html) == 0 {
		return
	}
	var refs map[string]bool
	for i := range c.files {
		f := &c.files[i]
		if f.ContentID == "" {
			continue
		}
		if refs == nil {
			refs = cidLinks(c.html)
		}
		f.IsInline = refs[strings.ToLower(f.ContentID)]
	}
}

// cidLinks returns the Content-IDs, in lower case, that html links to.
func cidLinks(html []byte) map[string]bool {
	refs := map[string]bool{}
	for {
		i := bytes.IndexByte(html, ':')
		if i < 0 {
			return refs
		}
		isCid := i >= 3 && equalFold(html[i-3:i], "cid")
		html = html[i+1:]
		if !isCid {
			continue
		}
		end := bytes.IndexAny(html[:min(len(html), 1000)], "\"'<> )\t\r\n;")
		if end < 0 {
			end = min(len(html), 1000)
		}
		id := percentDecode(nil, html[:end])
		id = bytes.ReplaceAll(id, []byte("&amp;"), []byte("&"))
		refs[strings.ToLower(cleanID(string(id)))] = true
	}
}

// isMessage reports an attached mail.
func (p *part) isMessage() bool {
	return p.typ.is("message", "rfc822") || p.typ.is("message", "global")
}

// messageOpener passes an attached mail on as a file of its own: without the
// line an mbox put before it, with LF line ends, and with the last of them when
// the mail ends in a header or in a closing boundary, which the boundary around
// it has taken.
func messageOpener(body []byte) func() io.Reader {
	if bytes.HasPrefix(body, []byte("From ")) {
		if i := bytes.IndexByte(body, '\n'); i >= 0 {
			body = body[i+1:]
		}
	}
	last := body[bytes.LastIndexByte(body, '\n')+1:]
	closed := len(last) > 4 && bytes.HasPrefix(last, []byte("--")) && bytes.HasSuffix(last, []byte("--"))
	bare := len(last) > 0 && !bytes.Contains(body, []byte("\n\n")) && !bytes.Contains(body, []byte("\n\r\n"))
	return func() io.Reader {
		var r io.Reader = &decoder{src: body, step: stepLineEnds}
		if closed || bare {
			r = io.MultiReader(r, strings.NewReader("\n"))
		}
		return r
	}
}
