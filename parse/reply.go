package parse

import (
	"strings"
)

// newReply tells the new part of a reply from what it answers and from the
// signature. It is nil when there is no border to be found. An inline reply,
// whose answers stand between the quotes, is never cut.
func newReply(m *Message) *Reply {
	if m.Text == "" {
		return nil
	}
	lines := strings.Split(m.Text, "\n")
	b := findBorder(lines)
	r := &Reply{Strategy: b.strategy, Confidence: b.confidence}
	switch b.layout {
	case layoutTop:
		lines = lines[:b.begin]
	case layoutBottom:
		lines = lines[b.end:]
	case layoutInline:
		r.Text = strings.TrimSpace(m.Text)
		return r
	}
	body, signed := cutSignature(lines)
	if b.layout == layoutNone {
		if !signed {
			return nil
		}
		r.Strategy, r.Confidence = "signature", "medium"
	}
	r.Text = strings.TrimSpace(strings.Join(body, "\n"))
	if r.Text == "" {
		return nil
	}
	return r
}

type layout int

const (
	layoutNone   layout = iota
	layoutTop           // the reply stands above the quote
	layoutBottom        // the reply stands below the quote
	layoutInline        // the reply stands between the quotes
)

// border is where the quote begins and ends, and which rule found it.
type border struct {
	layout     layout
	begin, end int // lines of the quote: [begin, end)
	strategy   string
	confidence string
}

// findBorder looks for the first line that begins a quote.
func findBorder(lines []string) border {
	for i, line := range lines {
		t := strings.TrimSpace(line)
		if t == "" {
			continue
		}
		switch {
		case isReplyAbove(t):
			return topBorder(lines, i, "reply_above_line", "high")
		case t[0] == '>':
			return quoteBorder(lines, i, i, "quote")
		case isOriginalMessage(t):
			return topBorder(lines, i, "original_message", "high")
		case isHeaderBlock(lines, i):
			begin := i
			for begin > 0 && strings.Trim(lines[begin-1], " \t_-*") == "" && strings.TrimSpace(lines[begin-1]) != "" {
				begin-- // the rule Outlook draws
			}
			return topBorder(lines, begin, "header_block", "high")
		}
		if end, ok := attribution(lines, i); ok {
			next := end
			for next < len(lines) && strings.TrimSpace(lines[next]) == "" {
				next++
			}
			if next < len(lines) && isQuoted(lines[next]) {
				return quoteBorder(lines, i, next, "attribution")
			}
			return topBorder(lines, i, "attribution", "medium")
		}
	}
	return border{}
}

// topBorder is a border below which everything is quote.
func topBorder(lines []string, i int, strategy, confidence string) border {
	if blank(lines[:i]) {
		return border{} // nothing above: a forwarded mail, or no reply at all
	}
	if saysInline(lines[:i]) {
		return border{layout: layoutInline, strategy: "inline", confidence: "low"}
	}
	return border{layout: layoutTop, begin: i, end: len(lines), strategy: strategy, confidence: confidence}
}

// quoteBorder decides where the reply stands around lines marked with ">",
// which begin at first; begin is where the words before them begin.
func quoteBorder(lines []string, begin, first int, strategy string) border {
	end := first
	blocks := 1 // runs of quoted lines
	texts := 0  // runs of other lines behind the first of them
	inQuote := true
	for i := first; i < len(lines); i++ {
		t := strings.TrimSpace(lines[i])
		switch {
		case t == "":
		case isQuoted(lines[i]):
			if !inQuote {
				blocks++
			}
			inQuote = true
			end = i + 1
		case isSignatureMark(lines[i]) || strings.HasPrefix(t, "____"):
			i = len(lines)
		default:
			if _, ok := attribution(lines, i); ok {
				inQuote = true // the words before an older quote
				continue
			}
			if inQuote {
				texts++
			}
			inQuote = false
		}
	}
	above := !blank(lines[:begin])
	switch {
	case texts == 0 && above:
		if saysInline(lines[:begin]) {
			return border{layout: layoutInline, strategy: "inline", confidence: "low"}
		}
		confidence := "medium"
		if strategy == "attribution" {
			confidence = "high"
		}
		return border{layout: layoutTop, begin: begin, end: end, strategy: strategy, confidence: confidence}
	case texts == 0:
		return border{}
	case texts == 1 && blocks == 1 && !above:
		return border{layout: layoutBottom, begin: begin, end: end, strategy: strategy + "_bottom", confidence: "medium"}
	}
	return border{layout: layoutInline, strategy: "inline", confidence: "low"}
}

