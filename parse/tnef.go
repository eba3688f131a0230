package parse

import (
	"bytes"
	"encoding/binary"
	"io"
	"strconv"
	"strings"
)

// openTNEF opens a winmail.dat (MS-OXTNEF): the files in it become files of
// the mail, and its text the mail's when the mail has none. Nothing is kept of
// the files' bytes: they are found again in the raw mail when they are opened.
//
// It is our own because the libraries there are for it read everything into
// memory and have not been touched for years.
func openTNEF(c *content, p *part, lim Limits, ds *defects) bool {
	e := p.encoding(ds)
	open := func() io.Reader { return newDecoder(e, p.body) }
	t := &tnefReader{r: open(), codepage: "windows-1252"}
	if !t.read(lim) {
		ds.add("tnef_invalid", "part "+p.id())
	}
	found := false
	for i := range t.files {
		f := &t.files[i]
		if f.size == 0 || len(c.files) >= lim.Parts {
			continue
		}
		name := safeName(f.longName)
		if name == "" {
			name = safeName(f.name)
		}
		if name == "" {
			name = "part-" + p.id() + "." + strconv.Itoa(i+1) + ".bin"
		}
		typ := f.mime
		if typ == "" {
			typ = "application/octet-stream"
		}
		begin, size := f.begin, f.size
		c.files = append(c.files, Attachment{
			ID: p.id() + "." + strconv.Itoa(i+1), Name: name, ContentType: typ, ContentID: f.contentID,
			open: func() io.Reader {
				r := open()
				_, _ = io.CopyN(io.Discard, r, begin)
				return io.LimitReader(r, size)
			},
		})
		found = true
	}
	if len(c.text) == 0 && len(c.html) == 0 {
		text, html := t.body()
		if len(text)+len(html) > 0 {
			c.text, c.html = cleanText(nil, text), cleanText(nil, html)
			if len(c.text)+len(c.html) > lim.TextBytes {
				ds.add("text_too_long", "text beyond the limit is left out")
				c.text = cut(c.text, lim.TextBytes)
				c.html = cut(c.html, lim.TextBytes-len(c.text))
			}
			c.hasText = len(text) > 0
			found = true
		}
	}
	return found
}

func (p *part) isTNEF() bool {
	return p.typ.is("application", "ms-tnef") || p.typ.is("application", "vnd.ms-tnef") ||
		p.typ.is("application", "octet-stream") && strings.EqualFold(p.fileName(), "winmail.dat")
}

const tnefSignature = 0x223e9f78

// Attributes of a TNEF stream (MS-OXTNEF section 2.1.3.2).
const (
	attBody          = 0x0002800c
	attAttachTitle   = 0x00018010
	attAttachData    = 0x0006800f
	attAttachRend    = 0x00069002
	attMsgProps      = 0x00069003
	attAttachProps   = 0x00069005
	attOEMCodepage   = 0x00069007
	maxTNEFProps     = 16 << 20 // bytes of a property list that are read
	maxTNEFAttribute = 1 << 16  // attributes of one stream
)

// tnefFile is one file; begin and size say where in the stream it lies.
type tnefFile struct {
	name, longName, mime, contentID string
	begin, size                     int64
}

type tnefReader struct {
	r        io.Reader
	at       int64
	codepage string
	files    []tnefFile
	plain    []byte
	html     []byte
	rtf      []byte
}

