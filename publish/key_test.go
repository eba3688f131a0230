package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const keyHeader = "Message-ID: <1@example.org>\nDate: Wed, 04 Mar 2026 06:06:00 +0100\nFrom: Ada <ada@example.org>\n" +
	"To: desk@example.com\nSubject: Scan\n"

func eventKey(raw string) string { return Identify([]byte(raw)).Key }

// with puts another line in the place of one field.
func with(header, name, line string) string {
	var out strings.Builder
	for l := range strings.Lines(header) {
		if strings.HasPrefix(l, name+":") {
			l = line
		}
		out.WriteString(l)
	}
	return out.String()
}

// parts is the body of a multipart of boundary b.
func parts(list ...string) string { return "--b\n" + strings.Join(list, "\n--b\n") + "\n--b--\n" }

// sameMails are mails in several forms: what a second delivery, or a server that
// renders a mail anew, may change.
func sameMails() map[string][]string {
	multi := func(boundary string) string {
		return keyHeader + "Content-Type: multipart/mixed; boundary=" + boundary + "\n\n"
	}
	two := parts("Content-Type: text/plain\n\none", "Content-Type: image/png\nContent-Transfer-Encoding: base64\n\nAAECAw==")
	text := func(head, body string) string { return keyHeader + head + "\n" + body }
	return map[string][]string{
		"trace headers": {text("", "x"), "Received: by a\nX-Spam: no\n" + text("", "x"), "From ada Wed Mar  4\n" + text("X-Late: 1\n", "x")},
		"folding":       {text("", "x"), with(keyHeader, "Date", "Date:\n\tWed, 04 Mar\n 2026 06:06:00   +0100\n") + "\nx"},
		"line ends":     {text("", "x\ny\n"), strings.ReplaceAll(text("", "x\ny\n"), "\n", "\r\n"), strings.ReplaceAll(text("", "x\ny\n"), "\n", "\r\r\n")},
		"ends of lines": {text("", "x\n\ny"), text("", "x \t\n  \t\ny"), text("", "x\n\ny\n\n\n"), text("", "x\n\ny \r\n\r\n \r\n")},
		"host of the id": {text("", "x"), with(keyHeader, "Message-ID", "message-id:\n <1@EXAMPLE.org> \n") + "\nx",
			with(keyHeader, "Message-ID", "MESSAGE-ID : 1@example.org\n") + "\nx"},
		"other recipients": {text("", "x"), with(keyHeader, "To", "To: x@example.com\nCc: y@example.com\n") + "\nx"},
		"words of the subject": {with(keyHeader, "Subject", "Subject: Größe 42\n") + "\nx",
			with(keyHeader, "Subject", "Subject: =?utf-8?Q?Gr=C3=B6=C3=9Fe?= 42\n") + "\nx",
			with(keyHeader, "Subject", "Subject: =?UTF-8?b?R3LDtsOf?=\r\n =?utf8?q?e_42?=\n") + "\nx",
			with(keyHeader, "Subject", "Subject: =?unknown?B?R3LDtg?==?x?Q?=c3=9fe 42?=\n") + "\nx"},
		"charset label":      {text("Content-Type: text/plain; charset=utf-8\n", "x"), text("Content-Type: TEXT/Plain;charset=latin1\n", "x"), text("", "x"), text("Content-Type: text\n", "x"), text("Content-Type: garbage=1\n", "x"), text("Content-Type: text/plain (c)\nContent-Type: text/html\n", "x")},
		"boundary":           {multi("b") + two, multi(`"b "`) + two, strings.ReplaceAll(multi("c")+two, "--b", "--c"), multi("b") + strings.ReplaceAll(two, "--b\n", "--b \t\n")},
		"kind of multipart":  {multi("b") + two, with(multi("b"), "Content-Type", "Content-Type: multipart/alternative; x=y; Boundary=\"b\"\n") + two},
		"around the parts":   {multi("b") + two, multi("b") + "This is MIME.\n" + two + "\nand that was it\n"},
		"no closing line":    {multi("b") + two, multi("b") + strings.TrimSuffix(two, "--b--\n")},
		"closed and gone on": {multi("b") + two, multi("b") + strings.Replace(two, "\n--b\nContent-Type: image", "\n--b--\nmore\n--b\nContent-Type: image", 1)},
		"nesting":            {multi("b") + two, multi("a") + "--a\nContent-Type: multipart/related; boundary=b\n\n" + two + "--a--\n"},
		"transfer encoding of text": {text("", "Größe 42=\nend\n"), text("Content-Transfer-Encoding: 8bit\n", "Größe 42=\nend"),
			text("Content-Transfer-Encoding: Quoted-Printable\n", "Gr=C3=B6=c3=9Fe=20=\n42=3D  \nend=20\n"),
			text("Content-Transfer-Encoding: base64\n", "R3LDtsOfZSA0Mj0NCmVuZA0K\n"), text("Content-Transfer-Encoding: \"base64\"\n", "R3LDts\nOfZSA0M!!j0NCmVuZA\n")},
		"transfer encoding of a file": {text("Content-Type: application/json\n", "{\n}"), text("Content-Type: application/json\nContent-Transfer-Encoding: base64\n", "ewp9"),
			text("Content-Type: application/json\nContent-Transfer-Encoding: quoted-printable\n", "=7B\n}"), text("Content-Type: application/json; x=y\n", "{\r\n}")},
		"transfer encoding of a mail": {text("Content-Type: message/rfc822\n", "Subject: s\n\nx"), text("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n", "U3ViamVjdDogcwoKeA=="),
			text("Content-Type: message/rfc822; x=y\nContent-Transfer-Encoding: quoted-printable\n", "X-Y: Z\nSubject: =73\n\nx=\n"), text("Content-Type: message/global\n", "subject:s\nReceived: by\n\nx")},
		"length of base64 lines": {text("Content-Type: a/b\nContent-Transfer-Encoding: base64\n", "AAECAwQF"), text("Content-Type: a/b\nContent-Transfer-Encoding: base64\n", "AAE\nCAw\r\nQF"),
			text("Content-Type: a/b\nContent-Transfer-Encoding: base64\n", "AA==AQ==AgMEBQ")},
		"default of a digest": {with(multi("b"), "Content-Type", "Content-Type: multipart/digest; boundary=b\n") + parts("\nSubject: s\n\nx"),
			multi("b") + parts("Content-Type: message/rfc822\n\nSubject: s\n\nx")},
	}
}

