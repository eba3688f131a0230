package parse

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
)

const plainHeader = "From: a@example.com\r\nTo: b@example.com\r\nSubject: hostile\r\nDate: Tue, 3 Mar 2026 10:11:12 +0100\r\n"

func nested(depth int, closed bool) string {
	var b strings.Builder
	b.WriteString(plainHeader)
	for i := range depth {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n", i, i)
	}
	b.WriteString("Content-Type: text/plain\r\n\r\nat the bottom\r\n")
	if closed {
		for i := depth - 1; i >= 0; i-- {
			fmt.Fprintf(&b, "--b%d--\r\n", i)
		}
	}
	return b.String()
}

func hasDefect(m *Message, code string) bool {
	for _, d := range m.Defects {
		if d.Code == code {
			return true
		}
	}
	return false
}

// TestHostileSizes gives mails whose cost must not grow faster than their
// size. Each has to be read within a second and 64 MiB; the time here is
// generous, for a hang is what it guards against.
func TestHostileSizes(t *testing.T) {
	repeat := strings.Repeat
	multipart := plainHeader + "Content-Type: multipart/mixed; boundary=b\r\n\r\n"
	tests := []struct {
		name string
		mail string
		want func(m *Message) bool
	}{
		{"200 nested multiparts", nested(200, true), func(m *Message) bool { return m.Text == "at the bottom" }},
		{"200 nested, unclosed", nested(200, false), func(m *Message) bool { return m.Text == "at the bottom\n" && hasDefect(m, "multipart_unclosed") }},
		{"5,000 nested multiparts", nested(5000, true), func(m *Message) bool { return hasDefect(m, "nesting_too_deep") }},
		{"5,000 nested, unclosed", nested(5000, false), func(m *Message) bool { return hasDefect(m, "nesting_too_deep") }},
		{"50,000 parts", multipart + repeat("--b\r\nContent-Type: application/pdf\r\n\r\nx\r\n", 50000) + "--b--\r\n",
			func(m *Message) bool {
				return len(m.Attachments) <= 2000 && len(m.Attachments) > 1990 && hasDefect(m, "too_many_parts")
			}},
		{"50,000 text parts", multipart + repeat("--b\r\n\r\nx\r\n", 50000) + "--b--\r\n",
			func(m *Message) bool { return hasDefect(m, "too_many_parts") }},
		{"30,000 RFC 2231 segments", multipart + "--b\r\nContent-Type: application/pdf;\r\n" + segments2231(30000) + "\r\n\r\nx\r\n--b--\r\n",
			func(m *Message) bool {
				return len(m.Attachments) == 1 && strings.HasPrefix(m.Attachments[0].Name, "aaaa")
			}},
		{"100,000 encoded words", "From: a@example.com\r\nSubject:" + repeat(" =?utf-8?q?=C3=A4?=\r\n", 100000) + "\r\nx",
			func(m *Message) bool {
				return strings.HasPrefix(m.Subject, repeat("ä", 40000)) && hasDefect(m, "header_too_long") && m.Text == "x"
			}},
		{"100,000 words of changing charset", "Subject:" + repeat(" =?utf-8?q?=C3=A4?=\r\n =?latin1?q?=E4?=\r\n", 25000) + plainHeader + "\r\nx",
			func(m *Message) bool { return m.Subject == repeat("ä", 50000) }},
		{"1 MB folded subject", "Subject:" + repeat(" word\r\n", 1<<20/7-100) + plainHeader + "\r\nx",
			func(m *Message) bool { return len(m.Subject) > 600000 && m.From.Email == "a@example.com" }},
		{"300,000 nested tags", plainHeader + "Content-Type: text/html\r\n\r\n" + repeat("<div>", 300000) + "deep" + repeat("</div>", 300000),
			func(m *Message) bool { return m.Text == "deep" }},
		{"300,000 nested lists and quotes", plainHeader + "Content-Type: text/html\r\n\r\n" + repeat("<ul><blockquote>", 150000) + "deep",
			func(m *Message) bool { return strings.HasSuffix(m.Text, "deep") }},
		{"100,000 links", plainHeader + "Content-Type: text/html\r\n\r\n" + repeat("<a href='http://x/'>y", 50000),
			func(m *Message) bool { return strings.HasPrefix(m.Text, "yyy") }},
		{"header over its limit", plainHeader + repeat("X-A: b\r\n", 1<<18) + "\r\nbody", func(m *Message) bool { return hasDefect(m, "header_too_long") }},
		{"100,000 recipients", "To: " + repeat("a@example.com,\r\n ", 100000) + "b@example.com\r\n" + plainHeader + "\r\nx",
			func(m *Message) bool { return len(m.To) == 10000 && hasDefect(m, "too_many_addresses") }},
		{"100,000 references", "References:" + repeat(" <x@y>\r\n <z@y>", 40000) + "\r\n" + plainHeader + "\r\nx",
			func(m *Message) bool { return len(m.References) == 2 }},
		{"boundaries that nearly match", plainHeader + "Content-Type: multipart/mixed; boundary=" + repeat("x", 900) + "\r\n\r\n" + repeat("--"+repeat("x", 899)+"\r\n", 1100),
			func(*Message) bool { return true }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			raw := []byte(tt.mail)
			m, alloc, took := measure(raw)
			if !tt.want(m) {
				t.Errorf("subject %.40q, text %.40q, %d attachments, defects %v", m.Subject, m.Text, len(m.Attachments), m.Defects)
			}
			checkMessage(t, raw, m, Limits{})
			if took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			if alloc > 64<<20 {
				t.Errorf("allocated %d bytes for a mail of %d", alloc, len(raw))
			}
			t.Logf("%d bytes in %v, %d bytes allocated", len(raw), took, alloc)
		})
	}
}

