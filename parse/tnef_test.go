package parse

import (
	"bytes"
	"encoding/base64"
	"os"
	"testing"
)

// TestBrokenTNEF cuts and damages a winmail.dat at every place: whatever is
// left of it is read, and what is no TNEF at all stays the file it was.
func TestBrokenTNEF(t *testing.T) {
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

func TestUnpackRTF(t *testing.T) {
	// The examples of MS-OXRTFCP section 3.
	packed := "\x2d\x00\x00\x00\x2b\x00\x00\x00\x4c\x5a\x46\x75\xf1\xc5\xc7\xa7\x03\x00\x0a\x00\x72\x63\x70\x67\x31\x32\x35\x42\x32\x0a\xf3\x20\x68\x65\x6c\x09\x00\x20\x62\x77\x05\xb0\x6c\x64\x7d\x0a\x80\x0f\xa0"
	if got, want := string(unpackRTF([]byte(packed))), "{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	crossing := "\x1a\x00\x00\x00\x1c\x00\x00\x00\x4c\x5a\x46\x75\xe2\xd4\x4b\x51\x41\x00\x04\x20\x57\x58\x59\x5a\x0d\x6e\x7d\x01\x0e\xb0"
	if got, want := string(unpackRTF([]byte(crossing))), "{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	text, _ := readRTF([]byte("{\\rtf1\\ansi{\\fonttbl{\\f0 Arial;}}caf\\'e9\\par\\u8364? {\\*\\gen x}{\\b bold}\\{\\}}"))
	if string(text) != "café\n€ bold{}" {
		t.Errorf("%q", text)
	}
}
