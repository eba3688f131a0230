package tnef

import "testing"

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
	text, _ := readRTF([]byte("{\\rtf1\\ansi{\\fonttbl{\\f0 Arial;}}caf\\'e9\\par\\u8364? {\\*\\gen x}{\\b bold}\\{\\}}"), decode)
	if string(text) != "café\n€ bold{}" {
		t.Errorf("%q", text)
	}
}
