package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"

	"golang.org/x/term"
	"golang.org/x/text/width"
)

// printer writes for a person; in colour when that person is at a terminal.
type printer struct {
	w      io.Writer
	colour bool
	steps  int
	mu     sync.Mutex // servers start at the same time
}

func newPrinter(f *os.File) *printer {
	return &printer{w: f, colour: term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""}
}

func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// step begins the next part.
func (p *printer) step(title string) {
	p.steps++
	p.line("\n%s", p.bold(fmt.Sprintf("%d  %s", p.steps, title)))
}

func (p *printer) paint(code, s string) string {
	if !p.colour || s == "" {
		return s
	}
	return "\033[" + code + "m" + s + "\033[0m"
}

func (p *printer) bold(s string) string  { return p.paint("1", s) }
func (p *printer) dim(s string) string   { return p.paint("2", s) }
func (p *printer) red(s string) string   { return p.paint("31", s) }
func (p *printer) green(s string) string { return p.paint("32", s) }
func (p *printer) blue(s string) string  { return p.paint("36", s) }

// labels are what stands behind a mail of a ticket.
func (p *printer) labels(e *entry) string {
	list := e.labels
	if len(e.places) > 1 {
		list = append(slices.Clip(list), fmt.Sprintf("in %d mailboxes", len(e.places)))
	}
	if len(list) == 0 {
		return ""
	}
	return "  " + p.blue("["+strings.Join(list, ", ")+"]")
}

// cell makes a text as wide as a column of a terminal is, on which a character
// of East Asian scripts takes two places.
func cell(s string, columns int) string {
	var b strings.Builder
	used := 0
	for _, r := range s {
		n := runeColumns(r)
		if used+n > columns {
			// Room for the ellipsis: take back what is in its place.
			for used+1 > columns {
				cut := []rune(b.String())
				used -= runeColumns(cut[len(cut)-1])
				b.Reset()
				b.WriteString(string(cut[:len(cut)-1]))
			}
			b.WriteRune('…')
			used++
			break
		}
		if n > 0 {
			b.WriteRune(r)
			used += n
		}
	}
	return b.String() + strings.Repeat(" ", max(0, columns-used))
}

// runeColumns is how many places a character takes.
func runeColumns(r rune) int {
	if r < ' ' || r == 0x7f {
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}
