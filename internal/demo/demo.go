package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"imapsync/event"
	"imapsync/internal/contract"
	"imapsync/publish"
)

// result is what the demo counted.
type result struct {
	firstRun   int // events published by it
	secondRun  int
	duplicates int // found by the second run
	thirdRun   int
	onStream   int // events in the end
	tickets    int // of the desk in the end
	promises   int // that were kept
}

// demo shows the whole way of a mail, from the mailbox to a ticket.
func demo(ctx context.Context, out *printer) (res result, err error) {
	began := time.Now()
	out.line("%s", out.bold("imapsync: from mailbox to event, each mail once"))
	out.step("Servers of its own, on this machine alone")
	p, err := open(ctx, out)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, p.close()) }()

	out.step("Sixty mails arrive in two folders of two mailboxes")
	mailroom := newPost(p.dovecot)
	if err := mailroom.deliver(sixty()...); err != nil {
		return res, err
	}
	for at, n := range mailroom.last {
		out.line("   %s %d mails", cell(at.mailbox+"/"+at.folder, 24), n)
	}

	out.step("Once: a key, the schema, the mailboxes")
	for _, v := range p.environment() {
		out.line("   $ export %s=%s", v[0], v[1])
	}
	if err := p.setUp(ctx, out); err != nil {
		return res, err
	}

	nc, err := publish.Connect(ctx, publish.ConnectOptions{URL: p.nats.URL(), Name: "demo"})
	if err != nil {
		return res, err
	}
	defer nc.Close()
	s := &story{place: p, out: out, post: mailroom, nc: nc, desk: newDesk(), promises: &promises{out: out}, names: map[string]string{}}
	if err := s.tell(ctx); err != nil {
		return s.result, interrupted(ctx, err)
	}
	s.result.promises = s.promises.kept
	out.line("\n%s", out.dim(fmt.Sprintf("%s in all. Next: `make dev` leaves these servers running for you to try; the README has the rest.", seconds(time.Since(began)))))
	return s.result, s.promises.err()
}

// story is the demo once everything stands.
type story struct {
	place    *place
	out      *printer
	post     *post
	nc       *nats.Conn
	desk     *desk
	promises *promises
	names    map[string]string // mailboxes by provider id
	result   result
}

