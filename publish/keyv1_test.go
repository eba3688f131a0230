package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imapsync/parse"
)

// TestKeyIsPinned: these values may never change. A mail whose key changes is
// published a second time when its folder is renumbered.
func TestKeyIsPinned(t *testing.T) {
	from := parse.Address{Email: "ada@example.org"}
	for _, tt := range []struct {
		name        string
		m           parse.Message
		fingerprint string
		key         string
	}{
		{
			"message-id", parse.Message{MessageID: "1@example.org", DateHeader: "Wed, 04 Mar 2026 06:06:00 +0100", From: from},
			"6a03b7eb1a91d50c5f03fbb2de51416b41526314cd98002fb8ee17a929da2a55", "b85bc660f5f6e1066f9ee3ec8ea30404",
		},
		{
			"no message-id", parse.Message{
				DateHeader: "Wed, 04 Mar 2026 06:06:00 +0100", From: from, Subject: "Сканы",
				To: []parse.Address{{Email: "a@b.c"}, {Email: "d@E.f"}}, Cc: []parse.Address{{Email: "g@h.i"}}, Text: "text",
			},
			"e788f5267a502ba5223fe960a6495b69059c8b8a9570d9e9c460c6e7d06cff05", "9142f43c1441353dc0eb7f8a1edb6222",
		},
		{
			"nothing", parse.Message{From: parse.Address{Email: parse.UnknownSender}},
			"f491bcf9fdec58219e6f53f73c7bef8a8175e813bb04bc7a7ec030b2e472d5e9", "d9de2f2dfb60a49b349972bf951da88f",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Fingerprint(&tt.m); got != tt.fingerprint {
				t.Errorf("fingerprint %s, want %s", got, tt.fingerprint)
			}
			if got := Key(&tt.m); got != tt.key {
				t.Errorf("key %s, want %s", got, tt.key)
			}
		})
	}
}

// TestKeyLayout computes the documented layout by hand.
func TestKeyLayout(t *testing.T) {
	hexSum := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	m := &parse.Message{
		MessageID: " <A|b@Example.ORG> ", DateHeader: "Wed,  04 Mar\t2026 06:06:00 +0100", From: parse.Address{Email: "Ada@Example.org"},
		Subject: "s", Text: "text", HTML: "<p>html", To: []parse.Address{{Email: "x@Y.z"}, {Email: "2@y.z"}},
	}
	fingerprint := hexSum("Wed, 04 Mar 2026 06:06:00 +0100|Ada@example.org")
	if got := Fingerprint(m); got != fingerprint {
		t.Errorf("fingerprint %s, want %s", got, fingerprint)
	}
	want := hexSum("v1|A|b@example.org|" + fingerprint)[:32]
	if got := Key(m); got != want {
		t.Errorf("key %s, want %s", got, want)
	}
	if got, ok := HeaderKey(m); !ok || got != want {
		t.Errorf("HeaderKey %s, %v, want %s", got, ok, want)
	}

	m.MessageID = ""
	body := hexSum("<p>html")
	fingerprint = hexSum("15:Ada@example.org" + "31:Wed, 04 Mar 2026 06:06:00 +0100" + "1:s" + "11:x@y.z,2@y.z" + "0:" + "64:" + body)
	if got := Fingerprint(m); got != fingerprint {
		t.Errorf("without Message-ID: fingerprint %s, want %s", got, fingerprint)
	}
	if got, want := Key(m), hexSum("v1||" + fingerprint)[:32]; got != want {
		t.Errorf("without Message-ID: key %s, want %s", got, want)
	}
	if _, ok := HeaderKey(m); ok {
		t.Error("HeaderKey without a Message-ID must say that it has none")
	}
}

