package tnef

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"unicode/utf8"
)

// rtfDictionary is what compressed RTF begins to copy from (MS-OXRTFCP
// section 2.2.1).
const rtfDictionary = "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript " +
	"\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par " +
	"\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"

// maxRTF bounds unpacked RTF, in bytes.
const maxRTF = 16 << 20

// unpackRTF decompresses RTF (MS-OXRTFCP); what is broken ends it.
func unpackRTF(b []byte) []byte {
	if len(b) < 16 {
		return nil
	}
	size := int(binary.LittleEndian.Uint32(b[4:]))
	magic := binary.LittleEndian.Uint32(b[8:])
	b = b[16:]
	if magic == 0x414c454d { // "MELA": not compressed
		return b[:min(len(b), size)]
	}
	if magic != 0x75465a4c { // "LZFu"
		return nil
	}
	size = min(size, maxRTF)
	var window [4096]byte
	w := copy(window[:], rtfDictionary)
	var out []byte
	put := func(c byte) {
		out = append(out, c)
		window[w] = c
		w = (w + 1) & 4095
	}
	for len(b) > 0 && len(out) < size {
		flags := b[0]
		b = b[1:]
		for bit := 0; bit < 8 && len(out) < size; bit++ {
			if flags&(1<<bit) == 0 {
				if len(b) == 0 {
					return out
				}
				put(b[0])
				b = b[1:]
				continue
			}
			if len(b) < 2 {
				return out
			}
			ref := int(b[0])<<8 | int(b[1])
			b = b[2:]
			from := ref >> 4
			if from == w {
				return out
			}
			for range ref&15 + 2 {
				put(window[from])
				from = (from + 1) & 4095
			}
		}
	}
	return out
}

// rtfState is what a group of RTF inherits and may change.
type rtfState struct {
	skip    bool // a destination that is no text: fonts, colours, pictures
	htmlTag bool // text of the HTML that the RTF was made from
	htmlRTF bool // RTF that stands in for that HTML
	ucSkip  int  // characters that stand in for a \u
}

// readRTF returns the HTML that was wrapped in RTF (MS-OXRTFEX), or else the
// plain text of it.
func readRTF(b []byte, decode Decode) (text, html []byte) {
	isHTML := bytes.Contains(b[:min(len(b), 1024)], []byte("\\fromhtml"))
	r := &rtfReader{b: b, html: isHTML, codepage: defaultCodepage, decode: decode}
	r.read()
	if isHTML {
		return nil, r.out
	}
	return bytes.TrimSpace(r.out), nil
}

type rtfReader struct {
	b        []byte
	html     bool
	codepage string
	decode   Decode
	stack    []rtfState
	s        rtfState
	pending  []byte // bytes of the code page
	out      []byte
	drop     int // characters to drop after \u
}

// maxRTFDepth bounds the groups that are told apart.
const maxRTFDepth = 1000

func (r *rtfReader) read() {
	r.s.ucSkip = 1
	deep := 0
	for len(r.b) > 0 && len(r.out) < maxRTF {
		c := r.b[0]
		r.b = r.b[1:]
		switch c {
		case '{':
			if len(r.stack) >= maxRTFDepth {
				deep++
				continue
			}
			r.stack = append(r.stack, r.s)
		case '}':
			r.flush()
			if deep > 0 {
				deep--
			} else if n := len(r.stack); n > 0 {
				r.s = r.stack[n-1]
				r.stack = r.stack[:n-1]
			}
		case '\\':
			r.control()
		case '\r', '\n':
		default:
			r.char(c)
		}
	}
	r.flush()
}

// visible reports whether text at this place is part of the result.
func (r *rtfReader) visible() bool {
	return !r.s.skip && (!r.html || r.s.htmlTag || !r.s.htmlRTF)
}

func (r *rtfReader) char(c byte) {
	if r.drop > 0 {
		r.drop--
		return
	}
	if r.visible() {
		r.pending = append(r.pending, c)
	}
}

func (r *rtfReader) text(s string) {
	r.flush()
	if r.visible() {
		r.out = append(r.out, s...)
	}
}

func (r *rtfReader) flush() {
	if len(r.pending) > 0 {
		r.out = append(r.out, r.decode(r.pending, r.codepage)...)
		r.pending = r.pending[:0]
	}
}

// control reads a control word or symbol.
func (r *rtfReader) control() {
	if len(r.b) == 0 {
		return
	}
	c := r.b[0]
	if c < 'a' || c > 'z' {
		r.b = r.b[1:]
		switch c {
		case '\'':
			if len(r.b) >= 2 {
				if code, err := strconv.ParseUint(string(r.b[:2]), 16, 8); err == nil {
					r.char(byte(code))
				}
				r.b = r.b[2:]
			}
		case '\\', '{', '}':
			r.char(c)
		case '~':
			r.text("\u00a0")
		case '*':
			r.destination()
		case '\r', '\n':
			r.text("\n")
		}
		return
	}
	word := r.run(40, "abcdefghijklmnopqrstuvwxyz")
	number := ""
	if bytes.HasPrefix(r.b, []byte("-")) {
		number, r.b = "-", r.b[1:]
	}
	number += r.run(11-len(number), "0123456789")
	r.b = bytes.TrimPrefix(r.b, []byte(" "))
	num, err := strconv.Atoi(number)
	r.word(word, num, err == nil)
}

// run takes the characters of a set, at most n.
func (r *rtfReader) run(n int, set string) string {
	head := r.b[:min(n, len(r.b))]
	run := head[:len(head)-len(bytes.TrimLeft(head, set))]
	r.b = r.b[len(run):]
	return string(run)
}

// rtfWords are the control words that stand for text.
var rtfWords = map[string]string{
	"par": "\n", "line": "\n", "row": "\n", "tab": "\t", "cell": "\t",
	"lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "bullet": "•", "endash": "–", "emdash": "—",
}

func (r *rtfReader) word(word string, num int, has bool) {
	if text, ok := rtfWords[word]; ok {
		r.text(text)
		return
	}
	switch word {
	case "u":
		r.flush()
		if num < 0 {
			num += 65536
		}
		if r.visible() {
			r.out = utf8.AppendRune(r.out, rune(num))
		}
		r.drop = r.s.ucSkip
	case "uc":
		r.s.ucSkip = max(0, min(num, 10))
	case "ansicpg":
		if has && num > 0 {
			r.codepage = "windows-" + strconv.Itoa(num)
		}
	case "htmlrtf":
		r.flush()
		r.s.htmlRTF = !has || num != 0
	case "fonttbl", "colortbl", "stylesheet", "info", "pict", "object", "header", "footer", "generator":
		r.flush()
		r.s.skip = true
	}
}

// destination reads "\*\word": one that holds HTML is text, any other is not.
func (r *rtfReader) destination() {
	r.flush()
	if rest, ok := bytes.CutPrefix(r.b, []byte("\\htmltag")); ok && r.html {
		r.b = bytes.TrimPrefix(bytes.TrimLeft(rest, "0123456789"), []byte(" "))
		r.s.htmlTag = true
		return
	}
	r.s.skip = true
}
