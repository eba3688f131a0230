package tnef

import (
	"bytes"
	"encoding/base64"
	"io"
	"os"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// decode knows the two charsets that the streams of the tests are written in.
func decode(b []byte, charset string) string {
	enc := charmap.Windows1252.NewDecoder()
	if charset == "utf-16le" {
		enc = unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder()
	}
	out, err := enc.Bytes(b)
	if err != nil {
		return string(bytes.ToValidUTF8(b, []byte("\uFFFD")))
	}
	return string(out)
}

// winmail returns the winmail.dat of the mail that package parse tests with.
func winmail(t testing.TB) []byte {
	mail, err := os.ReadFile("../testdata/winmail.eml")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(mail, []byte("\r\n\r\n"))
	stream, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, bytes.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// FuzzRead holds for any bytes that files lie within the stream, that there
// are no more of them than may be, and that text is UTF-8.
func FuzzRead(f *testing.F) {
	stream := winmail(f)
	f.Add(stream)
	f.Add(stream[:len(stream)/2])
	f.Add([]byte("no TNEF"))
	f.Fuzz(func(t *testing.T, b []byte) {
		const most = 3
		m, _ := Read(bytes.NewReader(b), most, decode)
		if len(m.Files) > most {
			t.Errorf("%d files, limit %d", len(m.Files), most)
		}
		for _, f := range m.Files {
			if f.Offset < 0 || f.Size < 0 || f.Offset+f.Size > int64(len(b)) {
				t.Errorf("a file at %d of %d bytes in %d bytes", f.Offset, f.Size, len(b))
			}
			for _, s := range []string{f.Name, f.LongName, f.ContentType, f.ContentID} {
				if !utf8.ValidString(s) {
					t.Errorf("%q is no UTF-8", s)
				}
			}
		}
		if !utf8.Valid(m.Text) {
			t.Errorf("the text is no UTF-8: %.100q", m.Text)
		}
	})
}
