package parse

import (
	"bytes"
	"cmp"
	"io"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"imapsync/parse/tnef"
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
	if first, rest, more := bytes.Cut(body, []byte("\n")); more && bytes.HasPrefix(first, []byte("From ")) {
		body = rest
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
	refs := sync.OnceValue(func() map[string]bool { return cidLinks(c.html) })
	for i, f := range c.files {
		c.files[i].IsInline = f.ContentID != "" && refs()[strings.ToLower(f.ContentID)]
	}
}

// cidLinks returns the Content-IDs, in lower case, that html links to.
func cidLinks(html []byte) map[string]bool {
	refs := map[string]bool{}
	for {
		before, after, found := bytes.Cut(html, []byte(":"))
		if !found {
			return refs
		}
		html = after
		if !equalFold(before[max(0, len(before)-3):], "cid") {
			continue
		}
		id := html[:min(len(html), 1000)]
		if end := bytes.IndexAny(id, "\"'<> )\t\r\n;"); end >= 0 {
			id = id[:end]
		}
		id = appendEscaped(nil, id, '%')
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

// extensions names a file whose mail does not; only what mail really carries.
var extensions = map[string]string{
	"application/pdf": "pdf", "application/zip": "zip", "application/json": "json", "application/xml": "xml",
	"application/msword": "doc", "application/rtf": "rtf", "application/ics": "ics",
	"application/vnd.ms-excel": "xls", "application/vnd.ms-powerpoint": "ppt", "application/ms-tnef": "dat",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document":   "docx",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":         "xlsx",
	"application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
	"application/pgp-signature": "asc", "application/pgp-encrypted": "asc", "application/pgp-keys": "asc",
	"application/pkcs7-signature": "p7s", "application/x-pkcs7-signature": "p7s",
	"application/pkcs7-mime": "p7m", "application/x-pkcs7-mime": "p7m",
	"audio/mpeg": "mp3", "audio/wav": "wav", "audio/x-wav": "wav", "audio/amr": "amr", "audio/ogg": "ogg",
	"image/jpeg": "jpg", "image/jpg": "jpg", "image/png": "png", "image/gif": "gif", "image/bmp": "bmp",
	"image/tiff": "tif", "image/webp": "webp", "image/svg+xml": "svg", "image/heic": "heic",
	"message/rfc822": "eml", "message/global": "eml", "message/delivery-status": "txt",
	"message/disposition-notification": "txt", "message/feedback-report": "txt",
	"text/plain": "txt", "text/html": "html", "text/csv": "csv", "text/calendar": "ics", "text/xml": "xml",
	"text/rfc822-headers": "txt", "text/vcard": "vcf", "text/x-vcard": "vcf", "text/directory": "vcf",
	"text/rtf": "rtf", "text/markdown": "md", "text/css": "css", "text/amp": "html", "text/x-amp-html": "html",
	"text/enriched": "txt", "text/richtext": "txt", "video/mp4": "mp4", "video/quicktime": "mov",
}

// fileName is the name the sender gave a file, made safe to show and to store
// under; else one made from the attached mail's subject or from the type.
func (p *part) fileName() string {
	if name := cmp.Or(safeName(p.disp.param("filename")), safeName(p.typ.param("name"))); name != "" {
		return name
	}
	if p.isMessage() {
		head, _ := splitHeader(p.start(64<<10), 64<<10, nil, &defects{})
		if name := safeName(decodeWords(head.get("subject"), "")); name != "" {
			return shorten(name, 120) + ".eml"
		}
	}
	return "part-" + p.id() + "." + cmp.Or(extensions[p.typ.String()], "bin")
}

// safeName strips what could leave a directory or hide a name's end.
func safeName(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r == '/' || r == '\\':
			return '_'
		case r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0x200e || r == 0x200f: // directions
			return -1
		}
		return r
	}, cleanString(name))
	name = strings.TrimSpace(name)
	if strings.HasPrefix(name, "..") {
		name = strings.TrimLeft(name, "._ ")
	}
	if strings.Trim(name, "._ ") == "" {
		return ""
	}
	return shorten(name, 255)
}

// isWinmail reports the file in which Outlook wraps a whole mail.
func (p *part) isWinmail() bool {
	return p.typ.is("application", "ms-tnef", "vnd.ms-tnef") ||
		p.typ.is("application", "octet-stream") && strings.EqualFold(p.fileName(), "winmail.dat")
}

// openWinmail opens a winmail.dat: the files in it become files of the mail,
// and its text the mail's when the mail has none. It reports whether there was
// anything in it.
func openWinmail(c *content, p *part, lim Limits, ds *defects) bool {
	e := p.encoding(ds)
	open := func() io.Reader { return newDecoder(e, p.body) }
	if len(p.body) <= maxKept { // no file in it has it decoded again
		stream := decodeTransfer(e, p.body, len(p.body))
		open = func() io.Reader { return bytes.NewReader(stream) }
	}
	w, whole := tnef.Read(open(), lim.Parts, decodeCharset)
	if !whole {
		ds.add("tnef_invalid", "part "+p.id())
	}
	before := len(c.files)
	for i, f := range w.Files {
		if f.Size == 0 || len(c.files) >= lim.Parts {
			continue
		}
		id := p.id() + "." + strconv.Itoa(i+1)
		typ := parseMediaType([]byte(f.ContentType))
		if typ.major == "" || typ.minor == "" {
			typ = mediaType{major: "application", minor: "octet-stream"}
		}
		c.files = append(c.files, Attachment{
			ID:          id,
			Name:        cmp.Or(safeName(f.LongName), safeName(f.Name), "part-"+id+".bin"),
			ContentType: typ.String(),
			ContentID:   cleanID(f.ContentID),
			keep:        new(atomic.Bool),
			open: func() io.Reader {
				r := open()
				_, _ = io.CopyN(io.Discard, r, f.Offset)
				return io.LimitReader(r, f.Size)
			},
		})
	}
	return c.takeWinmailText(w, lim, ds) || len(c.files) > before
}

// takeWinmailText makes the text of a winmail.dat the mail's, which has none.
func (c *content) takeWinmailText(w tnef.Message, lim Limits, ds *defects) bool {
	if len(c.text)+len(c.html) > 0 || len(w.Text)+len(w.HTML) == 0 {
		return false
	}
	html := w.HTML
	if w.HTMLCharset != "" {
		cs, known := lookupCharset(metaCharset(html))
		if !known {
			cs, _ = lookupCharset(w.HTMLCharset)
		}
		html = cs.toUTF8(html)
	}
	c.text, c.html = cleanText(nil, w.Text), cleanText(nil, html)
	c.hasText = len(w.Text) > 0
	if len(c.text)+len(c.html) > lim.TextBytes {
		ds.add("text_too_long", "text beyond the limit is left out")
		c.text = shorten(c.text, lim.TextBytes)
		c.html = shorten(c.html, lim.TextBytes-len(c.text))
	}
	return true
}
