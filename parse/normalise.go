package parse

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/DusanKasan/parsemail"
)

// throughParsemail writes m and c anew in the dialect that parsemail reads
// without fault, has it read by parsemail.Parse, and takes m's fields from
// what comes back.
//
// The dialect is an injection surface: what a sender wrote must never end a
// header line, open a part or name one. So header values are already free of
// controls, addresses are valid, ids have no blanks, texts stand between
// boundaries that are random and checked absent, and files are empty parts
// whose names are numbers of ours. Everything that comes back is compared
// with what went in; when it differs, the walker's reading stands, with a
// defect.
func throughParsemail(m *Message, c *content, ds *defects) {
	email, err := readDialect(writeDialect(m, c))
	if err == nil {
		err = checkDialect(m, c, email)
	}
	if err != nil {
		ds.add("normalised_mail_misread", err.Error())
		m.Text, m.HTML = string(c.text), string(c.html)
		m.Attachments = c.files
		return
	}
	m.Subject = email.Subject
	m.MessageID = email.MessageID
	if len(email.InReplyTo) > 0 {
		m.InReplyTo = email.InReplyTo[0]
	}
	m.References = email.References
	m.Date = utc(email.Date)
	m.Text, m.HTML = email.TextBody, email.HTMLBody
	m.Attachments = c.files
}

// readDialect keeps a panic of parsemail from taking the mail with it.
func readDialect(r io.Reader) (email parsemail.Email, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return parsemail.Parse(r)
}

// segments reads byte slices one after the other, so that a long text is not
// copied to be handed over.
type segments [][]byte

func (s *segments) Read(p []byte) (n int, err error) {
	for len(*s) > 0 && n < len(p) {
		k := copy(p[n:], (*s)[0])
		n += k
		if (*s)[0] = (*s)[0][k:]; len((*s)[0]) == 0 {
			*s = (*s)[1:]
		}
	}
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// dialect builds a normalised mail: small things in buf, texts by reference.
type dialect struct {
	segs  segments
	buf   []byte
	begin int // of the bytes of buf that are not in segs yet
}

func (d *dialect) add(s ...string) {
	for _, s := range s {
		d.buf = append(d.buf, s...)
	}
}

func (d *dialect) text(b []byte) {
	d.cut()
	if len(b) > 0 {
		d.segs = append(d.segs, b)
	}
	d.add("\n") // parsemail takes one line end off
}

func (d *dialect) cut() {
	if d.begin < len(d.buf) {
		d.segs = append(d.segs, d.buf[d.begin:len(d.buf):len(d.buf)])
		d.begin = len(d.buf)
	}
}

func writeDialect(m *Message, c *content) *segments {
	d := &dialect{buf: make([]byte, 0, 1024), segs: make(segments, 0, 6)}
	d.header(m)

	inline := 0
	for i := range c.files {
		if c.files[i].IsInline {
			inline++
		}
	}
	switch {
	case len(c.files) == 0 && len(c.html) == 0:
		d.add("Content-Type: text/plain\r\n\r\n")
		d.text(c.text)
	case len(c.files) == 0 && len(c.text) == 0:
		d.add("Content-Type: text/html\r\n\r\n")
		d.text(c.html)
	case len(c.files) == 0:
		b := freshBoundary(c)
		d.add("Content-Type: multipart/related; boundary=", b, "\r\n\r\n")
		d.texts(b, c)
		d.add("\r\n--", b, "--\r\n")
	default:
		b := freshBoundary(c)
		d.add("Content-Type: multipart/mixed; boundary=", b, "\r\n\r\n")
		if inline > 0 {
			in := freshBoundary(c)
			d.add("\r\n--", b, "\r\nContent-Type: multipart/related; boundary=", in, "\r\n\r\n")
			d.texts(in, c)
			for i := range c.files {
				if c.files[i].IsInline {
					d.add("\r\n--", in, "\r\nContent-Type: application/octet-stream\r\nContent-Transfer-Encoding: 7bit\r\nContent-Id: <", strconv.Itoa(i), ">\r\n\r\n")
				}
			}
			d.add("\r\n--", in, "--\r\n")
		} else {
			d.texts(b, c)
		}
		for i := range c.files {
			if !c.files[i].IsInline {
				d.add("\r\n--", b, "\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=", strconv.Itoa(i), "\r\n\r\n")
			}
		}
		d.add("\r\n--", b, "--\r\n")
	}
	d.cut()
	return &d.segs
}

func (d *dialect) texts(boundary string, c *content) {
	if len(c.text) > 0 {
		d.add("\r\n--", boundary, "\r\nContent-Type: text/plain\r\n\r\n")
		d.text(c.text)
	}
	if len(c.html) > 0 {
		d.add("\r\n--", boundary, "\r\nContent-Type: text/html\r\n\r\n")
		d.text(c.html)
	}
}

// freshBoundary returns a boundary no sender can know and no text contains.
func freshBoundary(c *content) string {
	for {
		b := rand.Text()
		if !bytes.Contains(c.text, []byte(b)) && !bytes.Contains(c.html, []byte(b)) {
			return b
		}
	}
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
			d.buf = append(d.buf, '"')
			for j := range len(a.Name) {
				if c := a.Name[j]; c == '"' || c == '\\' {
					d.buf = append(d.buf, '\\')
				}
				d.buf = append(d.buf, a.Name[j])
			}
			d.buf = append(d.buf, `" `...)
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
		return fmt.Errorf("subject")
	case email.MessageID != m.MessageID:
		return fmt.Errorf("message id")
	case !slices.Equal(email.InReplyTo, reply) || !slices.Equal(email.References, m.References):
		return fmt.Errorf("references")
	case !email.Date.Equal(m.Date):
		return fmt.Errorf("date")
	case !sameAddresses(email.From, from):
		return fmt.Errorf("from")
	case !sameAddresses(email.To, m.To):
		return fmt.Errorf("to")
	case !sameAddresses(email.Cc, m.Cc):
		return fmt.Errorf("cc")
	case !sameAddresses(email.Bcc, m.Bcc):
		return fmt.Errorf("bcc")
	case !sameAddresses(email.ReplyTo, m.ReplyTo):
		return fmt.Errorf("reply-to")
	case email.TextBody != string(c.text):
		return fmt.Errorf("text")
	case email.HTMLBody != string(c.html):
		return fmt.Errorf("html")
	case len(email.Attachments)+len(email.EmbeddedFiles) != len(c.files):
		return fmt.Errorf("number of files")
	}
	a, e := 0, 0
	for i := range c.files {
		number := strconv.Itoa(i)
		if c.files[i].IsInline {
			if e >= len(email.EmbeddedFiles) || email.EmbeddedFiles[e].CID != number {
				return fmt.Errorf("order of files")
			}
			e++
		} else {
			if a >= len(email.Attachments) || email.Attachments[a].Filename != number {
				return fmt.Errorf("order of files")
			}
			a++
		}
	}
	return nil
}

func sameAddresses(got []*mail.Address, want []Address) bool {
	return slices.EqualFunc(got, want, func(g *mail.Address, w Address) bool {
		return g.Name == w.Name && g.Address == unquoteLocal(w.Email)
	})
}
