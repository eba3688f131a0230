package main

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"slices"
)

// The mailboxes of the demo, and their folders besides INBOX.
const (
	support = "support"
	sales   = "sales"

	inbox     = "INBOX"
	customers = "Клиенты"
	orders    = "Orders/2026"

	domain = "harbour.example"
)

// mail is one message of the demo: where it lands, its bytes, and what its
// event is expected to say.
type mail struct {
	mailbox string
	folder  string
	raw     []byte
	want    want
}

// want is what the event must say of a mail. What is zero is expected to be
// absent, but for text, subject and from.
type want struct {
	subject string // the whole of it
	from    string // the address
	text    string // part of body.text
	html    string // part of body.html
	files   []file
	labels  []string // see labels
	flawed  bool     // the event names defects
	reused  bool     // one of them is that another mail had its Message-ID
}

// file is an attachment as its sender wrote it. The parts of reports are known
// by name alone.
type file struct {
	name   string
	sha256 string // hex, of the decoded bytes; "" when only the name is known
	size   int64
	inline bool
}

func newFile(name string, content []byte) file {
	sum := sha256.Sum256(content)
	return file{name: name, sha256: hex.EncodeToString(sum[:]), size: int64(len(content))}
}

//go:embed mails/*.eml
var embedded embed.FS

// written returns an embedded mail.
func written(mailbox, folder, name string, w want) mail {
	raw, err := embedded.ReadFile("mails/" + name + ".eml")
	if err != nil {
		panic(err) // the name is a constant of this package; a test reads them all
	}
	return mail{mailbox: mailbox, folder: folder, raw: raw, want: w}
}

// sixty returns the mails that the first run finds.
func sixty() []mail {
	return slices.Concat(writtenMails(), charsetMails(), fileMails(), everydayMails())
}

// threeMore returns the mails that arrive later. The first belongs to the
// thread about the lamp.
func threeMore() []mail {
	return []mail{
		written(support, inbox, "lamp-4", want{
			subject: "Re: [Ticket] Lamp flickers since Monday", from: "anna@berg.example", text: "please write to me",
		}),
		written(sales, orders, "order-1", want{
			subject: "Re: Signed order 4711", from: "wim@deboer.example", text: "Make that fourteen",
		}),
		plain(support, customers, request{from: "Eva Lind <eva@lind.example>", id: "glass@lind.example", subject: "A crack in the glass shade", text: "It came with a crack. I attach no photo, my phone is broken too."}),
	}
}

