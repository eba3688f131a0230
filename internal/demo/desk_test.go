package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imapsync/event"
)

// arrival makes the event of a mail; change may add to it.
func arrival(id string, change func(*event.Event)) *event.Event {
	ev := &event.Event{ID: "event of " + id, Key: "key of " + id, Payload: event.Payload{Tenant: "t", ProviderID: "p", EmailData: event.EmailData{
		ID: id, Subject: "about " + id, From: event.Address{Email: "a@b.example"}, Body: event.Body{Text: id}, AutoSubmitted: "no",
	}}}
	if change != nil {
		change(ev)
	}
	return ev
}

func refers(inReplyTo string, references ...string) func(*event.Event) {
	return func(ev *event.Event) {
		ev.Payload.EmailData.InReplyTo, ev.Payload.EmailData.References = inReplyTo, references
	}
}

// outline writes the tickets of a desk: ids, two spaces for each level.
func outline(d *desk) string {
	var b strings.Builder
	for _, t := range d.tickets {
		fmt.Fprintf(&b, "#%d\n", t.number)
		t.tree(func(e *entry, depth int) {
			b.WriteString(strings.Repeat("  ", depth+1) + e.id)
			for _, l := range e.labels {
				b.WriteString(" " + l)
			}
			b.WriteString("\n")
		})
	}
	return b.String()
}

func TestDeskThreads(t *testing.T) {
	for _, tc := range []struct {
		name   string
		events []*event.Event
		want   string
	}{
		{"strangers", []*event.Event{arrival("a", nil), arrival("b", nil)}, "#1\n  a\n#2\n  b\n"},
		{"a thread", []*event.Event{
			arrival("a", nil), arrival("b", refers("a", "a")), arrival("c", refers("b", "a", "b")), arrival("d", refers("a", "a")),
		}, "#1\n  a\n    b\n      c\n    d\n"},
		{"In-Reply-To alone", []*event.Event{arrival("a", nil), arrival("b", refers("a"))}, "#1\n  a\n    b\n"},
		{"References alone", []*event.Event{arrival("a", nil), arrival("b", refers("", "a"))}, "#1\n  a\n    b\n"},
		{"by way of our own answer, which no mailbox has", []*event.Event{
			arrival("a", nil), arrival("b", refers("ours", "a", "ours")), arrival("c", refers("ours")),
		}, "#1\n  a\n    b\n  c\n"},
		{"the answer comes first", []*event.Event{arrival("b", refers("a", "a")), arrival("a", nil)}, "#1\n  a\n    b\n"},
		{"two answers to what never comes", []*event.Event{arrival("b", refers("a")), arrival("c", refers("a"))}, "#1\n  b\n  c\n"},
		{"mails that claim to answer each other", []*event.Event{arrival("a", refers("b")), arrival("b", refers("a"))}, "#1\n  b\n    a\n"},
		{"a mail that answers itself", []*event.Event{arrival("a", refers("a", "a"))}, "#1\n  a\n"},
		{"one Message-ID for two mails", []*event.Event{
			arrival("a", nil), arrival("a", func(ev *event.Event) {
				ev.ID, ev.Key = "another event", "another key"
				ev.Payload.EmailData.Defects = []event.Defect{{Code: event.DefectMessageIDReused}}
			}),
		}, "#1\n  a\n#2\n  a\n"},
		{"another tenant's Message-ID", []*event.Event{
			arrival("a", nil), arrival("b", func(ev *event.Event) { refers("a")(ev); ev.Payload.Tenant = "u" }),
		}, "#1\n  a\n#2\n  b\n"},
		{"labels", []*event.Event{
			arrival("a", nil),
			arrival("b", func(ev *event.Event) {
				ev.Payload.EmailData.IsBounce, ev.Payload.EmailData.AutoSubmitted = true, "auto-replied"
				ev.Payload.EmailData.Bounce = &event.Bounce{OriginalMessageID: "a"}
			}),
			arrival("c", func(ev *event.Event) { refers("a")(ev); ev.Payload.EmailData.AutoSubmitted = "auto-replied" }),
			arrival("d", func(ev *event.Event) { ev.Payload.EmailData.IsList = true }),
		}, "#1\n  a\n    b bounce auto\n    c auto\n#2\n  d list\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newDesk()
			for _, ev := range tc.events {
				d.file(ev)
			}
			if diff := cmp.Diff(tc.want, outline(d)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A consumer may get an event twice, and one mail may reach two mailboxes.
func TestDeskFilesEachMailOnce(t *testing.T) {
	d := newDesk()
	d.file(arrival("a", nil))
	d.file(arrival("a", nil))
	second := func(ev *event.Event) { ev.ID, ev.Payload.ProviderID = "event at the other", "q" }
	d.file(arrival("a", second))
	d.file(arrival("a", second))
	if diff := cmp.Diff("#1\n  a\n", outline(d)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"p", "q"}, d.tickets[0].entries[0].places); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
}

func TestCell(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", "      "}, {"lamp", "lamp  "}, {"lamps!", "lamps!"}, {"lamp shade", "lamp …"},
		{"照明の", "照明の"}, {"照明のお", "照明… "}, {"a\nb\x1b[31m", "ab[31m"},
	} {
		if got := cell(tc.in, 6); got != tc.want {
			t.Errorf("cell(%q, 6) = %q, want %q", tc.in, got, tc.want)
		}
	}
}
