package publish

import "testing"

// TestV1KeyIsPinned: by it a folder that is numbered anew finds the rows that
// version 1 wrote.
func TestV1KeyIsPinned(t *testing.T) {
	for header, want := range map[string]string{
		"Message-ID: <1@example.org>\nDate: Wed, 04 Mar 2026 06:06:00 +0100\nFrom: Ada <ada@example.org>\n":                       "b85bc660f5f6e1066f9ee3ec8ea30404",
		"From: \"Ada\" <ada@EXAMPLE.org>\r\nmessage-id:\r\n 1@Example.org\r\nDate: Wed,  04 Mar 2026\r\n\t06:06:00 +0100\r\n\r\n": "b85bc660f5f6e1066f9ee3ec8ea30404",
		"From: ada@example.org\n\n": "", // its key took in the whole mail
	} {
		if got := IdentifyHeader([]byte(header)).V1Key; got != want {
			t.Errorf("%q: %s, want %s", header, got, want)
		}
	}
}
