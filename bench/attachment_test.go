package bench

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"runtime"
	"testing"

	"imapsync/parse"
)

// bigMail is a mail with one attachment of n bytes.
func bigMail(n int) []byte {
	file := make([]byte, n)
	for i := range file {
		file[i] = byte(i * 2654435761 >> 13)
	}
	var w bytes.Buffer
	w.WriteString("From: a@example.com\r\nTo: b@example.com\r\nSubject: big\r\nDate: Mon, 2 Jan 2006 15:04:05 -0700\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b0und\"\r\n\r\n" +
		"--b0und\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nsee attached\r\n" +
		"--b0und\r\nContent-Type: application/zip; name=\"big.zip\"\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	coded := base64.StdEncoding.EncodeToString(file)
	for len(coded) > 76 {
		w.WriteString(coded[:76] + "\r\n")
		coded = coded[76:]
	}
	fmt.Fprintf(&w, "%s\r\n--b0und--\r\n", coded)
	return w.Bytes()
}

// BenchmarkAttachment25MB parses a mail with a 25 MB attachment, then reads
// the attachment to its end as a caller that stores it does.
func BenchmarkAttachment25MB(b *testing.B) {
	raw := bigMail(25 << 20)
	for _, p := range parsers {
		b.Run(p.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = p.parse(raw)
			}
		})
	}
	b.Run("imapsync+read", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			m := parse.Parse(raw, parse.Limits{})
			if n, _ := io.Copy(io.Discard, m.Attachments[0].Open()); n != 25<<20 {
				b.Fatalf("read %d bytes", n)
			}
		}
	})
}

// TestAttachmentMemory holds the bound that the benchmark only shows.
func TestAttachmentMemory(t *testing.T) {
	raw := bigMail(25 << 20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	m := parse.Parse(raw, parse.Limits{})
	n, _ := io.Copy(io.Discard, m.Attachments[0].Open())
	runtime.ReadMemStats(&after)
	if n != 25<<20 {
		t.Errorf("read %d bytes", n)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 1<<20 {
		t.Errorf("allocated %d bytes besides the raw mail, want at most 1 MiB", got)
	}
}