func (s *story) tell(ctx context.Context) error {
	for _, part := range []func(context.Context) error{s.firstRun, s.secondRun, s.thirdRun, s.tickets, s.blob} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// job runs imapsync and returns what it published and left out as duplicates.
func (s *story) job(ctx context.Context) (published, duplicates int, err error) {
	passes, err := s.place.run(ctx, s.out)
	if err != nil {
		return 0, 0, err
	}
	healthy := len(passes) == 2
	for _, r := range passes {
		s.names[r.ProviderID] = r.Provider
		published += r.Counts.Published
		duplicates += r.Counts.Duplicates
		healthy = healthy && r.Outcome == "ok"
	}
	s.promises.that(healthy, "both mailboxes were read without an error", fmt.Sprintf("%+v", passes))
	return published, duplicates, nil
}

func (s *story) firstRun(ctx context.Context) (err error) {
	s.out.step("The job, as cron calls it every minute")
	if s.result.firstRun, _, err = s.job(ctx); err != nil {
		return err
	}
	events, err := stream(ctx, s.nc)
	if err != nil {
		return err
	}
	s.out.line("")
	table(s.out, events, s.names)
	s.out.line("")
	s.promises.equal(s.result.firstRun, len(sixty()), "%d mails were published")
	problems := compare(events, s.post.mails, s.names)
	s.promises.that(len(problems) == 0, "there is one event for each mail, with the text, the files and the flags of its sender", problems...)
	filed, err := s.desk.work(ctx, s.nc)
	s.promises.equal(len(filed), len(events), "the ticket desk got %d events too")
	return err
}

func (s *story) secondRun(ctx context.Context) (err error) {
	s.out.step("Again, after someone copied a mail into another folder")
	moved := sixty()[0]
	moved.folder = customers
	if _, err := s.post.put(moved); err != nil {
		return err
	}
	if s.result.secondRun, s.result.duplicates, err = s.job(ctx); err != nil {
		return err
	}
	s.promises.equal(s.result.secondRun, 0, "%d mails were published: none twice")
	s.promises.equal(s.result.duplicates, 1, "%d was recognised: the copy")
	return nil
}

func (s *story) thirdRun(ctx context.Context) (err error) {
	s.out.step("Three more mails arrive, one of them in the thread about the lamp")
	if err := s.post.deliver(threeMore()...); err != nil {
		return err
	}
	if s.result.thirdRun, _, err = s.job(ctx); err != nil {
		return err
	}
	arrived, err := s.desk.work(ctx, s.nc)
	if err != nil {
		return err
	}
	s.out.line("")
	table(s.out, arrived, s.names)
	s.out.line("")
	s.promises.equal(s.result.thirdRun, len(threeMore()), "%d mails were published")
	s.promises.equal(len(arrived), len(threeMore()), "the ticket desk got these %d, and nothing it had already")
	all, err := stream(ctx, s.nc)
	if err != nil {
		return err
	}
	s.result.onStream = len(all)
	problems := compare(all, s.post.mails, s.names)
	s.promises.that(len(problems) == 0, fmt.Sprintf("the stream has %d events, one for each mail", len(s.post.mails)), problems...)
	return s.conform(ctx)
}

// conform holds all events against the schema that is published.
func (s *story) conform(ctx context.Context) error {
	c, err := contract.New(event.Schema)
	if err != nil {
		return err
	}
	n, err := s.place.nats.Conforming(ctx, c)
	s.promises.that(err == nil && n == s.result.onStream, fmt.Sprintf("all %d are as event/schema.json says", n), fmt.Sprint(err))
	return nil
}

// conversations is how many tickets the mails of the demo make: sixty and
// three, less those that belong into another's: four about the lamp, one each
// about the order, the switch, the dimmer, the pickup and the offer, and the
// second copy of the mail that reached both mailboxes.
const conversations = 60 + 3 - 4 - 5 - 1

func (s *story) tickets(context.Context) error {
	s.out.step("What the ticket desk made of the events")
	s.desk.show(s.out)
	s.out.line("")
	s.result.tickets = len(s.desk.tickets)
	s.promises.equal(s.result.tickets, conversations, "%d tickets were opened: replies, the bounce and the second copy are in those they belong to")
	lamp, err := s.desk.ticketOf("lamp-1@berg.example")
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	for _, e := range lamp.entries {
		ids[e.id] = true
	}
	whole := ids["lamp-2@berg.example"] && ids["lamp-3@berg.example"] && ids["20260601133005.4E1F@mx.harbour.example"] && ids["lamp-4@berg.example"]
	s.promises.that(whole && len(ids) == 5, "the ticket about the lamp has its four mails and the bounce of the answer", fmt.Sprint(ids))
	return nil
}

// blob fetches the largest attachment by the key in its event.
func (s *story) blob(ctx context.Context) error {
	s.out.step("An attachment, by the key in its event")
	events, err := stream(ctx, s.nc)
	if err != nil {
		return err
	}
	var found event.Attachment
	var sent string
	for _, ev := range events {
		for i, a := range ev.Payload.EmailData.Attachments {
			if a.Size > found.Size {
				found, sent = a, s.post.mails[spotOf(ev, s.names)].want.files[i].sha256
			}
		}
	}
	if found.Blob == nil {
		return errors.New("no event names a blob")
	}
	content, _, err := s.place.imapsync(ctx, s.out, "", "blob", "get", found.Blob.Key)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(content)
	got := hex.EncodeToString(sum[:])
	s.out.line("     %s", s.out.dim(fmt.Sprintf("%s, %s, sha256 %s", found.Name, size(int64(len(content))), got)))
	s.promises.that(got == sent, "it is, to the byte, what its sender attached", "sent was "+sent)
	return nil
}