func segments2231(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, " name*%d=a;\r\n", i)
	}
	return strings.TrimSuffix(b.String(), ";\r\n")
}

func measure(raw []byte) (m *Message, alloc uint64, took time.Duration) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := time.Now()
	m = Parse(raw, Limits{})
	took = time.Since(start)
	runtime.ReadMemStats(&after)
	return m, after.TotalAlloc - before.TotalAlloc, took
}

// TestMemory holds that a file is decoded only where it is read, and that a
// Message keeps nothing of it.
func TestMemory(t *testing.T) {
	raw := []byte(plainHeader + "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/zip\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n" + strings.Repeat(strings.Repeat("QUJD", 19)+"\r\n", 100_000) + "--b--\r\n")
	m, alloc, _ := measure(raw)
	if alloc > 256<<10 {
		t.Errorf("parsing a mail of %d bytes allocated %d", len(raw), alloc)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	n, err := io.Copy(io.Discard, m.Attachments[0].Open())
	runtime.ReadMemStats(&after)
	if n != 57*100_000 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 256<<10 {
		t.Errorf("reading %d bytes allocated %d", n, got)
	}
}

// TestLinear repeats what a lenient reader may stumble over, a megabyte of it
// in each place where a sender can put it, and holds that twice the input
// takes nowhere near four times the allocations, and ends.
func TestLinear(t *testing.T) {
	pieces := []string{
		"\"", "\\\"", "(", ")", "<", "<a", "a@b,", "a@b <", "@", ":", ";", "=?", "=?a?q?", "=?a?x ", "=?utf-8?b?", "?=", "=", "a=b;", "a*0*=;", "a*=''",
		"\n", "\r", "\r\n ", "\n\n", "\n--", "\n--b", "--b\n", "\n>", "\n> ", "\nOn 1", "\nOn 2 Mar\nx:\n", "\nFrom: x\n", "\n-- \n", "a:b\n", "<>", "< >",
		"<p", "<!--", "<a href=", "<![CDATA[", "&", "&#", "<script>", "</", "<li><ul>", "<td>", "cid:", "charset", "style=",
		"{", "\\", "\\'", "begin 644 x\n", "=ybegin \n", "+", "+A", "\x1b$B", "\x0e", "\xff", "\xe4", "ä", "\x00", "\u2028",
	}
	places := map[string]func(s string) string{
		"subject":  func(s string) string { return "Subject: " + s + "\n\nx" },
		"to":       func(s string) string { return "To: " + s + "\nFrom: " + s + "\n\nx" },
		"type":     func(s string) string { return "Content-Type: multipart/mixed; boundary=b; " + s + "\n\n--b\n\nx\n" },
		"ids":      func(s string) string { return "References: " + s + "\nMessage-ID: " + s + "\nDate: " + s + "\n\nx" },
		"top":      func(s string) string { return s },
		"text":     func(s string) string { return "Subject: x\n\n" + s },
		"parts":    func(s string) string { return "Content-Type: multipart/mixed; boundary=b\n\n--b\n" + s },
		"unnamed":  func(s string) string { return "Content-Type: multipart/mixed\n\n" + s },
		"html":     func(s string) string { return "Content-Type: text/html; charset=x-none\n\n" + s },
		"quoted":   func(s string) string { return "Content-Transfer-Encoding: quoted-printable\n\n" + s },
		"base64":   func(s string) string { return "Content-Transfer-Encoding: base64\nContent-Type: a/b\n\n" + s },
		"uu":       func(s string) string { return "Content-Transfer-Encoding: x-uuencode\n\nbegin 644 x\n" + s },
		"utf7":     func(s string) string { return "Content-Type: text/plain; charset=utf-7\n\n" + s },
		"iso2022":  func(s string) string { return "Content-Type: text/plain; charset=iso-2022-jp\n\n" + s },
		"status":   func(s string) string { return "Content-Type: message/delivery-status\n\n" + s },
		"calendar": func(s string) string { return "Content-Type: text/calendar\n\n" + s },
		"rfc822":   func(s string) string { return "Content-Type: message/rfc822\n\n" + s },
	}
	size := 1 << 17
	if testing.Short() {
		size = 1 << 14
	}
	for place, build := range places {
		t.Run(place, func(t *testing.T) {
			for _, piece := range pieces {
				raw := []byte(build(strings.Repeat(piece, size/len(piece))))
				m, alloc, took := measure(raw)
				if took > 5*time.Second || alloc > uint64(64*len(raw)+1<<20) {
					t.Errorf("%q: %d bytes in %v, %d bytes allocated", piece, len(raw), took, alloc)
				}
				checkMessage(t, raw, m, Limits{})
			}
		})
	}
}