// read takes the stream in one pass; false when it is broken.
func (t *tnefReader) read(lim Limits) bool {
	head := t.take(6)
	if len(head) < 6 || binary.LittleEndian.Uint32(head) != tnefSignature {
		return false
	}
	for range maxTNEFAttribute {
		h := t.take(9)
		if len(h) == 0 {
			return true
		}
		if len(h) < 9 {
			return false
		}
		id, size := binary.LittleEndian.Uint32(h[1:]), int64(binary.LittleEndian.Uint32(h[5:]))
		begin := t.at
		switch id {
		case attAttachRend:
			if len(t.files) >= lim.Parts {
				return false
			}
			t.files = append(t.files, tnefFile{})
		case attOEMCodepage:
			if v := t.take(min(size, 8)); len(v) >= 4 {
				t.codepage = "windows-" + strconv.Itoa(int(binary.LittleEndian.Uint32(v)))
			}
		case attBody:
			t.plain = bytes.TrimRight(t.take(min(size, maxTNEFProps)), "\x00")
		case attMsgProps:
			t.message(t.take(min(size, maxTNEFProps)))
		case attAttachTitle:
			if f := t.file(); f != nil {
				f.name = t.decode(t.take(min(size, 1<<12)))
			}
		case attAttachData:
			if f := t.file(); f != nil {
				f.begin, f.size = begin, size
			}
		case attAttachProps:
			if f := t.file(); f != nil {
				t.attachment(f, t.take(min(size, maxTNEFProps)), begin)
			}
		}
		if !t.skip(begin+size-t.at) || len(t.take(2)) < 2 { // checksum
			if f := t.file(); f != nil && f.begin+f.size > t.at {
				f.size = max(0, t.at-f.begin)
			}
			return false
		}
	}
	return false
}

func (t *tnefReader) file() *tnefFile {
	if len(t.files) == 0 {
		return nil
	}
	return &t.files[len(t.files)-1]
}

// take reads n bytes, fewer only at the end.
func (t *tnefReader) take(n int64) []byte {
	var b bytes.Buffer
	got, _ := io.CopyN(&b, t.r, n)
	t.at += got
	return b.Bytes()
}

func (t *tnefReader) skip(n int64) bool {
	if n < 0 {
		return false
	}
	got, _ := io.CopyN(io.Discard, t.r, n)
	t.at += got
	return got == n
}

func (t *tnefReader) decode(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return cleanString(decodeCharset(b, t.codepage))
}

// message reads the properties of the mail itself: its bodies.
func (t *tnefReader) message(b []byte) {
	eachProperty(b, func(id, kind uint16, value []byte, _ int) {
		switch id {
		case 0x1000: // PidTagBody
			if len(t.plain) == 0 {
				t.plain = t.text(kind, value)
			}
		case 0x1009: // PidTagRtfCompressed
			t.rtf = value
		case 0x1013: // PidTagBodyHtml
			t.html = value
		}
	})
}

func (t *tnefReader) attachment(f *tnefFile, b []byte, base int64) {
	eachProperty(b, func(id, kind uint16, value []byte, at int) {
		switch id {
		case 0x3707: // PidTagAttachLongFilename
			f.longName = string(t.text(kind, value))
		case 0x3704: // PidTagAttachFilename
			if f.name == "" {
				f.name = string(t.text(kind, value))
			}
		case 0x370e: // PidTagAttachMimeTag
			if m := parseMediaType(t.text(kind, value)); m.major != "" && m.minor != "" {
				f.mime = m.String()
			}
		case 0x3712: // PidTagAttachContentId
			f.contentID = cleanID(string(t.text(kind, value)))
		case 0x3701: // PidTagAttachDataObject: an attached mail or the bytes
			if f.size == 0 && kind == 0x0102 {
				f.begin, f.size = base+int64(at), int64(len(value))
			}
		}
	})
}

// text decodes a string property.
func (t *tnefReader) text(kind uint16, value []byte) []byte {
	if kind == 0x001f {
		return []byte(cleanLine(decodeCharset(value, "utf-16le")))
	}
	return []byte(cleanLine(decodeCharset(value, t.codepage)))
}

func cleanLine(s string) string { return strings.TrimRight(s, "\x00") }

// body returns the text and the HTML of the mail, UTF-8.
func (t *tnefReader) body() (text, html []byte) {
	if len(t.html) > 0 {
		cs, ok := lookupCharset(metaCharset(t.html))
		if !ok {
			cs, _ = lookupCharset(t.codepage)
		}
		html = cs.toUTF8(t.html)
	}
	text = t.plain
	if len(text) > 0 {
		text = []byte(decodeCharset(text, t.codepage))
	}
	if len(t.rtf) > 0 && len(html) == 0 {
		rtfText, rtfHTML := readRTF(unpackRTF(t.rtf))
		html = rtfHTML
		if len(text) == 0 && len(rtfHTML) == 0 {
			text = rtfText
		}
	}
	return text, html
}