func isQuoted(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " \t"), ">") }

func blank(lines []string) bool {
	for _, l := range lines {
		if strings.TrimSpace(l) != "" {
			return false
		}
	}
	return true
}

// attribution reports "On …, … wrote:" at line i, on one line or wrapped over
// up to four, and the line after it.
func attribution(lines []string, i int) (end int, ok bool) {
	first := trimRule(strings.TrimSpace(lines[i]))
	if first == "" || len(first) > 400 {
		return 0, false
	}
	begins := beginsAttribution(first)
	if !begins && !endsAttribution(first) {
		return 0, false // nearly every line there is
	}
	var joined strings.Builder
	for n := i; n < len(lines) && n < i+4; n++ {
		t := strings.TrimSpace(lines[n])
		if t == "" || n > i && t[0] == '>' || len(t) > 400 {
			return 0, false
		}
		joined.WriteString(" " + t)
		if endsAttribution(trimRule(t)) {
			return n + 1, saysWrote(joined.String()) && (begins || strings.ContainsAny(joined.String(), "@<0123456789"))
		}
	}
	return 0, false
}

// trimRule takes off what mail programs draw around a line.
func trimRule(s string) string { return strings.Trim(s, "-*_ ") }

func endsAttribution(s string) bool {
	return strings.HasSuffix(s, ":") || strings.HasSuffix(s, "：") || strings.HasSuffix(s, "wrote")
}

// beginsAttribution reports a line that can begin an attribution: with a date
// or with the word before it.
func beginsAttribution(s string) bool {
	if s[0] >= '0' && s[0] <= '9' {
		return true
	}
	word, _, _ := strings.Cut(s, " ")
	return has(attributionStarts, strings.Trim(word, ",.:"))
}

func saysWrote(s string) bool {
	s = strings.ToLower(s)
	for _, verb := range wroteVerbs {
		if strings.Contains(s, verb) {
			return true
		}
	}
	return false
}

// isOriginalMessage reports "-----Original Message-----".
func isOriginalMessage(t string) bool {
	if t[0] != '-' && t[0] != '_' && t[0] != '*' {
		return false
	}
	return has(originalMessages, strings.Trim(t, "-_*: \t"))
}

// isReplyAbove reports the line of a help desk above which a reply is to stand.
func isReplyAbove(t string) bool {
	if t[0] != '#' && t[0] != '-' && t[0] != '=' && t[0] != '*' || len(t) > 200 {
		return false
	}
	l := strings.ToLower(t)
	return strings.Contains(l, "above this line") || strings.Contains(l, "oberhalb dieser") || strings.Contains(l, "au-dessus de cette ligne") || strings.Contains(l, "encima de esta línea")
}

// isHeaderBlock reports the header that Outlook puts before what is answered:
// a From line, and at least two of Sent, To, Cc and Subject in the lines after.
func isHeaderBlock(lines []string, i int) bool {
	if !has(fromLabels, fieldLabel(lines[i])) {
		return false
	}
	seen := 0
	for _, l := range lines[i+1 : min(len(lines), i+9)] {
		if has(otherLabels, fieldLabel(l)) {
			seen++
		}
	}
	return seen >= 2
}

// fieldLabel is the word before the colon of a line, or "".
func fieldLabel(line string) string {
	line = strings.TrimLeft(line, " \t*")
	head := line[:min(len(line), 60)]
	i := strings.IndexByte(head, ':')
	if wide := strings.Index(head, "："); wide >= 0 && (i < 0 || wide < i) {
		i = wide
	}
	return strings.Trim(line[:max(i, 0)], " \t*\u00a0")
}

func saysInline(lines []string) bool {
	text := strings.ToLower(shorten(strings.Join(lines[:min(len(lines), 30)], "\n"), 4000))
	for _, words := range inlineWords {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}
