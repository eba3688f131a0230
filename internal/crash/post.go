package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
)

// post delivers mail for as long as it runs, and remembers all of it.
type post struct {
	place  *place
	random *rand.Rand // of run alone
	users  []string

	mu       sync.Mutex
	mails    map[string][]spot // every mail by its subject, and where it lies
	copies   int
	expunged map[string]bool
	next     int
}

// spot is one place where a mail lies.
type spot struct{ user, folder string }

func allSpots() (list []spot) {
	for _, user := range slices.Sorted(maps.Keys(mailboxes)) {
		for _, folder := range mailboxes[user] {
			list = append(list, spot{user, folder})
		}
	}
	return list
}

func newPost(p *place, random *rand.Rand) *post {
	return &post{
		place: p, random: random, users: slices.Sorted(maps.Keys(mailboxes)),
		mails: map[string][]spot{}, expunged: map[string]bool{},
	}
}

// run delivers until stop is closed.
func (o *post) run(stop <-chan struct{}) error {
	for {
		if err := o.burst(); err != nil {
			return fmt.Errorf("deliver: %w", err)
		}
		select {
		case <-stop:
			return nil
		case <-time.After(time.Duration(40+o.random.IntN(160)) * time.Millisecond):
		}
	}
}

// burst delivers some mails to one folder: two times of three as files in the
// Maildir, else by APPEND. Now and then one of them goes to another folder as
// well.
func (o *post) burst() error {
	user := o.users[o.random.IntN(len(o.users))]
	folders := mailboxes[user]
	at := o.random.IntN(len(folders))
	var batch [][]byte
	var subjects []string
	for range 1 + o.random.IntN(30) {
		subject, mail := o.mail()
		subjects, batch = append(subjects, subject), append(batch, mail)
	}
	o.place.imapUp.RLock()
	defer o.place.imapUp.RUnlock()
	put := func(folder string, mails ...[]byte) error {
		if o.random.IntN(3) > 0 {
			return o.place.dovecot.Deliver(user, folder, mails...)
		}
		return o.place.dovecot.Append(user, folder, time.Now(), mails...)
	}
	if err := put(folders[at], batch...); err != nil {
		return err
	}
	second := ""
	if o.random.IntN(4) == 0 {
		second = folders[(at+1)%len(folders)]
		if err := put(second, batch[0]); err != nil {
			return err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, subject := range subjects {
		o.mails[subject] = []spot{{user, folders[at]}}
	}
	if second != "" {
		o.mails[subjects[0]] = append(o.mails[subjects[0]], spot{user, second})
		o.copies++
	}
	return nil
}

// mail makes a mail whose subject is like no other's. Some have an attachment,
// some no Message-ID, and some that of the mail before, as careless programs
// send them.
func (o *post) mail() (subject string, raw []byte) {
	o.next++
	subject = fmt.Sprintf("crash %06d", o.next)
	raw = fmt.Appendf(nil, "From: Ann <ann%d@example.org>\r\nTo: support@example.com\r\nSubject: %s\r\n"+
		"Date: %s\r\nMIME-Version: 1.0\r\n", o.next, subject, time.Now().Format(time.RFC1123Z))
	switch o.random.IntN(20) {
	case 0:
	case 1:
		raw = fmt.Appendf(raw, "Message-ID: <%d@crash.example.org>\r\n", o.next-1)
	default:
		raw = fmt.Appendf(raw, "Message-ID: <%d@crash.example.org>\r\n", o.next)
	}
	if o.random.IntN(12) > 0 {
		return subject, fmt.Appendf(raw, "\r\nBody %d.\r\n", o.next)
	}
	return subject, fmt.Appendf(raw, "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nBody %[1]d.\r\n"+
		"--b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=a%[1]d.txt\r\n\r\nfile %[1]d\r\n--b--\r\n", o.next)
}

// expunge removes some of the given mails, which must be on the stream, from
// one of their folders.
func (o *post) expunge(ctx context.Context, random *rand.Rand, events []published) error {
	var doomed []string
	o.mu.Lock()
	for _, ev := range events {
		if _, ours := o.mails[ev.subject]; ours && random.IntN(20) == 0 {
			doomed = append(doomed, ev.subject)
		}
	}
	o.mu.Unlock()
	for _, subject := range doomed {
		if err := ctx.Err(); err != nil {
			return err
		}
		o.mu.Lock()
		lies := o.mails[subject][0]
		o.mu.Unlock()
		if err := o.remove(lies, subject); err != nil {
			return fmt.Errorf("expunge %q: %w", subject, err)
		}
		o.mu.Lock()
		o.expunged[subject] = true
		o.mu.Unlock()
	}
	return nil
}

func (o *post) remove(lies spot, subject string) (err error) {
	o.place.imapUp.RLock()
	defer o.place.imapUp.RUnlock()
	client, err := o.place.dovecot.Login(lies.user)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Close()) }()
	if _, err := client.Select(lies.folder, nil).Wait(); err != nil {
		return err
	}
	found, err := client.UIDSearch(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: subject}}}, nil).Wait()
	if err != nil || len(found.AllUIDs()) == 0 {
		return err
	}
	set := imap.UIDSetNum(found.AllUIDs()...)
	err = client.Store(set, &imap.StoreFlags{Op: imap.StoreFlagsAdd, Silent: true, Flags: []imap.Flag{imap.FlagDeleted}}, nil).Close()
	if err != nil {
		return err
	}
	return client.UIDExpunge(set).Close()
}
