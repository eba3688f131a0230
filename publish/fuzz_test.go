package publish

import (
	"strings"
	"testing"

	"imapsync/parse"
)

// FuzzNew: whatever the bytes, there is an event, it keeps to the schema and
// fits the smallest broker.
func FuzzNew(f *testing.F) {
	f.Add([]byte(mail(testHeader, "Hello", "a.txt", "content")), true)
	f.Add([]byte(testHeader+"Content-Type: text/html\n\n<p>Hello & bye"), false)
	f.Add([]byte("To: "+strings.Repeat("a@b.c, ", 3000)+"\n\nx"), true)
	f.Add([]byte("Subject: "+strings.Repeat("=?utf-8?q?=01=E2=80=A8?= ", 2000)+"\n\n"), false)
	f.Add([]byte("References: "+strings.Repeat("<a@b> ", 5000)+"\n\n"), false)
	f.Add([]byte("Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nFinal-Recipient: rfc822; a@b.c\nAction: failed\nStatus: 5.1.1\n\n--b--\n"), true)
	f.Add([]byte{}, false)
	f.Fuzz(func(t *testing.T, raw []byte, keep bool) {
		m := parse.Parse(raw, parse.Limits{})
		d := testDelivery()
		d.Raw, d.KeepRaw = raw, keep
		lim := Limits{EventBytes: minEventBytes, InlineBytes: 100}
		ev := New(m, d, lim)
		if out := validate(t, ev); len(out) > minEventBytes {
			t.Errorf("%d bytes", len(out))
		}
		provePuts(t, ev)
		if again := New(parse.Parse(raw, parse.Limits{}), d, lim); again.Key != ev.Key || again.ID != ev.ID {
			t.Error("two keys for one mail")
		}
		validate(t, EmailDataFrom(m, raw, Limits{}))
	})
}
