package main

import (
	"bytes"
	"io/fs"
	"testing"

	"imapsync/event"
	"imapsync/parse"
	"imapsync/publish"
)

// Every mail of the demo says what it is meant to, as the event says it,
// without any server.
func TestMailsSayWhatTheyAreMeantTo(t *testing.T) {
	if n := len(sixty()); n != 60 {
		t.Errorf("%d mails, want 60", n)
	}
	if n := len(threeMore()); n != 3 {
		t.Errorf("%d more, want 3", n)
	}
	largest := 0
	for _, m := range append(sixty(), threeMore()...) {
		raw := bytes.ReplaceAll(bytes.ReplaceAll(m.raw, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
		largest = max(largest, len(raw))
		d := publish.Delivery{Raw: raw}
		if m.want.reused {
			d.SameMessageIDAs = event.ID("tenant", "provider", "key")
		}
		ev := publish.New(parse.Parse(raw, parse.Limits{}), d, publish.Limits{})
		for _, problem := range m.want.problems(&ev.Payload.EmailData) {
			// Times are the server's to say, and this delivery names none.
			t.Errorf("%s/%s %q: %s", m.mailbox, m.folder, m.want.subject, problem)
		}
	}
	if largest < 12_000_000 {
		t.Errorf("the largest mail has %d bytes, want 12 MB", largest)
	}
}

// No file lies about unused.
func TestEveryWrittenMailIsSent(t *testing.T) {
	sent := map[string]bool{}
	for _, m := range append(sixty(), threeMore()...) {
		sent[string(m.raw)] = true
	}
	names, err := fs.Glob(embedded, "mails/*.eml")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		raw, err := embedded.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !sent[string(raw)] {
			t.Errorf("%s is in no mailbox", name)
		}
	}
}
