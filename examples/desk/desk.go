package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"imapsync/event"
)

// entry is one mail in the journal, a line of JSON.
type entry struct {
	Event     string   `json:"event"` // id of the event
	Ticket    int      `json:"ticket"`
	Tenant    string   `json:"tenant"`
	Message   string   `json:"message"`             // Message-ID
	Relatives []string `json:"relatives,omitempty"` // Message-IDs it refers to, the nearest first
	From      string   `json:"from"`
	Subject   string   `json:"subject"`
	Text      string   `json:"text"`
	Files     []file   `json:"files,omitempty"`
}

// file is an attachment, kept as files/SHA256.
type file struct {
	Name   string `json:"name"` // as the sender wrote it: never a path of ours
	SHA256 string `json:"sha256"`
}

// desk is what the journal says, for looking things up.
type desk struct {
	dir     string
	journal *os.File
	tickets int
	done    map[string]bool // ids of events
	threads map[string]int  // tenant and Message-ID → ticket
}

// open reads the journal. A last line that a crash cut short is taken away:
// its event was not acknowledged and comes again.
func open(dir string) (*desk, error) {
	if err := os.MkdirAll(filepath.Join(dir, "files"), 0o700); err != nil {
		return nil, err
	}
	journal, err := os.OpenFile(filepath.Join(dir, "tickets.jsonl"), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	d := &desk{dir: dir, journal: journal, done: map[string]bool{}, threads: map[string]int{}}
	var whole int64
	for r := bufio.NewReader(journal); ; {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return d, journal.Truncate(whole)
		}
		if err != nil {
			return nil, err
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("%s: %w", journal.Name(), err)
		}
		d.remember(e)
		whole += int64(len(line))
	}
}

func (d *desk) close() { _ = d.journal.Close() }

func (d *desk) remember(e entry) {
	d.done[e.Event] = true
	d.tickets = max(d.tickets, e.Ticket)
	for _, id := range append(slices.Clone(e.Relatives), e.Message) {
		if key := e.Tenant + " " + id; d.threads[key] == 0 {
			d.threads[key] = e.Ticket
		}
	}
}

// file puts a mail into the ticket of its conversation, or opens one for it,
// and returns what there is to tell a person.
func (d *desk) file(ev *event.Event, files []file) (string, error) {
	mail := &ev.Payload.EmailData
	e := entry{
		Event: ev.ID, Tenant: ev.Payload.Tenant, Message: mail.ID, Relatives: relatives(mail),
		From: mail.From.Email, Subject: mail.Subject, Text: mail.Body.Text, Files: files,
	}
	if mail.Reply != nil {
		e.Text = mail.Reply.Text // without what it quotes
	}
	known := slices.Clone(e.Relatives)
	if !reused(mail) {
		known = append(known, mail.ID) // an answer to it may have come first
	}
	for _, id := range known {
		if e.Ticket = d.threads[e.Tenant+" "+id]; e.Ticket != 0 {
			break
		}
	}
	what := "answered"
	if e.Ticket == 0 {
		what, e.Ticket = "opened", d.tickets+1
	}
	if err := d.write(e); err != nil {
		return "", err
	}
	d.remember(e)
	return fmt.Sprintf("#%d %s by %s: %s%s", e.Ticket, what, e.From, e.Subject, remarks(mail, len(files))), nil
}

// write appends a line to the journal and sees to it that it stays.
func (d *desk) write(e entry) error {
	var line bytes.Buffer
	if err := json.NewEncoder(&line).Encode(e); err != nil {
		return err
	}
	if _, err := d.journal.Write(line.Bytes()); err != nil {
		return err
	}
	return d.journal.Sync()
}

// keepFiles fetches the attachments. One that was not kept when the mail was
// read has no blob; the event's ingressSkipReasons say why.
func (d *desk) keepFiles(ctx context.Context, sub *event.Subscription, ev *event.Event) (files []file, err error) {
	for _, a := range ev.Payload.EmailData.Attachments {
		if a.Blob == nil {
			continue
		}
		if err := d.keep(ctx, sub, a); err != nil {
			return nil, fmt.Errorf("attachment %q of %s: %w", a.Name, ev.ID, err)
		}
		files = append(files, file{a.Name, a.SHA256})
	}
	return files, nil
}

// keep fetches an attachment. Reading it ends in an error when the bytes are
// not those that its SHA-256 promises.
func (d *desk) keep(ctx context.Context, sub *event.Subscription, a event.Attachment) (err error) {
	blob, err := sub.OpenBlob(ctx, *a.Blob)
	if err != nil {
		return err
	}
	defer blob.Close()
	out, err := os.CreateTemp(d.dir, "file-")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, blob)
	if err = errors.Join(err, out.Close()); err != nil {
		return errors.Join(err, os.Remove(out.Name()))
	}
	return os.Rename(out.Name(), filepath.Join(d.dir, "files", a.SHA256))
}

// relatives are the mails that a mail refers to, the nearest first. A bounce
// refers to the mail that came back.
func relatives(mail *event.EmailData) []string {
	var ids []string
	if mail.Bounce != nil && mail.Bounce.OriginalMessageID != "" {
		ids = append(ids, mail.Bounce.OriginalMessageID)
	}
	if mail.InReplyTo != "" {
		ids = append(ids, mail.InReplyTo)
	}
	for _, id := range slices.Backward(mail.References) {
		ids = append(ids, id)
	}
	return ids
}

// reused says that the sender gives one Message-ID to different mails, so that
// it tells nothing.
func reused(mail *event.EmailData) bool {
	return slices.ContainsFunc(mail.Defects, func(d event.Defect) bool { return d.Code == event.DefectMessageIDReused })
}

// remarks are what to know before a person reads the mail, or an answer is
// sent by itself: a bounce and an automatic answer are never answered so.
func remarks(mail *event.EmailData, files int) string {
	text := ""
	if mail.IsBounce {
		text += " (bounce)"
	} else if mail.AutoSubmitted != "no" {
		text += " (automatic)"
	}
	if files > 0 {
		text += fmt.Sprintf(" [files: %d]", files)
	}
	return text
}
