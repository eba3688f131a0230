package parse

import (
	"strings"
)

// maxSignature is how many lines a signature has at most.
const maxSignature = 15

// cutSignature drops "-- " and what follows it, and the lines that phones and
// mail programs add.
func cutSignature(lines []string) (body []string, cut bool) {
	last := len(lines)
	for last > 0 && strings.TrimSpace(lines[last-1]) == "" {
		last--
	}
	for i := max(0, last-maxSignature); i < last; i++ {
		if isSignatureMark(lines[i]) {
			return lines[:i], true
		}
	}
	for n := 0; n < 3 && last > 0 && isDeviceLine(lines[last-1]); n++ {
		last--
		for last > 0 && strings.TrimSpace(lines[last-1]) == "" {
			last--
		}
		cut = true
	}
	return lines[:last], cut
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
	if t == "" || len(t) > 160 {
		return false
	}
	for _, words := range deviceLines {
		if strings.HasPrefix(t, words) {
			return true
		}
	}
	return false
}
