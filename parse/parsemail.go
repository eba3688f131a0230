package parse

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/DusanKasan/parsemail"
)

// secondReading writes m anew in the dialect that parsemail reads without
// fault, has it read by parsemail.Parse, and compares: where that read something
// else the walker's reading stands, with a defect.
//
// The dialect is the mail's own header and one text without any encoding: the
// plain one, or the HTML of a mail that has no other. A second text and the
// files stand beside it: of those parsemail would hand back what it was given,
// three copies later, and a mail of one part has no boundary to break out of.
//
// The header is an injection surface: what a sender wrote must never end a
// line of it. So values are already free of controls, addresses are valid and
// ids have no blanks.
func secondReading(m *Message, ds *defects) {
	email, err := readDialect(writeDialect(m))
	if err != nil {
		ds.add("normalised_mail_misread", err.Error())
		return
	}
	for _, field := range []struct {
		name string
		same bool
	}{
		{"subject", email.Subject == m.Subject},
		{"message id", email.MessageID == m.MessageID},
		{"references", strings.Join(email.InReplyTo, " ") == m.InReplyTo && slices.Equal(email.References, m.References)},
		{"date", email.Date.Equal(m.Date)},
		{"from", sameAddresses(email.From, sender(m))},
		{"to", sameAddresses(email.To, m.To)},
		{"cc", sameAddresses(email.Cc, m.Cc)},
		{"bcc", sameAddresses(email.Bcc, m.Bcc)},
		{"reply-to", sameAddresses(email.ReplyTo, m.ReplyTo)},
		{"text", email.TextBody == m.Text},
		{"html", email.HTMLBody == m.HTML || m.Text != ""},
	} {
		if !field.same {
			ds.add("normalised_mail_misread", field.name)
			return
		}
	}
}

func sameAddresses(got []*mail.Address, want []Address) bool {
	return slices.EqualFunc(got, want, func(g *mail.Address, w Address) bool {
		return g.Name == w.Name && g.Address == unquoteLocal(w.Email)
	})
}

// sender is From, unless the mail names none.
func sender(m *Message) []Address {
	if m.From.Email == UnknownSender {
		return nil
	}
	return []Address{m.From}
}

// readers are what net/mail, under parsemail, would make anew for each mail.
var readers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }} //nolint:gochecknoglobals // a cache, not state

// readDialect keeps a panic of parsemail from taking the mail with it.
func readDialect(mail io.Reader) (email parsemail.Email, err error) {
	r := readers.Get().(*bufio.Reader)
	r.Reset(mail)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			return
		}
		r.Reset(nil)
		readers.Put(r)
	}()
	return parsemail.Parse(r)
}

// dialect is the header of a normalised mail.
type dialect []byte

func (d *dialect) add(s ...string) {
	for _, s := range s {
		*d = append(*d, s...)
	}
}

// writeDialect is the normalised mail. The text is not copied to be handed over.
func writeDialect(m *Message) io.Reader {
	d := make(dialect, 0, 512)
	d.header(m)
	text := m.Text
	if text == "" && m.HTML != "" {
		d.add("Content-Type: text/html\r\n")
		text = m.HTML
	}
	d.add("\r\n") // text/plain
	// parsemail takes one line end off.
	return io.MultiReader(bytes.NewReader(d), strings.NewReader(text), strings.NewReader("\n"))
}

func (d *dialect) header(m *Message) {
	if m.Subject != "" {
		d.add("Subject: ", sentence(m.Subject), "\r\n")
	}
	d.addresses("From", sender(m))
	d.addresses("To", m.To)
	d.addresses("Cc", m.Cc)
	d.addresses("Bcc", m.Bcc)
	d.addresses("Reply-To", m.ReplyTo)
	if !m.Date.IsZero() {
		d.add("Date: ", m.Date.Format(time.RFC1123Z), "\r\n")
	}
	if m.MessageID != "" {
		d.add("Message-ID: <", m.MessageID, ">\r\n")
	}
	if m.InReplyTo != "" {
		d.add("In-Reply-To: <", m.InReplyTo, ">\r\n")
	}
	if len(m.References) > 0 {
		d.add("References:")
		for _, id := range m.References {
			d.add(" <", id, ">")
		}
		d.add("\r\n")
	}
}

// sentence writes a text that parsemail gives back as it is: one that could
// be taken for encoded words is encoded itself, and so is a long one, for
// parsemail takes every word apart.
func sentence(s string) string {
	if len(s) > 1000 || strings.Contains(s, "=?") {
		return "=?utf-8?b?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
	}
	return s
}

func (d *dialect) addresses(name string, list []Address) {
	between := name + ": "
	for _, a := range list {
		d.add(between)
		if a.Name != "" {
			d.add(quoteString(a.Name), " ")
		}
		d.add("<", a.Email, ">")
		between = ", "
	}
	if len(list) > 0 {
		d.add("\r\n")
	}
}