func TestSameMail(t *testing.T) {
	for name, list := range sameMails() {
		for i, raw := range list[1:] {
			if eventKey(list[0]) != eventKey(raw) {
				t.Errorf("%s: the mail number %d has another key:\n%s", name, i+1, raw)
			}
		}
	}
}

// otherMails are mails that differ from each other in something a person can see.
func otherMails() map[string][]string {
	multi := keyHeader + "Content-Type: multipart/mixed; boundary=b\n\n"
	file := func(body string) string { return "Content-Type: a/b\nContent-Transfer-Encoding: base64\n\n" + body }
	noID := with(keyHeader, "Message-ID", "")
	return map[string][]string{
		"headers": {keyHeader + "\nx", with(keyHeader, "Message-ID", "Message-ID: <2@example.org>\n") + "\nx", with(keyHeader, "Message-ID", "Message-ID: <1@example.org> x\n") + "\nx",
			with(keyHeader, "Date", "Date: Wed, 04 Mar 2026 06:06:01 +0100\n") + "\nx", with(keyHeader, "Date", "") + "\nx",
			with(keyHeader, "From", "From: Ada <bob@example.org>\n") + "\nx", with(keyHeader, "From", "From: Eve <ada@example.org>\n") + "\nx",
			with(keyHeader, "Subject", "Subject: Scan 2\n") + "\nx", with(keyHeader, "Subject", "Subject: Sc an\n") + "\nx", noID + "\nx",
			with(noID, "To", "To: disk@example.com\n") + "\nx", with(noID, "To", "To: desk@example.com\nCc: a@b\n") + "\nx", with(noID, "To", "Cc: desk@example.com\n") + "\nx"},
		"text":                 {keyHeader + "\nx", keyHeader + "\ny", keyHeader + "\nx x", keyHeader + "\nx  x", keyHeader + "\nx\nx", keyHeader + "\nx\n\nx", keyHeader + "\n x", keyHeader + "\n", keyHeader + "\nx\x00"},
		"type":                 {keyHeader + "\nx", keyHeader + "Content-Type: text/html\n\nx", keyHeader + "Content-Type: a/b\n\nx", keyHeader + "Content-Type: a/c\n\nx"},
		"parts":                {multi + parts("\nx", "\ny"), multi + parts("\ny", "\nx"), multi + parts("\nx\ny"), multi + parts("\nx"), multi + parts("\nx", "\ny", "\n"), multi + parts("\nx", "Content-Type: text/html\n\ny")},
		"a file":               {multi + parts("\nx", file("AAAA")), multi + parts("\nx", file("AAAB")), multi + parts("\nx", file("AAAA"), file("AAAA")), multi + parts("\nx"), multi + parts("\nx", file("AA0KAA==")), multi + parts("\nx", file("AAoA"))},
		"a mail":               {multi + parts("Content-Type: message/rfc822\n\nSubject: s\n\nx"), multi + parts("Content-Type: message/rfc822\n\nSubject: t\n\nx"), multi + parts("Content-Type: message/rfc822\n\nSubject: s\nTo: a@b\n\nx"), multi + parts("Content-Type: message/rfc822\n\nSubject: s\n\ny")},
		"no boundary line":     {multi + "x", multi + "y", multi + "x\n--b--", multi + "--bb\nx", multi + "--b--\nx"},
		"no boundary":          {keyHeader + "Content-Type: multipart/mixed\n\n--b\n\nx", keyHeader + "Content-Type: multipart/mixed\n\n--c\n\nx"},
		"no blank line":        {keyHeader + "Hello there\nNote: x", keyHeader + "Hello there\nNote: y", keyHeader + "Hello", keyHeader + "Hello\n\nx", keyHeader + "Hello\n\ny", keyHeader + " \nName: x\n", keyHeader + " \nName: y\n"},
		"no blank line, parts": {keyHeader + "Content-Type: multipart/mixed; boundary=b\nNote\n" + parts("\nx"), keyHeader + "Content-Type: multipart/mixed; boundary=b\nNote\n" + parts("\ny")},
		"part without blank":   {multi + parts("x"), multi + parts("y"), multi + parts("Note: x"), multi + parts("Note: y"), multi + parts("Note: x\nz\n\nv"), multi + parts("Note: y\nz\n\nv")},
		"uuencode":             {keyHeader + "Content-Transfer-Encoding: x-uuencode\n\nbegin 644 a\n#86%A\n`\nend\n", keyHeader + "Content-Transfer-Encoding: x-uuencode\n\nbegin 644 b\n#86%A\n`\nend\n"},
		"lines that end in CR": {"X-A: b\rSubject: s\r\rx", "X-A: b\rSubject: s\r\ry", "X-A: b\rSubject: s\r\rx\n\nz"},
		"nothing":              {"", "\n\nx", "x", "\x00", "Subject: y\n\nx"},
	}
}

