package parse

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// seeds adds the mails of testdata and, when IMAPSYNC_CORPUS names a folder,
// the small ones of it.
func seeds(f *testing.F) {
	add := func(dir string, most int64) {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".eml") {
				return err
			}
			if info, err := d.Info(); err != nil || info.Size() > most {
				return err
			}
			raw, err := os.ReadFile(path)
			f.Add(raw)
			return err
		})
		if err != nil {
			f.Fatal(err)
		}
	}
	add("testdata", 1<<20)
	if dir := os.Getenv("IMAPSYNC_CORPUS"); dir != "" {
		add(dir, 16<<10)
	}
}

// FuzzParse holds the promises of Message for any bytes.
func FuzzParse(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := string(raw)
		m := Parse(raw, Limits{})
		if string(raw) != before {
			t.Fatal("the raw mail was changed")
		}
		checkMessage(t, raw, m, Limits{})
		checkSame(t, raw, m, Limits{})
		small := Limits{Nesting: 2, Parts: 3, HeaderBytes: 200, TextBytes: 100, Addresses: 2}
		checkMessage(t, raw, Parse(raw, small), small)
	})
}

// FuzzInject gives a sender every field that reaches the normalised mail, and
// holds that parsemail reads from it what was written.
func FuzzInject(f *testing.F) {
	f.Add("subject", "name", "id@example.com", "text", "<p>html</p>", "cid", "file.txt")
	f.Add("=?utf-8?q?a=0D=0ABcc:_x=40y?=", "\"\r\nTo: x@y", "<a>\r\n\r\n--b", "\r\n--b--\r\n", "--b\r\nContent-Type: text/plain\r\n\r\n", "a\x01b", "\"\r\n\r\nx")
	f.Add("\x00", "=?utf-8?b?Ig==?=", "a b", "\n.\n", "", ">", "..")
	f.Fuzz(func(t *testing.T, subject, name, id, text, html, cid, file string) {
		raw := []byte("From: " + name + " <a@example.com>\r\nTo: " + name + " <b@example.com>, c@example.com\r\nSubject: " + subject +
			"\r\nMessage-ID: " + id + "\r\nReferences: " + id + " <x@example.com>\r\nContent-Type: multipart/related; boundary=b\r\n\r\n" +
			"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + text +
			"\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n" + html + "<img src=\"cid:" + cid + "\">" +
			"\r\n--b\r\nContent-Type: image/png\r\nContent-ID: <" + cid + ">\r\nContent-Disposition: inline; filename=\"" + file + "\"\r\n\r\nPNG" +
			"\r\n--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"" + file + "\"\r\n\r\nPDF\r\n--b--\r\n")
		m := Parse(raw, Limits{})
		checkMessage(t, raw, m, Limits{})
		checkSame(t, raw, m, Limits{})
	})
}

// plainBase64 is base64Decoder without the standard library: a character at a
// time.
func plainBase64(src []byte) (out []byte) {
	var bits uint32
	n := 0
	flush := func() {
		bits <<= 6 * (4 - n)
		group := []byte{byte(bits >> 16), byte(bits >> 8), byte(bits)}
		out = append(out, group[:max(n-1, 0)]...)
		bits, n = 0, 0
	}
	for _, c := range src {
		switch x := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", c); {
		case c == '=':
			flush()
		case x >= 0:
			bits = bits<<6 | uint32(x)
			if n++; n == 4 {
				flush()
			}
		}
	}
	flush()
	return out
}

// FuzzBase64 holds that what is decoded by the standard library, in whatever
// pieces, is what is decoded by characters.
func FuzzBase64(f *testing.F) {
	line := strings.Repeat("QUJD", 19)
	f.Add([]byte(line+"\r\n"+line+"\n"+line[:40]+"\r\nQQ==\r\n"), 80, 3)
	f.Add([]byte(line[:75]+"\r\n"+line[:73]+"\n\n\r"+line), 7, 1)
	f.Add([]byte("QUI=QUJDQUI=\r\n"+line+"=="+line+"QU-JD_QUJD \tQU\x00\xffJD=x"), 16, 9)
	f.Add([]byte("=====QUJDQUJ\rDQUJDQU\nJDQUJDQ"), 12, 4)
	f.Fuzz(func(t *testing.T, src []byte, first, then int) {
		want := plainBase64(src)
		whole, _ := (&base64Decoder{}).step(nil, src, true)
		if string(whole) != string(want) {
			t.Fatalf("at once %x, want %x", whole, want)
		}
		var s base64Decoder
		var pieces []byte
		for rest, n := src, first; len(rest) > 0; n = then {
			piece := rest[:min(max(n, 1), len(rest))]
			var used int
			pieces, used = s.step(pieces, piece, len(piece) == len(rest))
			rest = rest[used:]
		}
		if string(pieces) != string(want) {
			t.Fatalf("in pieces %x, want %x", pieces, want)
		}
	})
}

// FuzzHTML holds that text made from HTML is clean and bounded.
func FuzzHTML(f *testing.F) {
	f.Add("<p>a<br>b<table><tr><td>1<td>2</table><ul><li>x</ul><blockquote>q</blockquote><a href='http://x'>y</a><pre>\n z</pre>")
	f.Add("<div style='display:none'>hidden<script></style><!--<svg><![CDATA[")
	f.Fuzz(func(t *testing.T, s string) {
		s = string(cleanText(nil, []byte(s)))
		text := htmlText(s, 1000)
		checkText(t, "text", text)
		if len(text) > 1000 {
			t.Errorf("%d bytes of text, limit 1000", len(text))
		}
	})
}
