package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"mime/quotedprintable"
	"strings"

	"golang.org/x/text/encoding/htmlindex"
)

// request is a mail of a few lines of plain text.
type request struct {
	from    string // name <address>, in ASCII
	id      string // Message-ID, without brackets
	replyTo string // Message-ID of the mail it answers; "" for none
	subject string
	text    string
}

// plain makes a mail as most are.
func plain(mailbox, folder string, r request) mail {
	header := head(r.from, mailbox, r.subject, r.id)
	if r.replyTo != "" {
		header += fmt.Sprintf("In-Reply-To: <%s>\r\nReferences: <%[1]s>\r\n", r.replyTo)
	}
	_, from, _ := strings.Cut(strings.TrimSuffix(r.from, ">"), "<")
	return mail{
		mailbox: mailbox, folder: folder, raw: []byte(header + part("text/plain; charset=utf-8", "8bit", []byte(r.text+"\r\n"))),
		want: want{subject: r.subject, from: from, text: r.text},
	}
}

// inCharset makes a mail whose name, subject and text are all in one charset.
func inCharset(mailbox, folder, charset, transfer, name, from, subject, text string) mail {
	header := head(encodedWord(charset, name)+" <"+from+">", mailbox, encodedWord(charset, subject), charset+"@"+from[strings.Index(from, "@")+1:])
	return mail{
		mailbox: mailbox, folder: folder, raw: []byte(header + part("text/plain; charset="+charset, transfer, encoded(charset, text+"\r\n"))),
		want: want{subject: subject, from: from, text: text},
	}
}

// fileMails are those that carry files, from a few bytes to many.
func fileMails() []mail {
	photo, logo := picture(320, 200), picture(48, 48)
	contract := []byte("%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Kids[]/Count 0>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n")
	list := []byte("model;pieces\r\nTide;4\r\nPier;12\r\n")
	video := noise(9_000_000) // as base64 the mail has 12 MB

	attached := func(mailbox, folder, from, id, subject, text string, parts string, files ...file) mail {
		body := multipart("mixed", part("text/plain; charset=utf-8", "8bit", []byte(text+"\r\n")), parts)
		_, address, _ := strings.Cut(strings.TrimSuffix(from, ">"), "<")
		return mail{mailbox: mailbox, folder: folder, raw: []byte(head(from, mailbox, subject, id) + body), want: want{subject: subject, from: address, text: text, files: files}}
	}
	page := "<p>See the shop window: <img src=\"cid:photo@stein.example\"> <img src=\"cid:logo@stein.example\"></p>\r\n"
	shown := []file{newFile("window.png", photo), newFile("logo.png", logo)}
	shown[0].inline, shown[1].inline = true, true
	paste := strings.Repeat("2026-06-01T08:00:00Z lamp[7]: voltage 231 V, flicker 0.3 %, nothing to report\r\n", 5000)

	return []mail{
		attached(sales, orders, "Kim Ross <kim@ross.example>", "contract@ross.example", "Signed contract", "Here is the contract.",
			attachment("application/pdf", `filename="contract.pdf"`, contract), newFile("contract.pdf", contract)),
		attached(sales, orders, "Yuri Orlov <yuri@orlov.example>", "list@orlov.example", "Order list", "As discussed, the list, and a photo of the site.",
			// RFC 2231: a file name in another script.
			attachment("text/csv", "filename*=utf-8''%D0%97%D0%B0%D0%BA%D0%B0%D0%B7%202026.csv", list)+"\r\n--"+boundary("mixed")+"\r\n"+
				attachment("image/png", `filename="site.png"`, photo),
			newFile("Заказ 2026.csv", list), newFile("site.png", photo)),
		{
			mailbox: support, folder: customers,
			raw: []byte(head("Mia Stein <mia@stein.example>", support, "The window, with pictures", "window@stein.example") +
				multipart("related",
					part("text/html; charset=utf-8", "8bit", []byte(page)),
					inline("image/png", "window.png", "photo@stein.example", photo),
					inline("image/png", "logo.png", "logo@stein.example", logo))),
			want: want{subject: "The window, with pictures", from: "mia@stein.example", text: "See the shop window", html: "cid:photo@stein.example", files: shown},
		},
		attached(support, inbox, "Rob Falk <rob@falk.example>", "video@falk.example", "Video of the flicker", "You can see it at 0:14.",
			attachment("video/mp4", `filename="flicker.mp4"`, video), newFile("flicker.mp4", video)),
		{
			mailbox: support, folder: inbox,
			raw: []byte(head("Lamp 7 <lamp7@falk.example>", support, encodedWord("utf-8", "Log of lamp 7 \U0001F4A1"), "log@falk.example") +
				part("text/plain; charset=utf-8", "8bit", []byte(paste))),
			want: want{subject: "Log of lamp 7 \U0001F4A1", from: "lamp7@falk.example", text: "nothing to report", flawed: true}, // cut, and whole as a blob
		},
	}
}

