package parse

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// htmlText makes readable text from HTML: paragraphs, lists, tables, quotes
// ("> ") and links ("text (https://…)") are kept, styles, scripts and what is
// hidden are not. It reads tokens, not a tree, so its time is linear and depth
// costs nothing; the text is at most limit bytes.
func htmlText(s string, limit int) string {
	w := &htmlWriter{limit: limit, skipHidden: true}
	w.read(s)
	if w.hidden > 0 { // an element that hides the rest is a mistake
		w = &htmlWriter{limit: limit}
		w.read(s)
	}
	return strings.TrimRight(shorten(string(w.out), limit), " \n")
}

// maxIndent bounds quote marks and list indentation.
const maxIndent = 10

type htmlWriter struct {
	out        []byte
	limit      int
	skipHidden bool

	owed   int    // line ends owed before the next text
	space  bool   // a blank is owed
	cell   bool   // a cell separator is owed
	filled bool   // the current line has text
	bullet string // owed at the begin of the next line

	quote int
	pre   int
	lists []int // next number, -1 for bullets
	links []htmlLink

	hidden    int // open elements of hiddenTag since it was hidden
	hiddenTag atom.Atom
}

type htmlLink struct {
	href  string
	begin int // where its text begins in out
}

func (w *htmlWriter) read(s string) {
	z := html.NewTokenizer(strings.NewReader(s))
	for len(w.out) < w.limit {
		switch z.Next() {
		case html.ErrorToken:
			for len(w.links) > 0 {
				w.endLink()
			}
			return
		case html.TextToken:
			if w.hidden == 0 {
				w.text(z.Text())
			}
		case html.StartTagToken:
			w.start(z, false)
		case html.SelfClosingTagToken:
			w.start(z, true)
		case html.EndTagToken:
			name, _ := z.TagName()
			w.end(atom.Lookup(name))
		}
	}
}

func (w *htmlWriter) start(z *html.Tokenizer, closed bool) {
	name, more := z.TagName()
	tag := atom.Lookup(name)
	if w.hidden > 0 {
		if tag == w.hiddenTag && !closed {
			w.hidden++
		}
		return
	}
	var href, alt, start string
	for n := 0; more && n < 100; n++ {
		var key, val []byte
		key, val, more = z.TagAttr()
		switch string(key) {
		case "href":
			href = strings.TrimSpace(cleanString(string(val)))
		case "alt":
			alt = cleanString(string(val))
		case "start":
			start = string(val)
		case "style":
			if w.skipHidden && !closed && hides(tag, val) {
				w.hidden, w.hiddenTag = 1, tag
				return
			}
		}
	}
	switch tag {
	case atom.Script, atom.Style, atom.Title, atom.Textarea, atom.Noframes, atom.Template, atom.Select, atom.Object, atom.Svg:
		if !closed {
			w.hidden, w.hiddenTag = 1, tag
		}
	case atom.Br:
		w.owed++
		w.filled = false
		w.space = false
	case atom.Hr:
		w.line(1)
		w.text([]byte("---"))
		w.line(1)
	case atom.Body:
		w.line(1)
	case atom.Td, atom.Th:
		w.cell = w.filled && w.owed == 0
	case atom.Pre:
		w.line(1)
		w.pre++
	case atom.Blockquote:
		w.line(1)
		w.quote++
	case atom.Ul, atom.Menu:
		w.line(1)
		w.pushList(-1)
	case atom.Ol:
		n, err := strconv.Atoi(start)
		if err != nil || n < 0 {
			n = 1
		}
		w.line(1)
		w.pushList(n)
	case atom.Li:
		w.item()
	case atom.A:
		if href != "" && len(w.links) < 100 {
			w.links = append(w.links, htmlLink{href: href, begin: -1})
		}
	case atom.Img:
		if alt = strings.TrimSpace(alt); alt != "" {
			w.text([]byte("[" + alt + "]"))
		}
	default:
		w.block(tag)
	}
}

// block ends the line where a block begins or ends.
func (w *htmlWriter) block(tag atom.Atom) {
	switch tag {
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Dl:
		w.line(2)
	case atom.Div, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Address, atom.Center, atom.Form, atom.Fieldset,
		atom.Table, atom.Tr, atom.Caption, atom.Dt, atom.Dd, atom.Figure, atom.Main, atom.Aside, atom.Nav:
		w.line(1)
	}
}

func (w *htmlWriter) end(tag atom.Atom) {
	if w.hidden > 0 {
		if tag == w.hiddenTag {
			w.hidden--
		}
		return
	}
	switch tag {
	case atom.Li:
		w.line(1)
	case atom.Pre:
		w.pre = max(0, w.pre-1)
		w.line(1)
	case atom.Blockquote:
		w.quote = max(0, w.quote-1)
		w.line(1)
	case atom.Ul, atom.Ol, atom.Menu:
		if len(w.lists) > 0 {
			w.lists = w.lists[:len(w.lists)-1]
		}
		if len(w.lists) == 0 {
			w.line(2)
		}
	case atom.A:
		w.endLink()
	default:
		w.block(tag)
	}
}

