// Package parse turns the bytes of one mail (RFC 5322, MIME) into a Message.
//
// It is pure: no I/O, no clock, no log. It never fails on content: whatever is
// wrong with a mail becomes a Defect and the mail goes out all the same. Every
// string of a Message is valid UTF-8 without NUL and a copy; only attachments
// keep hold of the raw bytes.
//
// The line of work is walk → sort → envelope → second reading → classify: a
// walker that has no error path finds the parts, their text is decoded to UTF-8,
// the files are hung beside as readers into the raw bytes, and parsemail reads
// header and text a second time, written anew in the small dialect that it reads
// without fault. Nothing a sender wrote reaches that dialect raw; see
// parsemail.go.
package parse

import (
	"bytes"
	"slices"
)

// Limits bounds what one mail may cost. A zero field takes the default named
// beside it; what lies beyond a limit is left undone with a defect.
type Limits struct {
	Nesting     int // depth of multiparts; 256
	Parts       int // parts in all; 2000
	HeaderBytes int // bytes of one header block; 1 MiB
	TextBytes   int // decoded bytes of Text and HTML together; 16 MiB
	Addresses   int // addresses of one field; 10000

	SkipHTMLText bool // leave Text empty when the mail has HTML only
	SkipReply    bool // leave Reply nil
}

func (l Limits) withDefaults() Limits {
	set := func(v *int, def int) {
		if *v <= 0 {
			*v = def
		}
	}
	set(&l.Nesting, 256)
	set(&l.Parts, 2000)
	set(&l.HeaderBytes, 1<<20)
	set(&l.TextBytes, 16<<20)
	set(&l.Addresses, 10000)
	return l
}

// Parse reads one mail. It never fails and never panics on content. raw must
// stay unchanged for as long as the Message's attachments are in use; nothing
// else of the Message refers to it.
func Parse(raw []byte, lim Limits) *Message {
	lim = lim.withDefaults()
	m := &Message{}
	ds := &defects{}
	if len(raw) > 0 && bytes.IndexByte(raw, '\n') < 0 && bytes.IndexByte(raw, '\r') >= 0 {
		ds.add("bare_cr", "lines end in CR alone")
		raw = bytes.ReplaceAll(raw, []byte{'\r'}, []byte{'\n'})
	}

	root := walk(raw, lim, ds)
	c := sortLeaves(root, lim, ds)
	readEnvelope(m, root, c.charset, lim, ds)
	m.Text, m.HTML, m.Attachments = string(c.text), string(c.html), c.files
	secondReading(m, ds)
	if m.Text == "" && m.HTML != "" && !lim.SkipHTMLText && !c.hasText {
		m.Text = htmlText(m.HTML, lim.TextBytes)
	}
	classify(m, root, c)
	if !lim.SkipReply && !m.IsBounce {
		m.Reply = newReply(m)
	}
	m.Defects = ds.list
	return m
}

// maxDefects bounds the list of a mail that has thousands of things wrong.
const maxDefects = 100

type defects struct{ list []Defect }

// add notes a defect once per code and detail.
func (d *defects) add(code, detail string) {
	one := Defect{Code: code, Detail: cleanString(shorten(detail, 200))}
	if len(d.list) < maxDefects && !slices.Contains(d.list, one) {
		d.list = append(d.list, one)
	}
}
