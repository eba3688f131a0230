package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
)

// words make up the text of generated mail, so that it compresses and wraps
// like people's.
var words = strings.Fields(`the order was sent on and you will find our invoice in file please let us know
	when it has arrived we have not yet received an answer to question about delivery support team thanks for
	patience customer number account password reset link click here today tomorrow meeting Größe für über café`)

// attachedAbove is the size from which on a generated mail has an attachment.
const attachedAbove = 16 << 10

// mailbox generates mail, the same for the same seed.
type mailbox struct {
	random *rand.Rand
	bytes  *rand.ChaCha8
	seed   byte
	n      int
}

func newMailbox(seed byte) *mailbox {
	return &mailbox{random: rand.New(rand.NewPCG(uint64(seed), 1)), bytes: rand.NewChaCha8([32]byte{seed}), seed: seed}
}

// mail is one mail of about size bytes: plain text and HTML, and above
// attachedAbove an attachment that makes up the rest.
func (g *mailbox) mail(size int) []byte {
	g.n++
	var b bytes.Buffer
	b.Grow(size + 4<<10)
	fmt.Fprintf(&b, "Return-Path: <person%[1]d@example.org>\r\nReceived: from mx%[2]d.example.org (mx%[2]d.example.org [192.0.2.%[2]d])\r\n"+
		"\tby mail.example.com with ESMTPS id %[1]x\r\n\tfor <u@example.com>; Mon, 2 Mar 2026 10:%02[3]d:%02[4]d +0000\r\n"+
		"From: =?utf-8?q?J=C3=BCrgen?= Person %[1]d <person%[1]d@example.org>\r\nTo: Support <u@example.com>\r\n"+
		"Subject: Order %[1]d: =?utf-8?q?Gr=C3=B6=C3=9Fe?= and delivery\r\nMessage-ID: <%[5]d.%[1]d@mail.example.org>\r\n"+
		"Date: Mon, 2 Mar 2026 10:%02[3]d:%02[4]d +0000\r\nMIME-Version: 1.0\r\nX-Mailer: Example 1.0\r\n",
		g.n, g.n%250, g.n/60%60, g.n%60, g.seed)
	text := min(size, attachedAbove) - b.Len()
	if size > attachedAbove {
		b.WriteString("Content-Type: multipart/mixed; boundary=\"mixed\"\r\n\r\n--mixed\r\n")
		text = 3 << 10
	}
	b.WriteString("Content-Type: multipart/alternative; boundary=\"alt\"\r\n\r\n--alt\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	g.lines(&b, text/3, "")
	b.WriteString("--alt\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n")
	g.lines(&b, text/2, "<p>")
	b.WriteString("</body></html>\r\n--alt--\r\n")
	if size > attachedAbove {
		g.attachment(&b, size)
	}
	return b.Bytes()
}

func (g *mailbox) lines(b *bytes.Buffer, size int, before string) {
	for end := b.Len() + size; b.Len() < end; {
		b.WriteString(before)
		for column := 0; column < 70; {
			w := words[g.random.IntN(len(words))]
			b.WriteString(w + " ")
			column += len(w) + 1
		}
		b.WriteString("\r\n")
	}
}

func (g *mailbox) attachment(b *bytes.Buffer, size int) {
	fmt.Fprintf(b, "--mixed\r\nContent-Type: application/pdf; name=\"scan-%[1]d.pdf\"\r\nContent-Transfer-Encoding: base64\r\n"+
		"Content-Disposition: attachment; filename=\"scan-%[1]d.pdf\"\r\n\r\n", g.n)
	line := make([]byte, 57)
	coded := make([]byte, 78)
	copy(coded[76:], "\r\n")
	for b.Len() < size {
		_, _ = g.bytes.Read(line) // never fails
		base64.StdEncoding.Encode(coded, line)
		b.Write(coded)
	}
	b.WriteString("--mixed--\r\n")
}

// many calls use for n mails of the sizes that size gives.
func (g *mailbox) many(n int, size func(i int) int, use func(mail []byte) error) error {
	for i := range n {
		if err := use(g.mail(size(i))); err != nil {
			return err
		}
	}
	return nil
}

// sizeOf gives every mail one size.
func sizeOf(size int) func(int) int { return func(int) int { return size } }

// mixedSizes gives what a support mailbox holds: most mails are small, a few
// make up nearly all bytes. average is in bytes.
func mixedSizes(average int) func(int) int {
	return func(i int) int {
		switch {
		case i%100 == 0:
			return average * 20
		case i%10 == 0:
			return average * 5
		case i%2 == 0:
			return average * 3 / 5
		}
		return 6 << 10
	}
}
