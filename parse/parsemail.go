package parse

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/DusanKasan/parsemail"
)

// throughParsemail writes m and c anew in the dialect that parsemail reads
// without fault, has it read by parsemail.Parse, and takes m's fields from
// what comes back.
//
// The dialect is the mail's own header and one text without any encoding: the
// plain one, or the HTML of a mail that has no other. A second text and the
// files stand beside it: of those parsemail would hand back what it was given,
// three copies later, and a mail of one part has no boundary to break out of.
//
// The header is an injection surface: what a sender wrote must never end a
// line of it. So values are already free of controls, addresses are valid and
// ids have no blanks. Everything that comes back is compared with what went
// in; when it differs, the walker's reading stands, with a defect.
func throughParsemail(m *Message, c *content, ds *defects) {
	m.Attachments = c.files
	email, err := readDialect(writeDialect(m, c))
	if err == nil {
		err = checkDialect(m, c, email)
	}
	if err != nil {
		ds.add("normalised_mail_misread", err.Error())
		m.Text, m.HTML = string(c.text), string(c.html)
		return
	}
	m.Subject = email.Subject
	m.MessageID = email.MessageID
	if len(email.InReplyTo) > 0 {
		m.InReplyTo = email.InReplyTo[0]
	}
	m.References = email.References
	m.Date = email.Date.UTC()
	m.Text, m.HTML = email.TextBody, email.HTMLBody
	if len(c.text) > 0 {
		m.HTML = string(c.html)
	}
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
func writeDialect(m *Message, c *content) io.Reader {
	d := make(dialect, 0, 512)
	d.header(m)
	text := c.text
	if len(text) == 0 && len(c.html) > 0 {
		d.add("Content-Type: text/html\r\n")
		text = c.html
	}
	d.add("\r\n") // text/plain
	// parsemail takes one line end off.
	return io.MultiReader(bytes.NewReader(d), bytes.NewReader(text), strings.NewReader("\n"))
}

func (d *dialect) header(m *Message) {
	if m.Subject != "" {
		d.add("Subject: ", sentence(m.Subject), "\r\n")
	}
	if m.From.Email != UnknownSender {
		d.addresses("From", []Address{m.From})
	}
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
	for i, a := range list {
		if i == 0 {
			d.add(name, ": ")
		} else {
			d.add(", ")
		}
		if a.Name != "" {
			d.add(quoteString(a.Name), " ")
		}
		d.add("<", a.Email, ">")
	}
	if len(list) > 0 {
		d.add("\r\n")
	}
}

// checkDialect compares what parsemail read with what was written.
func checkDialect(m *Message, c *content, email parsemail.Email) error {
	var from []Address
	if m.From.Email != UnknownSender {
		from = []Address{m.From}
	}
	var reply []string
	if m.InReplyTo != "" {
		reply = []string{m.InReplyTo}
	}
	switch {
	case email.Subject != m.Subject:
		return errors.New("subject")
	case email.MessageID != m.MessageID:
		return errors.New("message id")
	case !slices.Equal(email.InReplyTo, reply) || !slices.Equal(email.References, m.References):
		return errors.New("references")
	case !email.Date.Equal(m.Date):
		return errors.New("date")
	case !sameAddresses(email.From, from):
		return errors.New("from")
	case !sameAddresses(email.To, m.To):
		return errors.New("to")
	case !sameAddresses(email.Cc, m.Cc):
		return errors.New("cc")
	case !sameAddresses(email.Bcc, m.Bcc):
		return errors.New("bcc")
	case !sameAddresses(email.ReplyTo, m.ReplyTo):
		return errors.New("reply-to")
	case email.TextBody != string(c.text):
		return errors.New("text")
	case len(c.text) == 0 && email.HTMLBody != string(c.html):
		return errors.New("html")
	}
	return nil
}

func sameAddresses(got []*mail.Address, want []Address) bool {
	return slices.EqualFunc(got, want, func(g *mail.Address, w Address) bool {
		return g.Name == w.Name && g.Address == unquoteLocal(w.Email)
	})
}
