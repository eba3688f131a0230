package publish

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"imapsync/event"
	"imapsync/parse"
)

// monster is a message with one thing far too long; parse bounds less than a
// broker does.
func monsters() map[string]*parse.Message {
	long := strings.Repeat("long text \"quoted\" <b> ", 200_000) // 4.6 MB
	escaped := strings.Repeat("\x01\u2028", 300_000)
	list := func(n int) []parse.Address {
		out := make([]parse.Address, n)
		for i := range out {
			out[i] = parse.Address{Name: fmt.Sprintf("Name \"%d\"", i), Email: fmt.Sprintf("recipient%d@department.example.com", i)}
		}
		return out
	}
	ids := make([]string, 5000)
	headers := make([]parse.Header, 20_000)
	defects := make([]parse.Defect, 50_000)
	for i := range ids {
		ids[i] = fmt.Sprintf("%d.%s@example.org", i, strings.Repeat("x", 300))
	}
	for i := range headers {
		headers[i] = parse.Header{Name: fmt.Sprintf("X-%d", i), Value: strings.Repeat("v", 100)}
	}
	for i := range defects {
		defects[i] = parse.Defect{Code: "charset_unknown", Detail: strings.Repeat("d", 1000)}
	}
	var files strings.Builder
	files.WriteString("Content-Type: multipart/mixed; boundary=bb\n\n")
	for i := range 1500 {
		fmt.Fprintf(&files, "--bb\nContent-Type: application/%s\nContent-ID: <%s>\nContent-Disposition: attachment; filename=\"%s%d\"\n\nx\n",
			strings.Repeat("t", 200), strings.Repeat("c", 900), strings.Repeat("n", 2000), i)
	}
	attachments := parse.Parse([]byte(files.String()), parse.Limits{}).Attachments
	all := &parse.Message{
		MessageID: strings.Repeat("m", 5000), InReplyTo: strings.Repeat("i", 900), ThreadID: strings.Repeat("\x01", 998), References: ids,
		Subject: escaped, From: parse.Address{Name: escaped, Email: strings.Repeat("\x01", 900) + "@x"}, To: list(10_000), Cc: list(10_000), Bcc: list(10), ReplyTo: list(10_000),
		Text: escaped, HTML: long, Attachments: attachments, Headers: append([]parse.Header{{Name: "Received", Value: long}}, headers...),
		Importance: escaped, Sensitivity: escaped, AutoSubmitted: escaped, Recipient: strings.Repeat("\x01", 998), Security: escaped,
		Bounce:   &parse.Bounce{FinalRecipient: escaped, Action: escaped, Status: escaped, Diagnostic: escaped, OriginalMessageID: strings.Repeat("\x01", 998)},
		Calendar: &parse.Calendar{Method: escaped, UID: strings.Repeat("\x01", 998)}, Reply: &parse.Reply{Text: escaped, Strategy: escaped, Confidence: escaped}, Defects: defects,
	}
	from := parse.Address{Email: "ada@example.org"}
	return map[string]*parse.Message{
		"text":             {From: from, Text: long},
		"html":             {From: from, HTML: strings.Repeat("<p>text</p>", 400_000)},
		"text and html":    {From: from, Text: long, HTML: long},
		"text and reply":   {From: from, Text: long, Reply: &parse.Reply{Text: long, Confidence: "high"}},
		"escapes":          {From: from, Text: escaped, HTML: escaped},
		"one picture":      {From: from, HTML: `<p>Hi</p><img src="data:image/png;base64,` + strings.Repeat("A", 3_000_000) + `">`},
		"recipients":       {From: from, To: list(10_000), Cc: list(10_000), Text: "short"},
		"subject":          {From: from, Subject: long},
		"references":       {From: from, References: ids},
		"headers":          {From: from, Headers: headers},
		"one header":       {From: from, Headers: []parse.Header{{Name: "Subject", Value: "s"}, {Name: "X-Spam-Report", Value: long}}},
		"defects":          {From: from, Defects: defects},
		"attachments":      {From: from, Attachments: attachments},
		"names":            {From: parse.Address{Name: long, Email: "a@b.c"}, ReplyTo: []parse.Address{{Name: long, Email: "a@b.c"}}},
		"diagnostic":       {From: from, Bounce: &parse.Bounce{Diagnostic: long}},
		"everything":       all,
		"sender's address": {From: parse.Address{Email: strings.Repeat("a", 100_000) + "@b.c"}, To: []parse.Address{{Email: strings.Repeat("a", 100_000) + "@b.c"}}},
	}
}

