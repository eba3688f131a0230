// Package tnef reads winmail.dat, the file in which Outlook wraps a mail
// (MS-OXTNEF): its files, its text, its HTML, and the RTF that these may be
// packed in (MS-OXRTFCP, MS-OXRTFEX).
//
// It takes the stream in one pass and keeps nothing of the files but where
// they lie, so that they can be found again when they are asked for. It never
// fails and never panics on content: what is broken ends the reading, and what
// was read until then stands. It knows no charsets; the caller decodes. It is
// our own because the libraries there are for it read everything into memory
// and have not been touched for years.
package tnef

import (
	"bytes"
	"encoding/binary"
	"io"
	"strconv"
	"strings"
)

// Decode returns the bytes of a charset as UTF-8. The charset is a label such
// as "windows-1252" or "utf-16le".
type Decode func(b []byte, charset string) string

// Message is what a winmail.dat holds.
type Message struct {
	Files []File // in the order of the stream, empty ones too
	Text  []byte // UTF-8
	HTML  []byte
	// HTMLCharset is what HTML is written in unless it names a charset for
	// itself; "" when it is UTF-8 whatever it says.
	HTMLCharset string
}

// File is one file. Its names and types are as the sender wrote them.
type File struct {
	Name, LongName string // the short one is of MS-DOS
	ContentType    string
	ContentID      string
	Offset, Size   int64 // where its bytes are in the stream
}

const (
	signature       = 0x223e9f78
	defaultCodepage = "windows-1252"
	maxValue        = 16 << 20 // bytes of a text or of a property list that are read
	maxAttributes   = 1 << 16  // attributes of one stream
)

// Attributes (MS-OXTNEF section 2.1.3.2).
const (
	attBody        = 0x0002800c
	attAttachTitle = 0x00018010
	attAttachData  = 0x0006800f
	attAttachRend  = 0x00069002
	attMsgProps    = 0x00069003
	attAttachProps = 0x00069005
	attOEMCodepage = 0x00069007
)

// Properties (MS-OXPROPS).
const (
	pidTagBody               = 0x1000
	pidTagRtfCompressed      = 0x1009
	pidTagBodyHTML           = 0x1013
	pidTagAttachDataObject   = 0x3701
	pidTagAttachFilename     = 0x3704
	pidTagAttachLongFilename = 0x3707
	pidTagAttachMimeTag      = 0x370e
	pidTagAttachContentID    = 0x3712
)

// Read reads r to its end, or to where it is broken: then whole is false.
func Read(r io.Reader, maxFiles int, decode Decode) (m Message, whole bool) {
	t := &reader{r: r, decode: decode, codepage: defaultCodepage}
	whole = t.read(maxFiles)
	m.Files = t.files
	if len(t.plain) > 0 {
		m.Text = []byte(decode(t.plain, t.codepage))
	}
	if len(t.html) > 0 {
		m.HTML, m.HTMLCharset = t.html, t.codepage
	} else if len(t.rtf) > 0 {
		text, html := readRTF(unpackRTF(t.rtf), decode)
		m.HTML = html
		if len(m.Text) == 0 && len(html) == 0 {
			m.Text = text
		}
	}
	return m, whole
}

type reader struct {
	r        io.Reader
	at       int64 // bytes of r that were read
	decode   Decode
	codepage string
	files    []File
	plain    []byte
	html     []byte
	rtf      []byte
}

func (t *reader) read(maxFiles int) (whole bool) {
	head := t.take(6)
	if len(head) < 6 || binary.LittleEndian.Uint32(head) != signature {
		return false
	}
	for range maxAttributes {
		h := t.take(9)
		if len(h) < 9 {
			return len(h) == 0
		}
		id, size := binary.LittleEndian.Uint32(h[1:]), int64(binary.LittleEndian.Uint32(h[5:]))
		begin := t.at
		if id == attAttachRend { // a file begins
			if len(t.files) >= maxFiles {
				return false
			}
			t.files = append(t.files, File{})
		}
		t.attribute(id, size)
		if !t.skip(begin+size-t.at) || len(t.take(2)) < 2 { // checksum
			if f := t.file(); f != nil && f.Offset+f.Size > t.at {
				f.Size = max(0, t.at-f.Offset)
			}
			return false
		}
	}
	return false
}

// attribute reads what is wanted of one attribute of size bytes.
func (t *reader) attribute(id uint32, size int64) {
	begin := t.at
	switch id {
	case attOEMCodepage:
		if v := t.take(min(size, 8)); len(v) >= 4 {
			t.codepage = "windows-" + strconv.Itoa(int(binary.LittleEndian.Uint32(v)))
		}
	case attBody:
		t.plain = bytes.TrimRight(t.take(min(size, maxValue)), "\x00")
	case attMsgProps:
		t.message(t.take(min(size, maxValue)))
	}
	f := t.file()
	if f == nil {
		return
	}
	switch id {
	case attAttachTitle:
		name, _, _ := bytes.Cut(t.take(min(size, 1<<12)), []byte{0})
		f.Name = t.decode(name, t.codepage)
	case attAttachData:
		f.Offset, f.Size = begin, size
	case attAttachProps:
		t.attachment(f, t.take(min(size, maxValue)), begin)
	}
}

// file is the one that attributes are about, the last; nil before the first.
func (t *reader) file() *File {
	if len(t.files) == 0 {
		return nil
	}
	return &t.files[len(t.files)-1]
}

// take reads n bytes, fewer only at the end.
func (t *reader) take(n int64) []byte {
	var b bytes.Buffer
	got, _ := io.CopyN(&b, t.r, n)
	t.at += got
	return b.Bytes()
}

func (t *reader) skip(n int64) bool {
	if n < 0 {
		return false
	}
	got, _ := io.CopyN(io.Discard, t.r, n)
	t.at += got
	return got == n
}

// message reads the properties of the mail itself: its bodies.
func (t *reader) message(b []byte) {
	eachProperty(b, func(id, kind uint16, value []byte, _ int) {
		switch id {
		case pidTagBody:
			if len(t.plain) == 0 {
				t.plain = []byte(t.text(kind, value))
			}
		case pidTagRtfCompressed:
			t.rtf = value
		case pidTagBodyHTML:
			t.html = value
		}
	})
}

// attachment reads the properties of a file, which lie at base.
func (t *reader) attachment(f *File, b []byte, base int64) {
	eachProperty(b, func(id, kind uint16, value []byte, at int) {
		switch id {
		case pidTagAttachLongFilename:
			f.LongName = t.text(kind, value)
		case pidTagAttachFilename:
			if f.Name == "" {
				f.Name = t.text(kind, value)
			}
		case pidTagAttachMimeTag:
			f.ContentType = t.text(kind, value)
		case pidTagAttachContentID:
			f.ContentID = t.text(kind, value)
		case pidTagAttachDataObject: // an attached mail or the bytes
			if f.Size == 0 && kind == typeBinary {
				f.Offset, f.Size = base+int64(at), int64(len(value))
			}
		}
	})
}

// text decodes a string property.
func (t *reader) text(kind uint16, value []byte) string {
	charset := t.codepage
	if kind == typeString {
		charset = "utf-16le"
	}
	return strings.TrimRight(t.decode(value, charset), "\x00")
}
