package parse

import "strings"

// newReply tells the new part of a reply from what it answers and from the
// signature. It is nil when there is no border to be found. An inline reply,
// whose answers stand between the quotes, is never cut.
func newReply(m *Message) *Reply {
	if m.Text == "" {
		return nil
	}
	b := findBorder(strings.Split(m.Text, "\n"))
	if b.strategy != "inline" {
		body, signed := cutSignature(b.reply)
		if b.strategy == "" {
			if !signed {
				return nil
			}
			b.strategy, b.confidence = "signature", "medium"
		}
		b.reply = body
	}
	text := strings.TrimSpace(strings.Join(b.reply, "\n"))
	if text == "" {
		return nil
	}
	return &Reply{Text: text, Strategy: b.strategy, Confidence: b.confidence}
}

// border is what lies on this side of the quote, and which rule found it; ""
// when none did.
type border struct {
	reply      []string
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
			for begin > 0 && strings.Trim(lines[begin-1], " \t_-*") == "" && !blank(lines[begin-1]) {
				begin-- // the rule Outlook draws
			}
			return topBorder(lines, begin, "header_block", "high")
		}
		if end, ok := attribution(lines, i); ok {
			for end < len(lines) && blank(lines[end]) {
				end++
			}
			if end < len(lines) && isQuoted(lines[end]) {
				return quoteBorder(lines, i, end, "attribution")
			}
			return topBorder(lines, i, "attribution", "medium")
		}
	}
	return border{reply: lines}
}

// topBorder is a border below which everything is quote.
func topBorder(lines []string, i int, strategy, confidence string) border {
	if blank(lines[:i]...) {
		return border{reply: lines} // nothing above: a forwarded mail, or no reply at all
	}
	if saysInline(lines[:i]) {
		return border{lines, "inline", "low"}
	}
	return border{lines[:i], strategy, confidence}
}

// quoteBorder decides where the reply stands around lines marked with ">",
// which begin at first; begin is where the words before them begin.
func quoteBorder(lines []string, begin, first int, strategy string) border {
	end := first
	blocks := 1 // runs of quoted lines
	texts := 0  // runs of other lines behind the first of them
	inQuote := true
scan:
	for i := first; i < len(lines); i++ {
		switch {
		case blank(lines[i]):
		case isQuoted(lines[i]):
			if !inQuote {
				blocks++
			}
			inQuote = true
			end = i + 1
		case isSignatureMark(lines[i]) || strings.HasPrefix(strings.TrimSpace(lines[i]), "____"):
			break scan
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
	switch above := !blank(lines[:begin]...); {
	case texts == 0 && strategy == "attribution":
		return topBorder(lines, begin, strategy, "high")
	case texts == 0:
		return topBorder(lines, begin, strategy, "medium")
	case texts == 1 && blocks == 1 && !above:
		return border{lines[end:], strategy + "_bottom", "medium"}
	}
	return border{lines, "inline", "low"}
}

func isQuoted(line string) bool { return strings.HasPrefix(strings.TrimLeft(line, " \t"), ">") }

func blank(lines ...string) bool {
	for _, line := range lines {
		if strings.TrimSpace(line) != "" {
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
			return n + 1, containsAny(strings.ToLower(joined.String()), wroteVerbs...) && (begins || strings.ContainsAny(joined.String(), "@<0123456789"))
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
	return containsAny(strings.ToLower(t), "above this line", "oberhalb dieser", "au-dessus de cette ligne", "encima de esta línea")
}

// isHeaderBlock reports the header that Outlook puts before what is answered:
// a From line, and at least two of Sent, To, Cc and Subject in the lines after.
func isHeaderBlock(lines []string, i int) bool {
	if label := fieldLabel(lines[i]); label == "" || !has(fromLabels, label) {
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
	text := shorten(strings.Join(lines[:min(len(lines), 30)], "\n"), 4000)
	return containsAny(strings.ToLower(text), inlineWords...)
}

// maxSignature is how many lines a signature has at most.
const maxSignature = 15

// cutSignature drops "-- " and what follows it, and the lines that phones and
// mail programs add.
func cutSignature(lines []string) (body []string, cut bool) {
	lines = cutBlank(lines)
	for i := max(0, len(lines)-maxSignature); i < len(lines); i++ {
		if isSignatureMark(lines[i]) {
			return lines[:i], true
		}
	}
	for n := 0; n < 3 && len(lines) > 0 && isDeviceLine(lines[len(lines)-1]); n++ {
		lines, cut = cutBlank(lines[:len(lines)-1]), true
	}
	return lines, cut
}

// cutBlank drops the blank lines at the end.
func cutBlank(lines []string) []string {
	for len(lines) > 0 && blank(lines[len(lines)-1]) {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// isSignatureMark reports the line that begins a signature (RFC 3676 4.3).
func isSignatureMark(line string) bool {
	if !strings.HasPrefix(line, "-") && !strings.HasPrefix(line, "—") {
		return false
	}
	t := strings.TrimRight(line, " \t\u00a0")
	return t == "--" || t == "—" || t == "- --"
}

// isDeviceLine reports "Sent from my iPhone" and the like.
func isDeviceLine(line string) bool {
	t := strings.ToLower(strings.TrimSpace(line))
	return len(t) <= 160 && hasAnyPrefix(t, deviceLines...)
}