func TestNoMailIsTooLarge(t *testing.T) {
	for name, m := range monsters() {
		for _, payload := range []int64{64 * kib, 256 * kib, mib, 8 * mib} {
			for _, caps := range []Limits{{}, {AttachmentCount: 2000, InlineBytes: kib}} {
				t.Run(fmt.Sprintf("%s/%d/%d", name, payload, caps.AttachmentCount), func(t *testing.T) {
					lim := caps
					lim.EventBytes = eventBytes(payload)
					d := testDelivery()
					d.Raw = []byte("the raw mail")
					d.Folder = strings.Repeat("\x01", 1000)
					ev := New(m, d, lim)
					msg, err := ev.message()
					if err != nil {
						t.Fatal(err)
					}
					if n := int64(len(msg.Data) + headerBytes(msg.Header)); n > payload-brokerReserve {
						t.Errorf("%d bytes, more than %d", n, payload-brokerReserve)
					}
					data := ev.Payload.EmailData
					if len(data.Defects) == 0 {
						t.Error("cut without a defect")
					}
					if name == "everything" {
						if data.RawMIME == nil {
							t.Error("cut without keeping the raw mail")
						}
						return // what parse promises of its fields does not hold for this one
					}
					validate(t, ev)
				})
			}
		}
	}
}

// headerBytes is how long a message's headers are on the wire.
func headerBytes(h map[string][]string) int {
	n := len("NATS/1.0\r\n\r\n")
	for name, values := range h {
		for _, v := range values {
			n += len(name) + len(v) + 4
		}
	}
	return n
}

func TestHeadersKeepToTheirReserve(t *testing.T) {
	ev := &Mail{Event: fullEvent(), tenant: strings.Repeat("t", 128), provider: strings.Repeat("p", 128), key: strings.Repeat("k", 32)}
	msg, err := ev.message()
	if err != nil {
		t.Fatal(err)
	}
	if n := headerBytes(msg.Header); n > headerReserve {
		t.Errorf("%d bytes of headers, more than %d", n, headerReserve)
	}
	for _, bad := range []string{"", "a.b", "a b", "*", ">", "a\r\nb", "é", strings.Repeat("t", 129)} {
		ev.tenant = bad
		if _, err := ev.message(); err == nil {
			t.Errorf("tenant %q was accepted", bad)
		}
	}
}

func TestBodiesAreCutFirstAndKeptWhole(t *testing.T) {
	text := strings.Repeat("ü", 300_000)
	html := strings.Repeat("<p>text &amp; more</p>", 30_000)
	m := &parse.Message{From: parse.Address{Email: "a@b.c"}, Text: text, HTML: html, To: []parse.Address{{Email: "x@y.z"}}, Headers: []parse.Header{{Name: "A", Value: "b"}}}
	ev := New(m, testDelivery(), Limits{})
	out := validate(t, ev)
	if len(out) > 256*kib || len(out) < 200*kib {
		t.Errorf("%d bytes, want a little less than 256 KiB", len(out))
	}
	data := ev.Payload.EmailData
	body := data.Body
	if !strings.HasPrefix(text, body.Text) || !strings.HasPrefix(html, body.HTML) || body.Text == "" || body.HTML == "" {
		t.Error("the bodies are not fronts of the whole")
	}
	if !strings.HasSuffix(body.HTML, ">") && !strings.HasSuffix(body.HTML, "more") && !strings.HasSuffix(body.HTML, "text ") && strings.LastIndexByte(body.HTML, '<') > strings.LastIndexByte(body.HTML, '>') {
		t.Errorf("html ends in %q", body.HTML[len(body.HTML)-20:])
	}
	if body.TextBlob == nil || body.TextBlob.Size != int64(len(text)) || body.HTMLBlob == nil || body.HTMLBlob.Size != int64(len(html)) {
		t.Errorf("blobs %+v %+v", body.TextBlob, body.HTMLBlob)
	}
	if data := (*emailData)(&data); len(data.Defects) < 2 || !data.hasDefect(event.DefectBodyTruncated) || data.hasDefect(event.DefectHeaders) || data.hasDefect(event.DefectRecipients) {
		t.Errorf("defects %v", data.Defects)
	}
	if provePuts(t, ev); len(ev.puts) != 2 {
		t.Fatalf("%d blobs", len(ev.puts))
	}
}

