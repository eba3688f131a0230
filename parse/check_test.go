package parse

import (
	"encoding/json"
	"io"
	"net/mail"
	"strings"
	"testing"
	"unicode/utf8"
)

// checkMessage holds what is promised of every Message, whatever the mail.
func checkMessage(t *testing.T, raw []byte, m *Message, lim Limits) {
	t.Helper()
	lim = lim.withDefaults()
	line := func(what, s string) {
		t.Helper()
		checkText(t, what, s)
		if i := strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }); i >= 0 {
			t.Errorf("%s has a control character: %.100q", what, s)
		}
	}
	id := func(what, s string) {
		t.Helper()
		line(what, s)
		if strings.ContainsAny(s, " <>") {
			t.Errorf("%s is no bare msg-id: %.100q", what, s)
		}
	}
	id("MessageID", m.MessageID)
	id("InReplyTo", m.InReplyTo)
	id("ThreadID", m.ThreadID)
	if len(m.References) > maxReferences {
		t.Errorf("%d references", len(m.References))
	}
	for _, r := range m.References {
		id("References", r)
	}
	line("Subject", m.Subject)
	line("DateHeader", m.DateHeader)
	line("FromLiteral", m.FromLiteral)
	line("Recipient", m.Recipient)
	for what, list := range map[string][]Address{"From": {m.From}, "To": m.To, "Cc": m.Cc, "Bcc": m.Bcc, "ReplyTo": m.ReplyTo} {
		for _, a := range list {
			line(what, a.Name)
			line(what, a.Email)
			if _, err := mail.ParseAddress("<" + a.Email + ">"); err != nil {
				t.Errorf("%s: %q is no address: %v", what, a.Email, err)
			}
		}
	}
	for _, h := range m.Headers {
		line("header name", h.Name)
		line("header "+h.Name, h.Value)
	}
	checkText(t, "Text", m.Text)
	checkText(t, "HTML", m.HTML)
	if len(m.Text) > lim.TextBytes || len(m.HTML) > lim.TextBytes {
		t.Errorf("text of %d, HTML of %d bytes, limit %d", len(m.Text), len(m.HTML), lim.TextBytes)
	}
	if y := m.Date.Year(); !m.Date.IsZero() && (y < 1 || y > 9999) {
		t.Errorf("date %v", m.Date)
	}
	seen := map[string]bool{}
	for _, a := range m.Attachments {
		line("attachment name", a.Name)
		line("attachment type", a.ContentType)
		id("attachment content id", a.ContentID)
		if a.Name == "" || seen[a.ID] {
			t.Errorf("attachment %q has no name or no id of its own: %q", a.ID, a.Name)
		}
		seen[a.ID] = true
		n, err := io.Copy(io.Discard, a.Open())
		if err != nil || n == 0 || n > int64(2*len(raw)+4) {
			t.Errorf("attachment %s of a mail of %d bytes: read %d bytes, %v", a.ID, len(raw), n, err)
		}
	}
	if m.Reply != nil {
		checkText(t, "Reply", m.Reply.Text)
		if m.Reply.Text == "" || m.Reply.Strategy == "" || m.Reply.Confidence == "" {
			t.Errorf("reply %+v", m.Reply)
		}
	}
	if m.Bounce != nil {
		line("bounce", m.Bounce.FinalRecipient+m.Bounce.Action+m.Bounce.Status+m.Bounce.Diagnostic)
		id("bounce", m.Bounce.OriginalMessageID)
	}
	if m.Calendar != nil {
		line("calendar", m.Calendar.Method+m.Calendar.UID)
	}
	for _, d := range m.Defects {
		line("defect", d.Code+d.Detail)
		if d.Code == "normalised_mail_misread" {
			t.Errorf("parsemail read the normalised mail otherwise: %s", d.Detail)
		}
	}
}

func checkText(t *testing.T, what, s string) {
	t.Helper()
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		t.Errorf("%s is not clean UTF-8: %.100q", what, s)
	}
}

// checkSame holds that the same bytes are read the same way twice, so that
// nothing random of the normalised mail shows.
func checkSame(t *testing.T, raw []byte, m *Message, lim Limits) {
	t.Helper()
	a, err1 := json.Marshal(m)
	b, err2 := json.Marshal(Parse(raw, lim))
	if err1 != nil || err2 != nil || string(a) != string(b) {
		t.Errorf("two readings differ (%v, %v)", err1, err2)
	}
}