func TestNormalMessageID(t *testing.T) {
	for in, want := range map[string]string{
		"<a@B.C>": "a@b.c", "a@B.C": "a@b.c", " <a@b.c> ": "a@b.c", "<<a@b.c>>": "<a@b.c>", "< a@b.c >": "a@b.c",
		"Local.Part@HOST": "Local.Part@host", "a@B@C": "a@B@c", "NoDomain": "NoDomain", "<>": "", "": "", "<": "<", "<a": "<a",
	} {
		if got := normalMessageID(in); got != want {
			t.Errorf("normalMessageID(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestKeyTellsMailsApart(t *testing.T) {
	base := "Date: Wed, 04 Mar 2026 06:06:00 +0100\nFrom: ada@example.org\nTo: desk@example.com\nCc: c@example.com\nSubject: Scan\n"
	key := func(raw string) string { return Key(parse.Parse([]byte(raw), parse.Limits{})) }
	withID := "Message-ID: <1@example.org>\n" + base
	same := map[string][2]string{
		"the body does not count":    {withID + "\nx", withID + "\ny"},
		"nor do trace headers":       {withID + "\nx", "Received: by a\nX-Spam: no\n" + withID + "\nx"},
		"nor does folding":           {withID + "\nx", strings.Replace(withID, " 04 Mar", "\n\t04 Mar", 1) + "\nx"},
		"nor line ends":              {withID + "\nx", strings.ReplaceAll(withID+"\nx", "\n", "\r\n")},
		"nor the case of hosts":      {withID + "\nx", strings.ReplaceAll(withID, "example.org", "EXAMPLE.org") + "\nx"},
		"nor the subject with an id": {withID + "\nx", strings.Replace(withID, "Scan", "[SPAM] Scan", 1) + "\nx"},
		"without id, the same mail":  {base + "\nx", "X-Spam: no\n" + base + "\nx"},
	}
	for name, pair := range same {
		if key(pair[0]) != key(pair[1]) {
			t.Errorf("%s: two keys", name)
		}
	}
	other := map[string][2]string{
		"another id":                 {withID + "\nx", strings.Replace(withID, "<1@", "<2@", 1) + "\nx"},
		"one id, another date":       {withID + "\nx", strings.Replace(withID, "06:06:00", "06:06:01", 1) + "\nx"},
		"one id, another sender":     {withID + "\nx", strings.Replace(withID, "ada@", "bob@", 1) + "\nx"},
		"no id, another body":        {base + "\nx", base + "\ny"},
		"no id, another subject":     {base + "\nx", strings.Replace(base, "Scan", "Scan 2", 1) + "\nx"},
		"no id, another recipient":   {base + "\nx", strings.Replace(base, "desk@", "disk@", 1) + "\nx"},
		"no id, to and cc swapped":   {base + "\nx", strings.NewReplacer("To:", "Cc:", "Cc:", "To:").Replace(base) + "\nx"},
		"no id, another attachment":  {mail(base, "x", "scan.pdf", "aaaa"), mail(base, "x", "scan.pdf", "bbbb")},
		"no id, one more attachment": {mail(base, "x", "scan.pdf", "aaaa"), mail(base, "x", "scan.pdf", "aaaa", "b", "b")},
	}
	for name, pair := range other {
		if key(pair[0]) == key(pair[1]) {
			t.Errorf("%s: one key", name)
		}
	}
}

// TestHeaderKeyIsTheKey: a folder that was renumbered is matched by headers
// first, so reading less of a mail must not make another mail of it.
func TestHeaderKeyIsTheKey(t *testing.T) {
	for _, header := range []string{
		testHeader,
		"Message-ID: <1@x>\nFrom: =?utf-8?q?=D0=9F?= <p@x.y>\n",
		"Message-ID: <1@x>\n",
		"From: a@b.c, d@e.f\nDate: garbage (comment)\nMessage-Id:\n <folded@x>\n",
		"Message-ID: no brackets\nFrom: \"a\n",
		"Message-ID: <1@x>\nSender: s@x.y\nDate: Wed, 04 Mar 2026 06:06:00 +0100\nDate: other\n",
	} {
		for _, whole := range []string{mail(header, "text", "a", "aaaa"), header + "\nbody"} {
			end := strings.Index(whole, "\n\n") + 2
			full := parse.Parse([]byte(whole), parse.Limits{})
			short := parse.Parse([]byte(whole[:end]), parse.Limits{})
			k, ok := HeaderKey(short)
			if !ok {
				t.Errorf("%q: no key", header)
			}
			if k != Key(full) {
				t.Errorf("%q: %s from the header, %s from the mail", header, k, Key(full))
			}
		}
	}
}

// TestShortcuts: what is quick for most mail says the same as the plain way.
func TestShortcuts(t *testing.T) {
	texts := []string{
		"", " ", "a", "a b", " a b", "a b ", "a  b", "a\tb", "a\nb", "a\u00a0b", "a\u0085b", "Größe", "a\x00b", "a\xffb", "İ\u212a", "X-Größe\xff",
		"Wed, 04 Mar 2026 06:06:00 +0100", "Wed,  04 Mar 2026", "Content-TYPE", "x-mailer", strings.Repeat("Long-", 200),
	}
	for _, s := range texts {
		if got, want := oneSpace(s), strings.Join(strings.Fields(s), " "); got != want {
			t.Errorf("oneSpace(%q) = %q, want %q", s, got, want)
		}
		h := headers([]parse.Header{{Name: "Before", Value: "1"}, {Name: s, Value: "2"}, {Name: s, Value: "3"}, {Name: "After", Value: "4"}})
		if diff := cmp.Diff(map[string]string{"before": "1", strings.ToLower(s): "2\n3", "after": "4"}, h); diff != "" {
			t.Errorf("headers of %q: %s", s, diff)
		}
	}
}