// writtenMails are those whose structure matters, each a file to be read.
func writtenMails() []mail {
	return []mail{
		// A thread, with the bounce of the answer to it.
		written(support, inbox, "lamp-1", want{subject: "Lamp flickers since Monday", from: "anna@berg.example", text: "whenever the coffee machine is on"}),
		written(support, inbox, "lamp-2", want{subject: "Re: [Ticket] Lamp flickers since Monday", from: "anna@berg.example", text: "flickers just the same"}),
		written(support, customers, "lamp-3", want{subject: "AW: Lamp flickers since Monday", from: "jonas@berg.example", text: "The other two lamps", html: "<blockquote>",
			files: []file{newFile("lamps.csv", []byte("room,lamp,flickers\n1,Tide,yes\n2,Tide,yes\n3,Pier,yes\n"))}}),
		written(support, inbox, "lamp-bounce", want{
			subject: "Undelivered Mail Returned to Sender", from: "MAILER-DAEMON@mx.harbour.example", text: "could not", labels: []string{"bounce", "auto"},
			files: []file{{name: "part-2.txt"}, {name: "part-3.txt"}},
		}),

		// What machines send.
		written(support, inbox, "out-of-office", want{subject: "Automatic reply: Your order 10-2240 has been shipped", from: "petra@novak.example", text: "until 15 June", labels: []string{"auto"}}),
		written(sales, inbox, "newsletter", want{subject: "Bulb Weekly 22: what E27 really means", from: "news@bulbweekly.example", text: "Edison’s", html: "<h1>", labels: []string{"list"}}),
		written(support, inbox, "discussion-list", want{subject: "[installers] Dimmers and LEDs, again", from: "mikko@laine.example", text: "hum below 20 %", labels: []string{"list"}}),
		written(sales, inbox, "delayed", want{subject: "Delivery Status Notification (Delay)", from: "mailer-daemon@relay.example", text: "for two days", labels: []string{"bounce", "auto"}, files: []file{{name: "part-2.txt"}, {name: "Our offer.eml"}}}),
		written(support, inbox, "read-receipt", want{subject: "Read: Repair of your chandelier", from: "tomas@lund.example", text: "5 June 2026", files: []file{{name: "part-2.txt"}}}),
		written(sales, inbox, "invitation", want{
			subject: "Invitation: Showroom visit", from: "claire@dubois.example", text: "Thursday at ten", labels: []string{"invitation"},
			files: []file{{name: "part-1.2.ics"}, newFile("invite.ics", []byte("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nMETHOD:REQUEST\r\nEND:VCALENDAR\r\n"))},
		}),

		// What people's programs make of it.
		written(support, customers, "html-only", want{subject: "Contact form: delivery to an island", from: "shop@harbour.example", text: "Undö", html: "<table>"}),
		written(support, customers, "alternative", want{subject: "Größe der Lampe „Mond“?", from: "zoe@martens.example", text: "fünf Stück", html: "<b>groß</b>"}),
		written(support, inbox, "forwarded", want{subject: "Fwd: Your invoice", from: "ivo@horvat.example", text: "We got this twice", files: []file{{name: "Your invoice.eml"}}}),
		written(support, inbox, "urgent", want{subject: "Sparks from the socket", from: "noor@haddad.example", text: "sparks came out of the socket", labels: []string{"urgent"}}),
		written(support, inbox, "no-subject", want{from: "lou@weaver.example", text: "call me back"}),
		written(support, inbox, "both", want{subject: "To both of you: our new address", from: "greta@holm.example", text: "Pier 7"}),
		written(sales, inbox, "both", want{subject: "To both of you: our new address", from: "greta@holm.example", text: "Pier 7"}),
		written(sales, orders, "signed", want{subject: "Signed order 4711", from: "wim@deboer.example", text: "twelve wall lamps", labels: []string{"signed"}, files: []file{{name: "smime.p7s"}}}),
		written(sales, inbox, "uuencoded", want{
			subject: "Fax from +46 8 555 010", from: "fax@legacy.example", text: "One page follows",
			files: []file{newFile("page.txt", []byte("The fax says: twenty bulbs, please, and send them to Pier 7.\n"))},
		}),

		// What goes wrong.
		written(sales, inbox, "no-message-id", want{subject: "Scan 0017", from: "scanner@office.harbour.example", text: "no Message-ID"}),
		written(sales, inbox, "parcel-1", want{subject: "Parcel 55012 is on its way", from: "noreply@parcel.example", text: "55012"}),
		written(sales, inbox, "parcel-2", want{subject: "Parcel 55013 is on its way", from: "noreply@parcel.example", text: "55013", flawed: true, reused: true}),
		written(support, inbox, "broken", want{subject: "The printer wrote this", from: "unknown-sender@imapsync.invalid", text: "This body is base64 with", flawed: true}),
		written(support, customers, "broken-from", want{subject: "Portal: question without a sender", from: "unknown-sender@imapsync.invalid", text: "shades in green", flawed: true}),
	}
}

// charsetMails say the same in the charsets that mail is written in.
func charsetMails() []mail {
	return []mail{
		inCharset(support, customers, "koi8-r", "8bit", "Ольга Иванова", "olga@ivanova.example", "Лампа не включается", "Здравствуйте! Лампа не включается с понедельника."),
		inCharset(support, customers, "windows-1251", "quoted-printable", "Иван Петров", "ivan@petrov.example", "Возврат люстры", "Прошу принять люстру обратно, заказ № 10-2250."),
		inCharset(support, customers, "utf-8", "base64", "Олена Шевченко", "olena@shevchenko.example", "Питання про гарантію", "Чи діє гарантія, якщо лампу купила моя сестра?"),
		inCharset(support, inbox, "iso-2022-jp", "7bit", "山田太郎", "taro@yamada.example", "照明の見積もりのお願い", "お世話になっております。天井照明の見積もりをお願いいたします。"),
		inCharset(sales, orders, "gb18030", "base64", "王芳", "fang@wang.example", "订购台灯", "您好，我们想订购二十盏台灯。"),
		inCharset(sales, orders, "euc-kr", "8bit", "김민준", "minjun@kim.example", "조명 주문", "천장 조명 열 개를 주문합니다."),
		inCharset(sales, orders, "iso-8859-7", "quoted-printable", "Νίκος Παππάς", "nikos@pappas.example", "Παραγγελία φωτιστικών", "Θα θέλαμε πέντε φωτιστικά για το ξενοδοχείο."),
	}
}

