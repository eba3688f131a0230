package parse

import (
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
	w.block(tag)
	switch tag {
	case atom.Script, atom.Style, atom.Title, atom.Textarea, atom.Noframes, atom.Template, atom.Select, atom.Object, atom.Svg:
		if !closed {
			w.hidden, w.hiddenTag = 1, tag
		}
	case atom.Br:
		w.owed++
		w.filled, w.space = false, false
	case atom.Hr:
		w.line(1)
		w.text([]byte("---"))
		w.line(1)
	case atom.Body:
		w.line(1)
	case atom.Td, atom.Th:
		w.cell = w.filled && w.owed == 0
	case atom.Pre:
		w.pre++
	case atom.Blockquote:
		w.quote++
	case atom.Ul, atom.Menu:
		w.openList(-1)
	case atom.Ol:
		n, err := strconv.Atoi(start)
		if err != nil || n < 0 {
			n = 1
		}
		w.openList(n)
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
	}
}

// block ends the line where a block begins or ends.
func (w *htmlWriter) block(tag atom.Atom) {
	switch tag {
	case atom.P, atom.H1, atom.H2, atom.H3, atom.H4, atom.H5, atom.H6, atom.Dl:
		w.line(2)
	case atom.Div, atom.Section, atom.Article, atom.Header, atom.Footer, atom.Address, atom.Center, atom.Form, atom.Fieldset,
		atom.Table, atom.Tr, atom.Caption, atom.Dt, atom.Dd, atom.Figure, atom.Main, atom.Aside, atom.Nav,
		atom.Pre, atom.Blockquote, atom.Li:
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
	w.block(tag)
	switch tag {
	case atom.Pre:
		w.pre = max(0, w.pre-1)
	case atom.Blockquote:
		w.quote = max(0, w.quote-1)
	case atom.Ul, atom.Ol, atom.Menu:
		w.lists = w.lists[:max(0, len(w.lists)-1)]
		if len(w.lists) == 0 {
			w.line(2)
		}
	case atom.A:
		w.endLink()
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
	return containsAny(strings.ToLower(strings.ReplaceAll(string(style), " ", "")), "display:none", "visibility:hidden", "mso-hide:all")
}

func (w *htmlWriter) openList(n int) {
	w.line(1)
	if len(w.lists) < maxIndent {
		w.lists = append(w.lists, n)
	}
}

func (w *htmlWriter) item() {
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
		text, href := strings.TrimSuffix(text, "/"), strings.TrimSuffix(l.href, "/")
		if text == href || text == strings.TrimSuffix(strings.TrimPrefix(rest, "//"), "/") {
			return
		}
	case "mailto", "tel":
		if addr, _, _ := strings.Cut(rest, "?"); strings.Contains(text, addr) {
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
	switch {
	case len(w.out) == 0 || w.owed > 0:
		mark := strings.Repeat("> ", min(w.quote, maxIndent))
		if len(w.out) > 0 {
			blank := strings.TrimRight(mark, " ") + "\n"
			w.out = append(w.out, '\n')
			w.out = append(w.out, strings.Repeat(blank, min(w.owed, 3)-1)...)
		}
		if w.bullet == "" {
			w.bullet = strings.Repeat("  ", len(w.lists))
		}
		w.out = append(w.out, mark+w.bullet...)
		w.owed, w.bullet = 0, ""
	case w.cell:
		w.out = append(w.out, " | "...)
	case w.space:
		w.out = append(w.out, ' ')
	}
	w.space, w.cell, w.filled = false, false, true
	for i := len(w.links) - 1; i >= 0 && w.links[i].begin < 0; i-- {
		w.links[i].begin = len(w.out)
	}
}