func TestOtherMail(t *testing.T) {
	for name, list := range otherMails() {
		seen := map[string]string{}
		for _, raw := range list {
			key := eventKey(raw)
			if other, ok := seen[key]; ok {
				t.Errorf("%s: one key of two mails:\n%s\n----\n%s", name, other, raw)
			}
			seen[key] = raw
		}
	}
}

// TestKeyLayout computes the documented layout by hand.
func TestKeyLayout(t *testing.T) {
	sum := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])
	}
	field := func(s string) string { return fmt.Sprintf("%d:%s", len(s), s) }
	const rest = "Date: Wed, 04 Mar 2026\n 06:06:00 +0100\nFrom: Ada  <ada@Example.org>\nSubject: =?utf-8?q?Gr=C3=B6=C3=9Fe?=\nTo: a@b, \n c@d\nCc: e@f\nCc: g@h\n" +
		"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx \n\n--b\nContent-Type: image/PNG; name=a\nContent-Transfer-Encoding: base64\n\nAAEC\n--b--\n"
	content := sum("text/plain\n1\n" + sum("x") + "\n" + "image/png\n3\n" + sum("\x00\x01\x02") + "\n")
	said := field("Wed, 04 Mar 2026 06:06:00 +0100") + field("Ada <ada@Example.org>") + field("Größe")
	all := sum(said + field("a@b, c@d") + field("e@f\ng@h"))
	for _, tt := range []struct{ header, id, said string }{{"", "", all}, {"Message-ID: <A|b@Example.ORG>\n", "A|b@example.org", sum(said)}} {
		got := Identify([]byte(tt.header + rest))
		want := Identity{
			MessageID: tt.id, Dated: true, HeaderPrint: tt.said,
			Key: sum("v2|" + tt.id + "|" + tt.said + "|" + content)[:32], HeaderKey: sum("v2h|" + tt.id + "|" + all)[:32],
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
