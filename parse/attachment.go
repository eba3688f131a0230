package parse

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"sync/atomic"
)

// addFile hangs p into the list of files, unless it is empty.
func (c *content) addFile(p *part, ds *defects) {
	e, body := p.encoding(ds), p.body
	keep := new(atomic.Bool)
	open := func() io.Reader { return newDecoder(e, body) }
	switch {
	case e == identity && p.isMessage():
		open = messageOpener(body)
	case e == base64Encoding && len(body) <= maxKept:
		decoded := sync.OnceValue(func() []byte { return decodeTransfer(e, body, len(body)) })
		open = func() io.Reader {
			if keep.Load() {
				return bytes.NewReader(decoded())
			}
			return newDecoder(e, body)
		}
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
		keep:        keep,
	})
}

// isMessage reports an attached mail.
func (p *part) isMessage() bool { return p.typ.is("message", "rfc822", "global") }

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
		id := appendEscaped(nil, html[:end], '%')
		id = bytes.ReplaceAll(id, []byte("&amp;"), []byte("&"))
		refs[strings.ToLower(cleanID(string(id)))] = true
	}
}

// maxKept is the length of base64 up to which its bytes may be kept.
const maxKept = 1 << 20

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

// stepLineEnds turns CRLF into LF: an attached mail is passed on with the line
// ends of a file.
func stepLineEnds(dst, src []byte, last bool) ([]byte, int) {
	if n := len(src) - 1; !last && n > 0 && src[n] == '\r' {
		src = src[:n]
	}
	return append(dst, bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))...), len(src)
}
