package parse

import (
	"bytes"
	"strings"
)

// readCalendar reads the method and the identity of an invitation; the file
// itself stays an attachment (RFC 5545, RFC 6047).
func readCalendar(c *content) *Calendar {
	for _, p := range c.leaves {
		if !p.typ.is("text", "calendar") && !p.typ.is("application", "ics") {
			continue
		}
		cal := &Calendar{Method: strings.ToUpper(token(p.typ.param("method")))}
		cs, _ := lookupCharset(p.typ.param("charset"))
		depth := 0
		for line := range bytes.Lines(joinFolded(cs.toUTF8(p.start(reportLimit)))) {
			name, value, ok := bytes.Cut(bytes.TrimSpace(line), []byte(":"))
			if !ok {
				continue
			}
			name, _, _ = bytes.Cut(name, []byte(";"))
			switch {
			case equalFold(name, "begin"):
				depth++
			case equalFold(name, "end"):
				depth--
			case equalFold(name, "method") && depth <= 1 && cal.Method == "":
				cal.Method = strings.ToUpper(token(string(value)))
			case equalFold(name, "uid") && depth == 2 && cal.UID == "":
				cal.UID = shorten(cleanString(string(bytes.ToValidUTF8(value, []byte("\uFFFD")))), 998)
			}
		}
		return cal
	}
	return nil
}

// joinFolded puts folded lines together (RFC 5545 section 3.1).
func joinFolded(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n"))
	b = bytes.ReplaceAll(b, []byte("\n "), nil)
	return bytes.ReplaceAll(b, []byte("\n\t"), nil)
}
