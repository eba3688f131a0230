package main

import (
	"fmt"
	"strings"

	"imapsync/event"
)

// table prints the events, one a line. names maps provider ids to mailboxes.
func table(out *printer, events []*event.Event, names map[string]string) {
	row := func(number, place, from, subject, text, html, files string) string {
		return fmt.Sprintf("%3s  %s  %s  %s  %6s %6s  %s", number, cell(place, 19), cell(from, 27), cell(subject, 34), text, html, cell(files, 12))
	}
	out.line("%s", out.dim(row("", "mailbox/folder", "from", "subject", "text", "html", "files")+"  flags"))
	for i, ev := range events {
		mail := &ev.Payload.EmailData
		out.line("%s%s", row(fmt.Sprint(i+1), names[ev.Payload.ProviderID]+"/"+mail.IMAP.Folder, mail.From.Email, orDash(mail.Subject),
			size(bodySize(mail.Body.Text, mail.Body.TextBlob)), size(bodySize(mail.Body.HTML, mail.Body.HTMLBlob)), files(mail)), flags(out, mail))
	}
}

// bodySize is the size of the whole body, though the event may hold but its
// beginning.
func bodySize(body string, whole *event.Blob) int64 {
	if whole != nil {
		return whole.Size
	}
	return int64(len(body))
}

// files tells number and size of the attachments.
func files(mail *event.EmailData) string {
	if len(mail.Attachments) == 0 {
		return ""
	}
	var total int64
	inline := 0
	for _, a := range mail.Attachments {
		total += a.Size
		if a.IsInline {
			inline++
		}
	}
	s := fmt.Sprintf("%d, %s", len(mail.Attachments), size(total))
	if inline > 0 {
		s += " cid"
	}
	return s
}

// flags are the labels of a mail and what is wrong with it.
func flags(out *printer, mail *event.EmailData) string {
	var s string
	if list := labels(mail); len(list) > 0 {
		s += "  " + out.blue(strings.Join(list, " "))
	}
	if len(mail.Defects) > 0 {
		codes := make([]string, 0, len(mail.Defects))
		for _, d := range mail.Defects {
			codes = append(codes, d.Code)
		}
		s += "  " + out.red(strings.Join(codes, " "))
	}
	return s
}

// size writes a number of bytes in a few characters.
func size(n int64) string {
	switch {
	case n == 0:
		return ""
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}
