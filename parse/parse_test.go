package parse

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestLimits(t *testing.T) {
	text := "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + strings.Repeat("ä", 100) + "\n--b\nContent-Type: text/html\n\n" + strings.Repeat("h", 100) + "\n--b--\n"
	m := Parse([]byte(text), Limits{TextBytes: 151})
	if len(m.Text) != 150 || len(m.HTML) > 1 || !hasDefect(m, "text_too_long") {
		t.Errorf("text of %d, HTML of %d bytes, %v", len(m.Text), len(m.HTML), m.Defects)
	}
	html := []byte("Content-Type: text/html\n\n<p>x</p>\n")
	if m := Parse(html, Limits{}); m.Text != "x" {
		t.Errorf("text %q", m.Text)
	}
	if m := Parse(html, Limits{SkipHTMLText: true}); m.Text != "" || m.HTML == "" {
		t.Errorf("text %q", m.Text)
	}
	reply := []byte("Subject: Re: x\n\nnew\n-----Original Message-----\nold\n")
	if m := Parse(reply, Limits{}); m.Reply == nil || m.Reply.Text != "new" {
		t.Errorf("reply %+v", m.Reply)
	}
	if m := Parse(reply, Limits{SkipReply: true}); m.Reply != nil {
		t.Errorf("reply %+v", m.Reply)
	}
}

// TestRawIsNotHeld holds that nothing of a Message but its attachments refers
// to the raw mail: what is read stays when the raw bytes go.
func TestRawIsNotHeld(t *testing.T) {
	raw := []byte("From: Ada <ada@example.com>\nSubject: subject\nMessage-ID: <id@example.com>\nX-A: header\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\ntext\n--b\nContent-Type: a/b; name=name\n\nfile\n--b--\n")
	want := Parse(bytes.Clone(raw), Limits{})
	m := Parse(raw, Limits{})
	for i := range raw {
		raw[i] = 'X'
	}
	checkText(t, "subject", m.Subject)
	if m.Subject != want.Subject || m.From != want.From || m.MessageID != want.MessageID || m.Text != want.Text || m.Headers[3] != want.Headers[3] || m.Attachments[0].Name != want.Attachments[0].Name {
		t.Errorf("%+v changed with the raw mail", m)
	}
}

// TestAttachmentsAreReadAgain holds that a file can be opened twice and at the
// same time.
func TestAttachmentsAreReadAgain(t *testing.T) {
	m := Parse([]byte("Content-Type: a/b\nContent-Transfer-Encoding: base64\n\naGVsbG8=\n"), Limits{})
	a, b := m.Attachments[0].Open(), m.Attachments[0].Open()
	one := make([]byte, 1)
	_, _ = a.Read(one)
	gotB, _ := io.ReadAll(b)
	gotA, _ := io.ReadAll(a)
	if string(one)+string(gotA) != "hello" || string(gotB) != "hello" {
		t.Errorf("%q, %q", gotA, gotB)
	}
}

// TestMisreadIsADefect holds that the walker's reading stands when parsemail
// reads something else.
func TestMisreadIsADefect(t *testing.T) {
	m := Message{Subject: "two\r\nX-Injected: lines", From: Address{Email: UnknownSender}, Text: "text", HTML: "html", Attachments: []Attachment{{ID: "1"}}}
	got, ds := m, &defects{}
	secondReading(&got, ds)
	if !cmp.Equal(m, got, cmpopts.IgnoreUnexported(Attachment{})) {
		t.Errorf("%+v", got)
	}
	if len(ds.list) != 1 || ds.list[0].Code != "normalised_mail_misread" {
		t.Errorf("defects %v", ds.list)
	}
}

// TestDialectInDialect holds that a text which is itself a normalised mail
// stays a text, be it all there is or beside another.
func TestDialectInDialect(t *testing.T) {
	dialect, err := io.ReadAll(writeDialect(&Message{Subject: "s", From: Address{Email: "a@example.com"}, Text: "x"}))
	if err != nil {
		t.Fatal(err)
	}
	mail := string(dialect)
	for _, m := range []*Message{{Text: mail}, {HTML: mail}, {Text: mail, HTML: mail}, {Text: "\n\n" + mail}} {
		m.From.Email = UnknownSender
		ds := &defects{}
		if secondReading(m, ds); len(ds.list) > 0 {
			t.Errorf("text %q, html %q, defects %v", m.Text, m.HTML, ds.list)
		}
	}
}

func TestFileNames(t *testing.T) {
	for in, want := range map[string]string{
		"report.pdf": "report.pdf", "../../etc/passwd": "etc_passwd", `C:\dir\a.txt`: "C:_dir_a.txt", "..": "", "/": "", "": "",
		"a\x00b.txt": "ab.txt", "abc\u202etxt.exe": "abctxt.exe", "\tx": "x", ".profile": ".profile",
	} {
		if got := safeName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
