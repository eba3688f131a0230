package parse

import (
	"bytes"
	"cmp"
	"io"
	"strconv"
	"strings"
	"sync/atomic"

	"imapsync/parse/tnef"
)

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