// head writes the header, up to where a part begins.
func head(from, mailbox, subject, id string) string {
	return "From: " + from + "\r\nTo: " + mailbox + "@" + domain + "\r\nSubject: " + subject +
		"\r\nDate: Fri, 05 Jun 2026 09:30:00 +0200\r\nMessage-ID: <" + id + ">\r\nMIME-Version: 1.0\r\n"
}

// part writes a MIME part, or what follows the head of a mail that has but one.
func part(contentType, transfer string, content []byte, fields ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Content-Type: %s\r\nContent-Transfer-Encoding: %s\r\n", contentType, transfer)
	for _, field := range fields {
		b.WriteString(field + "\r\n")
	}
	b.WriteString("\r\n")
	switch transfer {
	case "base64":
		text := base64.StdEncoding.EncodeToString(content)
		for len(text) > 76 {
			b.WriteString(text[:76] + "\r\n")
			text = text[76:]
		}
		b.WriteString(text + "\r\n")
	case "quoted-printable":
		w := quotedprintable.NewWriter(&b)
		_, _ = w.Write(content) // a strings.Builder takes everything
		_ = w.Close()
	default:
		b.Write(content)
	}
	return b.String()
}

func attachment(contentType, filename string, content []byte) string {
	return part(contentType, "base64", content, "Content-Disposition: attachment; "+filename)
}

func inline(contentType, name, id string, content []byte) string {
	return part(contentType, "base64", content, "Content-Disposition: inline; filename="+name, "Content-ID: <"+id+">")
}

func boundary(subtype string) string { return "=_harbour_" + subtype }

func multipart(subtype string, parts ...string) string {
	b := boundary(subtype)
	return "Content-Type: multipart/" + subtype + "; boundary=\"" + b + "\"\r\n\r\n--" + b + "\r\n" +
		strings.Join(parts, "\r\n--"+b+"\r\n") + "\r\n--" + b + "--\r\n"
}

// encodedWord writes a text for a header field (RFC 2047).
func encodedWord(charset, text string) string {
	return "=?" + charset + "?B?" + base64.StdEncoding.EncodeToString(encoded(charset, text)) + "?="
}

// encoded returns a text in a charset.
func encoded(charset, text string) []byte {
	enc, err := htmlindex.Get(charset)
	if err == nil {
		text, err = enc.NewEncoder().String(text)
	}
	if err != nil {
		panic(fmt.Errorf("charset %s: %w", charset, err)) // all texts are constants of this package
	}
	return []byte(text)
}

// picture draws a PNG.
func picture(width, height int) []byte {
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			img.Set(x, y, color.RGBA{R: uint8(x), G: uint8(y), B: 128, A: 255})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	return b.Bytes()
}

// noise returns bytes that do not compress, the same each time.
func noise(n int) []byte {
	block, err := aes.NewCipher(make([]byte, 16))
	if err != nil {
		panic(err) // the key has the right length
	}
	b := make([]byte, n)
	cipher.NewCTR(block, make([]byte, aes.BlockSize)).XORKeyStream(b, b) //nolint:gosec // nothing is kept secret: it is to be the same each time
	return b
}