func TestManyRecipientsStayWhenTheBrokerTakesThem(t *testing.T) {
	m := monsters()["recipients"]
	ev := New(m, testDelivery(), Limits{EventBytes: eventBytes(8 * mib)})
	if n := len(ev.Payload.EmailData.To); n != 10_000 {
		t.Errorf("%d of 10000 recipients", n)
	}
}

func TestCutReferencesKeepsRootAndNewest(t *testing.T) {
	data := emailData{References: []string{"root", "a", "b", "c", "d"}}
	data.cutReferences(len(`"root","c","d",`))
	if got := strings.Join(data.References, " "); got != "root c d" {
		t.Errorf("references %q, want root c d", got)
	}
}

func TestClip(t *testing.T) {
	if got := clipped("aü", 2); got != "a" {
		t.Errorf("clipped %q", got)
	}
	if got := clipJSON("a\"bü", 4); got != "a\"b" {
		t.Errorf("clipJSON %q", got)
	}
	for in, want := range map[string]string{
		"<p>a</p><im": "<p>a</p>", "<p>a": "<p>a", "a &am": "a ", "a &amp;": "a &amp;", "<p>a & b and more text": "<p>a & b and more text", "": "",
	} {
		if got := clipHTML(in); got != want {
			t.Errorf("clipHTML(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestClipJSONIsTheLongest: no rune more would have fitted.
func TestClipJSONIsTheLongest(t *testing.T) {
	for _, a := range oddStrings {
		for _, b := range oddStrings {
			s := a + b + a
			for room := range jsonLen(s, 1000) + 2 {
				got := clipJSON(s, room)
				if n := jsonLen(got, 1000); n > room || !strings.HasPrefix(s, got) {
					t.Errorf("%q in %d bytes is %q, of %d", s, room, got, n)
				}
				if rest := s[len(got):]; rest != "" && utf8.ValidString(s) { // of bad UTF-8 it may be less
					_, width := utf8.DecodeRuneInString(rest)
					if more := s[:len(got)+width]; jsonLen(more, 1000) <= room {
						t.Errorf("%q in %d bytes is %q, not %q", s, room, got, more)
					}
				}
			}
		}
	}
}

// TestEveryTextIsBounded: no text of the mail is forgotten, one that a later
// version adds neither.
func TestEveryTextIsBounded(t *testing.T) {
	data := (*emailData)(&fullEvent().Payload.EmailData)
	bounded := map[*string]bool{&data.ID: true, &data.From.Email: true, &data.Subject: true, &data.Body.Text: true, &data.Body.HTML: true, &data.Reply.Text: true}
	for _, ours := range []*string{&data.Provider, &data.ProviderID, &data.Tenant, &data.InboundDefaultsID, &data.IMAP.UIDValidityText} {
		bounded[ours] = true // not the mail's
	}
	data.texts(func(s *string, _ length) { bounded[s] = true })
	var walk func(at string, v reflect.Value)
	walk = func(at string, v reflect.Value) {
		switch {
		case v.Type() == reflect.TypeFor[*event.Blob](), v.Type() == reflect.TypeFor[*event.RawMIME](), v.Type() == reflect.TypeFor[time.Time]():
		case v.Kind() == reflect.Pointer:
			walk(at, v.Elem())
		case v.Kind() == reflect.Struct:
			for field, value := range v.Fields() {
				walk(at+"."+field.Name, value)
			}
		case v.Kind() == reflect.String && !bounded[v.Addr().Interface().(*string)]:
			t.Errorf("%s may be of any length", at)
		}
	}
	walk("emailData", reflect.ValueOf(data).Elem())
}

func BenchmarkNew(b *testing.B) {
	raw := strings.ReplaceAll(mail(testHeader, strings.Repeat("A line of an ordinary mail.\n", 60)), "\n", "\r\n")
	m := parse.Parse([]byte(raw), parse.Limits{})
	d := testDelivery()
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := New(m, d, Limits{}).message(); err != nil {
			b.Fatal(err)
		}
	}
}
