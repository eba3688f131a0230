package main

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"

	"imapsync/event"
	"imapsync/internal/devenv"
)

// spot is where a mail lies. A server gives UIDs in the order of arrival.
type spot struct {
	mailbox string
	folder  string
	uid     uint32
}

// post delivers mail and remembers what lies where.
type post struct {
	dovecot *devenv.Dovecot
	last    map[spot]uint32 // highest UID of each folder, under a spot without one
	mails   map[spot]mail   // whose event is to come
}

func newPost(d *devenv.Dovecot) *post {
	return &post{dovecot: d, last: map[spot]uint32{}, mails: map[spot]mail{}}
}

// deliver puts mails into their folders, each to have an event of its own.
func (p *post) deliver(mails ...mail) error {
	for _, m := range mails {
		at, err := p.put(m)
		if err != nil {
			return err
		}
		p.mails[at] = m
	}
	return nil
}

// put puts one mail into its folder.
func (p *post) put(m mail) (spot, error) {
	at := spot{mailbox: m.mailbox, folder: m.folder}
	p.last[at]++
	uid := p.last[at]
	err := p.dovecot.Deliver(m.mailbox, m.folder, m.raw)
	return spot{m.mailbox, m.folder, uid}, err
}

// spotOf tells where the mail of an event lies. names maps provider ids to
// mailboxes.
func spotOf(ev *event.Event, names map[string]string) spot {
	at := ev.Payload.EmailData.IMAP
	return spot{names[ev.Payload.ProviderID], at.Folder, at.UID}
}

// stream reads all events there are.
func stream(ctx context.Context, nc *nats.Conn) ([]*event.Event, error) {
	sub, err := event.Subscribe(ctx, nc, event.SubscribeOptions{Idle: 5 * time.Second})
	if err != nil {
		return nil, err
	}
	var events []*event.Event
	for rec, err := range sub.Events(ctx) {
		if err != nil {
			return nil, err
		}
		events = append(events, rec.Event)
		if rec.Pending == 0 {
			break
		}
	}
	return events, ctx.Err()
}