// hides reports an element that mailers write to be read by machines only,
// such as the preview line of a newsletter.
func hides(tag atom.Atom, style []byte) bool {
	switch tag {
	case atom.Div, atom.Span, atom.P, atom.Td, atom.Tr, atom.Table, atom.Font, atom.Center:
	default:
		return false
	}
	if bytes.IndexByte(style, ':') < 0 {
		return false
	}
	flat := strings.ToLower(strings.ReplaceAll(string(style), " ", ""))
	return strings.Contains(flat, "display:none") || strings.Contains(flat, "visibility:hidden") || strings.Contains(flat, "mso-hide:all")
}

func (w *htmlWriter) pushList(n int) {
	if len(w.lists) < maxIndent {
		w.lists = append(w.lists, n)
	}
}

func (w *htmlWriter) item() {
	w.line(1)
	w.bullet = "- "
	if n := len(w.lists); n > 0 {
		if next := w.lists[n-1]; next >= 0 {
			w.bullet = strconv.Itoa(next) + ". "
			w.lists[n-1]++
		}
		w.bullet = strings.Repeat("  ", n-1) + w.bullet
	}
}

// line owes n line ends, two of them for a blank line.
func (w *htmlWriter) line(n int) {
	if w.filled || w.owed > 0 {
		w.owed = max(w.owed, n)
	}
	w.filled, w.space, w.cell = false, false, false
}

// endLink writes the address behind a link's text, unless the text is it.
func (w *htmlWriter) endLink() {
	if len(w.links) == 0 {
		return
	}
	l := w.links[len(w.links)-1]
	w.links = w.links[:len(w.links)-1]
	scheme, rest, ok := strings.Cut(l.href, ":")
	if !ok || len(l.href) > 2000 {
		return
	}
	text := ""
	if l.begin >= 0 {
		text = strings.TrimSpace(string(w.out[min(l.begin, len(w.out)):]))
	}
	switch strings.ToLower(scheme) {
	case "http", "https", "ftp":
		bare := strings.TrimSuffix(strings.TrimPrefix(rest, "//"), "/")
		if text == l.href || strings.TrimSuffix(text, "/") == bare || strings.TrimSuffix(text, "/") == strings.TrimSuffix(l.href, "/") {
			return
		}
	case "mailto", "tel":
		addr, _, _ := strings.Cut(rest, "?")
		if strings.Contains(text, addr) {
			return
		}
	default:
		return
	}
	if text != "" {
		w.space = true
	}
	w.text([]byte("(" + l.href + ")"))
}

// text writes a run of text, its blanks collapsed outside <pre>.
func (w *htmlWriter) text(b []byte) {
	for len(b) > 0 && len(w.out) < w.limit {
		c := b[0]
		if c < utf8.RuneSelf {
			b = b[1:]
			switch {
			case c == '\n' && w.pre > 0:
				w.owed++
				w.filled = false
			case c == 0 || c == '\r':
			case isSpace(c) && w.pre == 0:
				w.space = w.space || w.filled
			default:
				w.begin()
				w.out = append(w.out, c)
			}
			continue
		}
		r, n := utf8.DecodeRune(b)
		switch r {
		case 0xa0, 0x2007, 0x202f:
			w.space = w.space || w.filled
		case 0x200b, 0x200c, 0x200d, 0x2060, 0xfeff, 0xad, 0x34f: // fillers of preview lines
		default:
			w.begin()
			w.out = append(w.out, b[:n]...)
		}
		b = b[n:]
	}
}

// begin writes what is owed before a character.
func (w *htmlWriter) begin() {
	newLine := len(w.out) == 0
	if w.owed > 0 {
		if len(w.out) > 0 {
			mark := strings.Repeat("> ", min(w.quote, maxIndent))
			for i := range min(w.owed, 3) {
				if i > 0 {
					w.out = append(w.out, strings.TrimRight(mark, " ")...)
				}
				w.out = append(w.out, '\n')
			}
		}
		w.owed, newLine = 0, true
	}
	if newLine {
		w.out = append(w.out, strings.Repeat("> ", min(w.quote, maxIndent))...)
		w.out = append(w.out, w.bullet...)
		if w.bullet == "" && len(w.lists) > 0 {
			w.out = append(w.out, strings.Repeat("  ", len(w.lists))...)
		}
		w.bullet = ""
	} else if w.cell {
		w.out = append(w.out, " | "...)
	} else if w.space {
		w.out = append(w.out, ' ')
	}
	w.space, w.cell, w.filled = false, false, true
	for i := len(w.links) - 1; i >= 0 && w.links[i].begin < 0; i-- {
		w.links[i].begin = len(w.out)
	}
}
