package sync

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"imapsync/db"
)

// letter is one mail: all copies of it are one event. What tells it from others is a
// token in its body, and in a header that our own key knows nothing of.
type letter struct {
	token  string
	raw    string
	header string // all but the token and Received
	date   time.Time
	blamed bool // a fault is of this message alone: it may go out by its headers
	early  bool // it was there before the first look ended well, or says so: --start may leave it out
}

// folders are those that the mailbox reads.
func (h *history) folders() []string {
	list := []string{"INBOX"}
	if slices.Contains(h.provider.Folders, "Other") {
		list = append(list, "Other")
	}
	if slices.Contains(h.provider.Folders, "Sub/*") {
		list = append(list, "Sub/One")
	}
	return list
}

// letter is one that was sent before; nil when there is none.
func (h *history) letter() *letter {
	if len(h.letters) == 0 {
		return nil
	}
	return h.letters[h.rand.IntN(len(h.letters))]
}

// deliver has mail come: most of it new, some of it such as makes keys go wrong.
func (h *history) deliver(n int) {
	for range n {
		folder, at, seen := oneOf(h.rand, h.folders()...), h.now, false
		var l *letter
		kind := "new mail"
		old := h.letter()
		switch p := h.rand.Float64(); {
		case old != nil && p < 0.08:
			kind, l = "a copy", old
		case old != nil && p < 0.12:
			kind, l = "a second delivery", old
		case old != nil && !old.blamed && p < 0.22:
			kind, l = "a mail with the headers of another", h.write(old.header, old.date)
		case p < 0.30:
			kind, l = "a mail without Message-ID", h.write(h.header("", at), at)
		case p < 0.36:
			kind, l = "a scan: one Message-ID, no Date", h.write("From: scanner@example.org\r\nSubject: Scan\r\nMessage-ID: <scan@example.org>\r\n", at)
		case p < 0.42:
			kind, seen, at = "an old mail, read before", true, at.AddDate(0, 0, -10)
			l = h.write(h.header(fmt.Sprintf("<%d.%d@example.org>", h.seed, h.n), at), at)
			l.early = true
		default:
			l = h.write(h.header(fmt.Sprintf("<%d.%d@example.org>", h.seed, h.n), at), at)
		}
		raw := l.raw
		if kind == "a second delivery" {
			raw = fmt.Sprintf("Received: from mx%d.example.net by mx.example.com; %s\r\n", h.n, h.now.Format(time.RFC1123Z)) + raw
			h.n++
		}
		uid := h.srv.Mailbox(folder).AppendAt(raw, at)
		if seen {
			h.srv.Mailbox(folder).MarkSeen(uid)
		}
		h.say("%s, %s, comes to %s as UID %d", kind, l.token, folder, uid)
	}
}

// header is that of a mail of its own.
func (h *history) header(id string, date time.Time) string {
	header := fmt.Sprintf("From: Ann <ann%d@example.org>\r\nTo: support@example.com\r\nSubject: Letter %d\r\nDate: %s\r\n", h.n%3, h.n, date.Format(time.RFC1123Z))
	if id != "" {
		header += "Message-ID: " + id + "\r\n"
	}
	return header
}

// write makes a letter with its own token and body.
func (h *history) write(header string, date time.Time) *letter {
	h.n++
	l := &letter{token: fmt.Sprintf("t%d-%d", h.seed, h.n), header: header, date: date, early: !h.begun}
	lines := oneOf(h.rand, 0, 5, 5, 40, 300)
	body := fmt.Sprintf("Body of %s.\r\n%sEnd of %s.\r\n", l.token, strings.Repeat("What stands between the first line and the last.\r\n", lines), l.token)
	if h.chance(0.1) {
		boundary := "b" + l.token
		header += "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=" + boundary + "\r\n"
		body = fmt.Sprintf("--%s\r\nContent-Type: text/plain\r\n\r\n%s\r\n--%s\r\nContent-Type: application/octet-stream; name=f.bin\r\nContent-Disposition: attachment; filename=f.bin\r\n\r\nfile of %s\r\n--%s--\r\n",
			boundary, body, boundary, l.token, boundary)
	}
	l.raw = "X-Token: " + l.token + "\r\n" + header + "\r\n" + body
	h.letters = append(h.letters, l)
	return l
}

