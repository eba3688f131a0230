package parse

import (
	"bytes"
	"encoding/base64"
	"os"
	"testing"
)

// TestBrokenWinmail cuts and damages a winmail.dat at every place: whatever is
// left of it is read, and what is no TNEF at all stays the file it was.
func TestBrokenWinmail(t *testing.T) {
	mail, err := os.ReadFile("testdata/winmail.eml")
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := bytes.Cut(mail, []byte("\r\n\r\n"))
	e, _ := transferEncoding([]byte("base64"))
	tnef := decodeTransfer(e, body, 1<<20)
	build := func(b []byte) []byte {
		return []byte(string(head) + "\r\n\r\n" + base64.StdEncoding.EncodeToString(b))
	}
	for n := range tnef {
		raw := build(tnef[:n])
		checkMessage(t, raw, Parse(raw, Limits{}), Limits{})
		damaged := bytes.Clone(tnef)
		damaged[n] ^= 0xff
		raw = build(damaged)
		m := Parse(raw, Limits{})
		checkMessage(t, raw, m, Limits{})
	}
	if m := Parse(build([]byte("no TNEF")), Limits{}); len(m.Attachments) != 1 || m.Attachments[0].Name != "winmail.dat" || !hasDefect(m, "tnef_invalid") {
		t.Errorf("%+v", m)
	}
}
