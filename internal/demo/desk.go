package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"imapsync/event"
)

// desk is a small ticket system that knows nothing but the events: it opens a
// ticket for each conversation and files every mail of it there.
type desk struct {
	tickets []*ticket
	seen    map[string]bool    // ids of events: a consumer may get one twice
	mails   map[string]*ticket // by identity: one mail may reach two mailboxes
	threads map[string]*ticket // by Message-ID, those only referred to included
}

// ticket is one conversation.
type ticket struct {
	number  int
	tenant  string
	entries []*entry // in the order they came
}

// entry is one mail of a ticket.
type entry struct {
	id      string // Message-ID
	key     string
	parents []string // Message-IDs it answers, the nearest first
	from    string
	subject string
	text    string   // what is new in it
	labels  []string // see labels
	places  []string // provider ids of the mailboxes that got it
}

func newDesk() *desk {
	return &desk{seen: map[string]bool{}, mails: map[string]*ticket{}, threads: map[string]*ticket{}}
}

// work files all events that are on the stream and that it has not seen, and
// returns those. The broker remembers how far it has read.
func (d *desk) work(ctx context.Context, nc *nats.Conn) ([]*event.Event, error) {
	sub, err := event.Subscribe(ctx, nc, event.SubscribeOptions{Durable: "desk", Idle: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	var events []*event.Event
	for rec, err := range sub.Events(ctx) {
		if err != nil {
			return events, err
		}
		d.file(rec.Event)
		if err := rec.Ack(ctx); err != nil {
			return events, err
		}
		events = append(events, rec.Event)
		if rec.Pending == 0 {
			break
		}
	}
	return events, ctx.Err()
}

// file puts a mail into the ticket of its conversation, or opens one for it.
func (d *desk) file(ev *event.Event) {
	mail := &ev.Payload.EmailData
	tenant := ev.Payload.Tenant
	if t := d.mails[tenant+" "+ev.Key]; t != nil {
		if !d.seen[ev.ID] { // the same mail, in another mailbox
			t.entry(ev.Key).places = append(t.entry(ev.Key).places, ev.Payload.ProviderID)
		}
		d.seen[ev.ID] = true
		return
	}
	parents := answered(mail)
	var t *ticket
	for _, id := range parents {
		if t = d.threads[tenant+" "+id]; t != nil {
			break
		}
	}
	if t == nil && !reusedID(mail) {
		t = d.threads[tenant+" "+mail.ID] // an answer to it came first
	}
	if t == nil {
		t = &ticket{number: len(d.tickets) + 1, tenant: tenant}
		d.tickets = append(d.tickets, t)
	}
	t.entries = append(t.entries, &entry{
		id: mail.ID, key: ev.Key, parents: parents, from: mail.From.Email, subject: mail.Subject,
		text: newText(mail), labels: labels(mail), places: []string{ev.Payload.ProviderID},
	})
	d.seen[ev.ID], d.mails[tenant+" "+ev.Key] = true, t
	for _, id := range append(parents, mail.ID) {
		if d.threads[tenant+" "+id] == nil {
			d.threads[tenant+" "+id] = t
		}
	}
}

// answered lists the mails that a mail refers to, the nearest first. A bounce
// refers to the mail that came back.
func answered(mail *event.EmailData) []string {
	var ids []string
	add := func(id string) {
		if id != "" && id != mail.ID && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if mail.Bounce != nil {
		add(mail.Bounce.OriginalMessageID)
	}
	add(mail.InReplyTo)
	for _, id := range slices.Backward(mail.References) {
		add(id)
	}
	return ids
}

// reusedID reports whether the Message-ID says nothing, since its sender gives
// the same to different mails.
func reusedID(mail *event.EmailData) bool {
	return slices.ContainsFunc(mail.Defects, func(d event.Defect) bool { return d.Code == event.DefectMessageIDReused })
}

// labels are what a ticket system wants to know before a person reads the mail.
func labels(mail *event.EmailData) []string {
	var list []string
	for _, l := range []struct {
		is   bool
		name string
	}{
		{mail.IsBounce, "bounce"},
		{mail.AutoSubmitted != "no", "auto"},
		{mail.IsList, "list"},
		{mail.Calendar != nil, "invitation"},
		{mail.Importance == "high", "urgent"},
		{strings.HasSuffix(mail.Security, "-signed"), "signed"},
	} {
		if l.is {
			list = append(list, l.name)
		}
	}
	return list
}

// newText is the first line of what the sender wrote anew.
func newText(mail *event.EmailData) string {
	text := mail.Body.Text
	if mail.Reply != nil {
		text = mail.Reply.Text
	}
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}

func (t *ticket) entry(key string) *entry {
	for _, e := range t.entries {
		if e.key == key {
			return e
		}
	}
	return nil
}

// tree calls visit for the entries as they answer each other, each with its
// depth; those that answer nothing in the ticket have depth 0.
func (t *ticket) tree(visit func(e *entry, depth int)) {
	children := map[*entry][]*entry{}
	parent := map[*entry]*entry{}
	for _, e := range t.entries {
		p := t.parent(e)
		for up := p; up != nil; up = parent[up] {
			if up == e { // mails that claim to answer each other
				p = nil
				break
			}
		}
		parent[e] = p
		children[p] = append(children[p], e)
	}
	var walk func(e *entry, depth int)
	walk = func(e *entry, depth int) {
		for _, c := range children[e] {
			visit(c, depth)
			walk(c, depth+1)
		}
	}
	walk(nil, 0)
}

// parent is the nearest mail of the ticket that e answers.
func (t *ticket) parent(e *entry) *entry {
	for _, id := range e.parents {
		for _, other := range t.entries {
			if other != e && other.id == id {
				return other
			}
		}
	}
	return nil
}

// show prints the tickets as trees.
func (d *desk) show(out *printer) {
	for _, t := range d.tickets {
		first := true
		t.tree(func(e *entry, depth int) {
			if first {
				out.line("%s  %s  %s%s", out.bold(fmt.Sprintf("#%-2d", t.number)), cell(orDash(e.subject), 44), cell(e.from, 32), out.labels(e))
				first = false
				return
			}
			indent := strings.Repeat("   ", depth) + "└─ "
			out.line("     %s  %s%s", cell(indent+orDash(e.text), 44), cell(e.from, 32), out.labels(e))
		})
	}
}

func orDash(s string) string {
	if s == "" {
		return "—"
	}
	return s
}

var errNoTicket = errors.New("no ticket has it")

// ticketOf returns the ticket that a Message-ID is filed under.
func (d *desk) ticketOf(messageID string) (*ticket, error) {
	for _, t := range d.tickets {
		for _, e := range t.entries {
			if e.id == messageID {
				return t, nil
			}
		}
	}
	return nil, fmt.Errorf("%s: %w", messageID, errNoTicket)
}