// has reports whether raw is a copy of the letter.
func (l *letter) has(raw []byte) bool { return bytes.Contains(raw, []byte("X-Token: "+l.token+"\r\n")) }

// move takes a mail from one folder to another, as a person or a rule does. The server
// keeps when it came.
func (h *history) move() {
	from, to := oneOf(h.rand, h.folders()...), oneOf(h.rand, append(h.folders(), "Elsewhere")...)
	messages := h.srv.Mailbox(from).Messages()
	if from == to || len(messages) == 0 {
		return
	}
	m := messages[h.rand.IntN(len(messages))]
	uid := h.srv.Mailbox(to).AppendAt(string(m.Raw), m.Date)
	h.srv.Mailbox(from).Expunge(m.UID)
	h.say("UID %d of %s is moved to %s as UID %d", m.UID, from, to, uid)
}

// expunge removes a mail, read or not.
func (h *history) expunge() {
	folder := oneOf(h.rand, h.folders()...)
	messages := h.srv.Mailbox(folder).Messages()
	if len(messages) == 0 {
		return
	}
	m := messages[h.rand.IntN(len(messages))]
	h.srv.Mailbox(folder).Expunge(m.UID)
	h.say("UID %d of %s is expunged", m.UID, folder)
}

// wrong says what is not well: mail that is on the server and not on the stream, or
// twice; events of no mail; a mailbox, a folder or a message that waits for a person.
func (h *history) wrong() string {
	ctx := h.t.Context()
	arrivals, err := h.of(ctx, h.provider.ID)
	must(h.t, err)
	var why []string
	count := map[string]int{}
	for _, a := range arrivals {
		i := slices.IndexFunc(h.letters, func(l *letter) bool { return l.token == a.token })
		switch {
		case i < 0:
			h.t.Errorf("an event of no mail: token %q, text %.60q", a.token, a.text)
			continue
		case h.letters[i].blamed: // then it may have gone out by its headers
		case !strings.HasPrefix(a.text, "Body of "+a.token+".") || !strings.HasSuffix(a.text, "End of "+a.token+"."):
			h.t.Errorf("%s went out without its whole body: %.60q", a.token, a.text)
		}
		if count[a.token]++; count[a.token] == 2 {
			h.t.Errorf("%s is on the stream twice", a.token)
		}
	}
	for _, folder := range h.folders() {
		for _, m := range h.srv.Mailbox(folder).Messages() {
			i := slices.IndexFunc(h.letters, func(l *letter) bool { return l.has(m.Raw) })
			if l := h.letters[i]; count[l.token] == 0 && !(l.early && h.provider.Start != "all") {
				why = append(why, fmt.Sprintf("%s, UID %d of %s, is not on the stream", l.token, m.UID, folder))
			}
		}
	}
	quarantine, err := h.store.ListQuarantine(ctx, db.QuarantineFilter{ProviderID: h.provider.ID, Limit: 100})
	must(h.t, err)
	for _, q := range quarantine {
		if q.State == db.QuarantineDead && (h.blamed(q) || q.ErrorCode == db.NotFoundAnew) {
			continue // the other account had a mail that this one has not
		}
		why = append(why, fmt.Sprintf("UID %d of %s is in quarantine: %s %s", q.UID, q.Folder, q.State, q.ErrorCode))
	}
	if h.last.Err != nil || h.last.Left > 0 || h.last.Deferred != "" {
		why = append(why, fmt.Sprintf("the last pass: left %d, deferred %q, error %v", h.last.Left, h.last.Deferred, h.last.Err))
	}
	p, err := h.store.Provider(ctx, db.Ref{Tenant: h.provider.Tenant, ID: h.provider.ID})
	must(h.t, err)
	if p.PausedAt != nil {
		h.t.Errorf("the mailbox is paused: %s", p.PauseReason)
	}
	return strings.Join(why, "; ")
}

// blamed reports whether what is in quarantine is a message that a fault is of.
func (h *history) blamed(q db.Quarantine) bool {
	for _, m := range h.srv.Mailbox(q.Folder).Messages() {
		if m.UID == q.UID {
			return slices.ContainsFunc(h.letters, func(l *letter) bool { return l.blamed && l.has(m.Raw) })
		}
	}
	return false
}
