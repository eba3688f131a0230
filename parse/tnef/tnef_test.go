package tnef

import (
	"bytes"
	"testing"
)

func TestRead(t *testing.T) {
	stream := winmail(t)
	m, whole := Read(bytes.NewReader(stream), 10, decode)
	if !whole || len(m.Files) != 1 {
		t.Fatalf("whole %v, %d files", whole, len(m.Files))
	}
	f := m.Files[0]
	if f.LongName != "report 2026.txt" || f.ContentType != "text/plain" {
		t.Errorf("%+v", f)
	}
	if got := string(stream[f.Offset : f.Offset+f.Size]); got != "file inside winmail.dat" {
		t.Errorf("%q", got)
	}
	if string(m.HTML) != "<html><p>Grüße €5</p></html>" || m.HTMLCharset != "" { // it was packed in RTF
		t.Errorf("text %q, HTML %q in %q", m.Text, m.HTML, m.HTMLCharset)
	}
	if m, _ := Read(bytes.NewReader(stream), 0, decode); len(m.Files) != 0 {
		t.Errorf("%d files where none may be", len(m.Files))
	}
}