// everydayMails are what most of a mailbox is: a few lines of plain text.
func everydayMails() []mail {
	var mails []mail
	for _, r := range []request{
		{from: "Sam Poole <sam@poole.example>", id: "switch@poole.example", subject: "Where is the switch?", text: "We cannot find the switch of the Tide lamp. Is there one?"},
		{from: "Sam Poole <sam@poole.example>", id: "switch-2@poole.example", replyTo: "switch@poole.example", subject: "Re: Where is the switch?", text: "Found it, on the cable. Thank you!"},
		{from: "Ines Prado <ines@prado.example>", id: "cable@prado.example", subject: "Longer cable", text: "Do you have the Pier lamp with three metres of cable?"},
		{from: "Otto Kern <otto@kern.example>", id: "bulb@kern.example", subject: "Which bulb?", text: "Which bulb goes into model 7, E14 or E27?"},
		{from: "Maya Rao <maya@rao.example>", id: "refund@rao.example", subject: "Refund for order 10-2199", text: "I sent the lamp back two weeks ago. Has it arrived?"},
		{from: "Leo Fontaine <leo@fontaine.example>", id: "hum@fontaine.example", subject: "Dimmer hums", text: "The dimmer hums at night. During the day it does not."},
		{from: "Leo Fontaine <leo@fontaine.example>", id: "hum-2@fontaine.example", replyTo: "hum@fontaine.example", subject: "Re: Dimmer hums", text: "It was the fridge. Please close this."},
		{from: "Ruth Amsel <ruth@amsel.example>", id: "manual@amsel.example", subject: "Manual in large print", text: "Could you send me the manual in large print?"},
		{from: "Vera Blom <vera@blom.example>", id: "pickup@blom.example", subject: "Can I pick it up?", text: "I live round the corner, can I pick up order 10-2271?"},
		{from: "Vera Blom <vera@blom.example>", id: "pickup-2@blom.example", replyTo: "pickup@blom.example", subject: "Re: Can I pick it up?", text: "Friday at four, then."},
		{from: "Tim Acker <tim@acker.example>", id: "lost@acker.example", subject: "Parcel lost?", text: "The parcel service says it was delivered. It was not."},
		{from: "Dana Wolf <dana@wolf.example>", id: "colour@wolf.example", subject: "Colour of the cable", text: "The picture shows a red cable, mine is grey."},
		{from: "Ed Hurst <ed@hurst.example>", id: "thanks@hurst.example", subject: "Thank you", text: "The lamp arrived and it is beautiful."},
		{from: "Lena Kraus <lena@kraus.example>", id: "smell@kraus.example", subject: "It smells when warm", text: "After an hour the shade smells of glue. Does that go away?"},
		{from: "Hana Sato <hana@sato.example>", id: "warranty@sato.example", subject: "Warranty card", text: "The box had no warranty card in it."},
	} {
		mails = append(mails, plain(support, inbox, r))
	}
	for _, r := range []request{
		{from: "Piotr Zak <piotr@zak.example>", id: "offer@zak.example", subject: "Offer for forty lamps", text: "We are a school and need forty desk lamps by September."},
		{from: "Piotr Zak <piotr@zak.example>", id: "offer-2@zak.example", replyTo: "offer@zak.example", subject: "Re: Offer for forty lamps", text: "Forty-two, the headmaster wants two as well."},
		{from: "Bea Lang <bea@lang.example>", id: "order-1@lang.example", subject: "Order: 2 x Tide, white", text: "Please send two Tide lamps in white to the address you have."},
		{from: "Ali Demir <ali@demir.example>", id: "order-2@demir.example", subject: "Order: 6 x Pier, black", text: "Six Pier lamps, black, invoice to the company."},
		{from: "Nora Vik <nora@vik.example>", id: "cancel@vik.example", subject: "Please cancel order 10-2260", text: "I ordered the wrong colour."},
		{from: "Finn Olsen <finn@olsen.example>", id: "price@olsen.example", subject: "Price of model 7", text: "Your page shows two prices for model 7. Which is right?"},
		{from: "June Park <june@park.example>", id: "order-3@park.example", subject: "Order: 1 x Mond", text: "One Mond, please, as a gift, without the invoice in the box."},
		{from: "Dario Costa <dario@costa.example>", id: "hotel@costa.example", subject: "Hotel lobby, 3 chandeliers", text: "We are furnishing a lobby, can somebody come and measure?"},
		{from: "Tess Moran <tess@moran.example>", id: "order-4@moran.example", subject: "Order: 10 x bulb E27 warm", text: "Ten E27 bulbs, warm white."},
	} {
		mails = append(mails, plain(sales, orders, r))
	}
	return mails
}
