package publish

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imapsync/event"
	"imapsync/internal/contract"
	"imapsync/parse"
)

const (
	testTenant   = "8a1c1b52-6a4e-4a0e-9d0f-1d2c3b4a5f60"
	testProvider = "7f3e2d1c-0b9a-4877-a655-443322110000"
)

var testTime = time.Date(2026, 3, 4, 5, 6, 7, 890_123_456, time.FixedZone("", 3600))

func testDelivery() Delivery {
	return Delivery{
		Tenant: testTenant, ProviderID: testProvider, InboundDefaultsID: "3d5c1c9e-0000-4000-8000-000000000001",
		Folder: "INBOX", UID: 12, UIDValidity: 34, InternalDate: testTime, OccurredAt: testTime.Add(time.Minute),
	}
}

// newMail parses raw and makes its event, which is held against the schema.
func newMail(t testing.TB, raw string, d Delivery, lim Limits) (*Mail, *parse.Message) {
	t.Helper()
	raw = strings.ReplaceAll(raw, "\n", "\r\n")
	m := parse.Parse([]byte(raw), parse.Limits{})
	d.Raw = []byte(raw)
	ev := New(m, d, lim)
	validate(t, ev)
	return ev, m
}

// mail writes a mail with text and files: "name" to its content.
func mail(header, text string, files ...string) string {
	var b strings.Builder
	b.WriteString(header)
	b.WriteString("MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=bb\n\n--bb\nContent-Type: text/plain; charset=utf-8\n\n" + text + "\n")
	for i := 0; i+1 < len(files); i += 2 {
		fmt.Fprintf(&b, "--bb\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=%q\n\n%s\n", files[i], files[i+1])
	}
	b.WriteString("--bb--\n")
	return b.String()
}

const testHeader = "Message-ID: <1@Example.ORG>\nDate: Wed, 04 Mar 2026 06:06:00 +0100\nFrom: Ada <ada@Example.org>\nTo: Desk <desk@example.com>\nSubject: A question\n"

// fullEvent has every field set.
func fullEvent() *event.Event {
	sum := strings.Repeat("0123456789abcdef", 4)
	blob := &event.Blob{Store: "nats", Bucket: "imap-mail", Key: BlobKey(testTenant, testProvider, sum), Size: 7}
	at := utc(testTime)
	return &event.Event{
		ID: event.ID(testTenant, testProvider, "k"), Type: event.Type, Timestamp: at, Key: strings.Repeat("ab", 16),
		Payload: event.Payload{TenantID: testTenant, Tenant: testTenant, OccurredAt: at, ProviderID: testProvider, EmailData: event.EmailData{
			ID: "1@example.org", Provider: "imap", ProviderID: testProvider, Tenant: testTenant, ReceivedAt: at,
			From: event.Address{Email: "ada@example.org", Name: "Ada"}, To: []event.Address{{Email: "a@b.c", Name: "n"}},
			Cc: []event.Address{{Email: "a@b.c", Name: "n"}}, Bcc: []event.Address{{Email: "a@b.c", Name: "n"}}, ReplyTo: []event.Address{{Email: "a@b.c", Name: "n"}},
			Subject: "s", Body: event.Body{Text: "t", HTML: "<p>", TextBlob: blob, HTMLBlob: blob},
			Attachments: []event.Attachment{{ID: "2", Name: "n", ContentType: "a/b", Size: 7, ContentID: "c", IsInline: true, SHA256: sum, Blob: blob, Content: []byte("content")}},
			ThreadID:    "t", References: []string{"r"}, InReplyTo: "i", Headers: map[string]string{"subject": "s"},
			MessageSize: 99, Importance: "high", Sensitivity: "normal", RawMIME: &event.RawMIME{Blob: *blob},
			IngressSkipReasons: []event.SkipReason{{Type: "attachment", Reason: event.SkipAttachmentCount, AttachmentID: "3", AttachmentName: "m", Size: 1, Cap: 1}},
			IMAP:               &event.IMAP{Folder: "INBOX", UID: 12, UIDValidity: 9007199254740993, InternalDate: at, UIDValidityText: "9007199254740993"}, InboundDefaultsID: "d",
			SameMessageIDAs: event.ID(testTenant, testProvider, "before"),
			AutoSubmitted:   "no", Recipient: "r@b.c", Security: "smime-signed",
			Bounce:   &event.Bounce{FinalRecipient: "f", Action: "failed", Status: "5.1.1", Diagnostic: "d", OriginalMessageID: "o"},
			Calendar: &event.Calendar{Method: "REQUEST", UID: "u"}, Reply: &event.Reply{Text: "r", Strategy: "s", Confidence: "low"},
			Defects: []event.Defect{{Code: "c", Detail: "d"}},
		}},
	}
}

// UIDVALIDITY of more digits than floating point keeps is there in digits too.
func TestWideUIDValidity(t *testing.T) {
	for validity, want := range map[uint64]string{
		34: "", 1713632002544: "", maxExact: "", maxExact + 1: "9007199254740993", 1<<63 - 1: "9223372036854775807",
	} {
		d := testDelivery()
		d.UIDValidity = validity
		ev, _ := newMail(t, "From: a@b.c\n\ntext\n", d, Limits{})
		if got := ev.Payload.EmailData.IMAP; got.UIDValidity != validity || got.UIDValidityText != want {
			t.Errorf("%d: %+v, want %q", validity, got, want)
		}
	}
}

func TestFullEventIsFull(t *testing.T) {
	var walk func(at string, v reflect.Value)
	walk = func(at string, v reflect.Value) {
		switch {
		case v.Kind() == reflect.Pointer && !v.IsNil():
			walk(at, v.Elem())
		case v.Kind() == reflect.Slice && v.Len() > 0 && v.Index(0).Kind() == reflect.Struct:
			walk(at+"[0]", v.Index(0))
		case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
			for field, value := range v.Fields() {
				if field.IsExported() { // the others are not in the JSON
					walk(at+"."+field.Name, value)
				}
			}
		case v.IsZero() && v.Kind() != reflect.Bool:
			t.Errorf("%s is not set", at)
		}
	}
	walk("event", reflect.ValueOf(fullEvent()))
	validate(t, fullEvent())
}

var compiled = sync.OnceValues(func() (*contract.Contract, error) { return contract.New(event.Schema) })

// validate holds v, a *Mail, an *Event or an EmailData, against the schema.
func validate(t testing.TB, v any) []byte {
	t.Helper()
	c, err := compiled()
	if err != nil {
		t.Fatal(err)
	}
	var data []byte
	hold := c.EmailData
	if mail, ok := v.(*Mail); ok {
		v = mail.Event
	}
	if ev, ok := v.(*event.Event); ok {
		hold = c.Event
		data, err = marshal(ev)
	} else {
		data, err = json.Marshal(v)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := hold(data); err != nil {
		t.Errorf("against the schema: %v\n%.2000s", err, data)
	}
	if bytes.Contains(data, []byte(":null")) {
		t.Errorf("a null in %.2000s", data)
	}
	return data
}

func TestNewMapsTheMail(t *testing.T) {
	d := testDelivery()
	d.KeepRaw = true
	ev, m := newMail(t, mail(testHeader+"X-A: one\nX-B: b\nX-A: two\n", "Hello", "a.txt", "content"), d, Limits{})
	if len(m.Attachments) != 1 {
		t.Fatalf("%d attachments", len(m.Attachments))
	}
	data := ev.Payload.EmailData
	sum := "ed7002b439e9ac845f22357d822bac1444730fbdb6016d3ec9432297b9ec9f73"
	if diff := cmp.Diff([]event.Attachment{{
		ID: m.Attachments[0].ID, Name: "a.txt", ContentType: "application/octet-stream", Size: 7, SHA256: sum,
		Blob: &event.Blob{Store: "nats", Bucket: "imap-mail", Key: testTenant + "/" + testProvider + "/" + sum},
	}}, data.Attachments); diff != "" {
		t.Error(diff)
	}
	if data.Headers["x-a"] != "one\ntwo" || data.Headers["x-b"] != "b" {
		t.Errorf("headers %q", data.Headers)
	}
	if want := time.Date(2026, 3, 4, 4, 6, 7, 890_000_000, time.UTC); !data.ReceivedAt.Equal(want) || !data.IMAP.InternalDate.Equal(want) {
		t.Errorf("receivedAt %v, internalDate %v, want %v", data.ReceivedAt, data.IMAP.InternalDate, want)
	}
	if data.RawMIME == nil || data.RawMIME.Blob.Size != data.MessageSize {
		t.Errorf("rawMime %+v, messageSize %d", data.RawMIME, data.MessageSize)
	}
	if len(ev.Key) != 32 || ev.ID != event.ID(testTenant, testProvider, ev.Key) || data.ID != "1@Example.ORG" && data.ID != "1@example.org" {
		t.Errorf("key %s, id %s, emailData.id %s", ev.Key, ev.ID, data.ID)
	}
	if len(data.Defects) != 0 {
		t.Errorf("defects %v", data.Defects)
	}
	out := string(validate(t, ev))
	for _, want := range []string{`"timestamp":"2026-03-04T04:07:07.89Z"`, `"to":[{"email":"desk@example.com","name":"Desk"}]`, `"imap":{"folder":"INBOX","uid":12,"uidValidity":34`} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in %s", want, out)
		}
	}
}

func TestNewIsAlwaysAnEvent(t *testing.T) {
	for name, raw := range map[string]string{
		"empty": "", "newline": "\n", "no header": "\nbody", "only header": "Subject: x\n",
		"no from": "To: a@b.c\n\nx", "nul": "Subject: a\x00b\n\nx\x00y", "bad date": "Date: yesterday\n\nx",
		"far date": "Date: Wed, 04 Mar 99999 06:06:00 +0100\n\nx", "latin1": "Subject: caf\xe9\n\ncaf\xe9",
		"broken multipart": "Content-Type: multipart/mixed; boundary=x\n\n--x\n--x\n\n--x--",
	} {
		t.Run(name, func(t *testing.T) {
			ev, _ := newMail(t, raw, testDelivery(), Limits{})
			if len(ev.Key) != 32 {
				t.Errorf("key %q", ev.Key)
			}
			if !strings.HasPrefix(ev.Payload.EmailData.ID, "imap-hash-") {
				t.Errorf("id %q", ev.Payload.EmailData.ID)
			}
			validate(t, EmailDataFrom(parse.Parse([]byte(raw), parse.Limits{}), []byte(raw), Limits{}))
			d := testDelivery()
			d.InternalDate, d.KeepRaw, d.SameMessageIDAs = time.Time{}, true, event.ID(testTenant, testProvider, ev.Key)
			newMail(t, raw, d, Limits{})
		})
	}
}

func TestReceivedAt(t *testing.T) {
	date := time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC)
	for _, tt := range []struct {
		name, header string
		internal     time.Time
		want         time.Time
		defects      string
	}{
		{"both", "Date: Wed, 04 Mar 2026 06:06:00 +0100\n", testTime, utc(testTime), ""},
		{"no INTERNALDATE", "Date: Wed, 04 Mar 2026 06:06:00 +0100\n", time.Time{}, date, ""},
		{"no Date", "", testTime, utc(testTime), "date_missing"},
		{"bad Date", "Date: soon\n", testTime, utc(testTime), "date_invalid"},
		{"neither", "", time.Time{}, utc(testTime.Add(time.Minute)), "date_missing received_at_unknown"},
		{"INTERNALDATE of year 0", "Date: Wed, 04 Mar 2026 06:06:00 +0100\n", time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC), date, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := testDelivery()
			d.InternalDate = tt.internal
			ev, _ := newMail(t, tt.header+"From: a@b.c\nMessage-ID: <1@x>\n\nx\n", d, Limits{})
			data := ev.Payload.EmailData
			if !data.ReceivedAt.Equal(tt.want) {
				t.Errorf("receivedAt %v, want %v", data.ReceivedAt, tt.want)
			}
			var codes []string
			for _, defect := range data.Defects {
				codes = append(codes, defect.Code)
			}
			if got := strings.Join(codes, " "); got != tt.defects {
				t.Errorf("defects %q, want %q", got, tt.defects)
			}
		})
	}
}

func TestCaps(t *testing.T) {
	raw := mail(testHeader, "x", "a", "aaaa", "big", "bbbbbbbbbbb", "c", "cccc", "d", "dddd", "e", "e")
	for _, tt := range []struct {
		name string
		lim  Limits
		want string
	}{
		{"none", Limits{}, "a big c d e"},
		{"each", Limits{AttachmentBytes: 4}, "a c d e | big attachment_over_max_bytes 11/4"},
		{"total", Limits{AttachmentTotalBytes: 9}, "a c e | big attachment_total_bytes_exceeded 11/9 | d attachment_total_bytes_exceeded 4/9"},
		{"count", Limits{AttachmentCount: 3}, "a big c | d attachment_count_exceeded 4/3 | e attachment_count_exceeded 1/3"},
		{"no attachments", Limits{AttachmentCount: -1, AttachmentBytes: 4}, " | a attachment_count_exceeded 4/0 | big attachment_over_max_bytes 11/4 | c attachment_count_exceeded 4/0 | d attachment_count_exceeded 4/0 | e attachment_count_exceeded 1/0"},
		{"raw", Limits{RawMIMEBytes: 10}, fmt.Sprintf("a big c d e |  raw_mime_over_max_bytes %d/10", len(strings.ReplaceAll(raw, "\n", "\r\n")))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := testDelivery()
			d.KeepRaw = true
			ev, _ := newMail(t, raw, d, tt.lim)
			var names []string
			for _, a := range ev.Payload.EmailData.Attachments {
				names = append(names, a.Name)
			}
			got := strings.Join(names, " ")
			for _, r := range ev.Payload.EmailData.IngressSkipReasons {
				got += fmt.Sprintf(" | %s %s %d/%d", r.AttachmentName, r.Reason, r.Size, r.Cap)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
			if (ev.Payload.EmailData.RawMIME == nil) != (tt.lim.RawMIMEBytes > 0) {
				t.Errorf("rawMime %v", ev.Payload.EmailData.RawMIME)
			}
			for _, a := range ev.Payload.EmailData.Attachments {
				sum := sha256.Sum256([]byte(strings.Repeat(a.Name[:1], int(a.Size))))
				if want := hex.EncodeToString(sum[:]); a.SHA256 != want {
					t.Errorf("sha256 of %s is %s", a.Name, a.SHA256)
				}
			}
		})
	}
}

func TestInlineContent(t *testing.T) {
	ev, _ := newMail(t, mail(testHeader, "x", "small", "1234", "large", "12345"), testDelivery(), Limits{InlineBytes: 4})
	a := ev.Payload.EmailData.Attachments
	if string(a[0].Content) != "1234" || a[1].Content != nil || a[0].Blob == nil {
		t.Errorf("content %q and %q", a[0].Content, a[1].Content)
	}
	if out := string(validate(t, ev)); !strings.Contains(out, `"content":"MTIzNA=="`) {
		t.Error(out)
	}
}

func TestMailThatWasNotDownloaded(t *testing.T) {
	m := parse.Parse([]byte(strings.ReplaceAll(testHeader, "\n", "\r\n")+"\r\n"), parse.Limits{})
	d := testDelivery()
	d.Size, d.KeepRaw = 1_400_000_000, true
	d.Skipped = []event.SkipReason{{Type: "raw_mime", Reason: event.SkipRawMIMEBytes, Size: d.Size, Cap: 50 * mib}}
	d.Defects = []event.Defect{{Code: "message_too_large"}}
	ev := New(m, d, Limits{})
	validate(t, ev)
	data := (*emailData)(&ev.Payload.EmailData)
	if data.RawMIME != nil || len(data.IngressSkipReasons) != 1 || data.MessageSize != d.Size || !data.hasDefect("message_too_large") {
		t.Errorf("%+v", data)
	}
}

// TestJSONSize holds the length that cutting relies on against the truth.
func TestJSONSize(t *testing.T) {
	check := func(what string, ev *event.Event) {
		t.Helper()
		data, err := marshal(ev)
		if err != nil {
			t.Fatal(err)
		}
		if size := jsonSize(ev); size != len(data) {
			t.Errorf("%s: size %d, really %d", what, size, len(data))
		}
		m := &Mail{Event: ev}
		if !m.fits(len(data)) || m.fits(len(data)-1) {
			t.Errorf("%s: %d bytes do not fit themselves, or fit less", what, len(data))
		}
	}
	check("full", fullEvent())
	check("empty", &event.Event{})
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		ev := fullEvent()
		scramble(rnd, reflect.ValueOf(ev).Elem())
		check("random", ev)
	}
}

// scramble fills every string and list with awkward content.
func scramble(rnd *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		pieces := []string{"a", `"`, `\`, "\n", "\x01", "é", "\u2028", "\u2029", "😀", "<&>", "\x7f", "plain text "}
		var b strings.Builder
		for range rnd.IntN(12) {
			b.WriteString(pieces[rnd.IntN(len(pieces))])
		}
		v.SetString(b.String())
	case reflect.Int64:
		v.SetInt(rnd.Int64())
	case reflect.Uint32:
		v.SetUint(uint64(rnd.Uint32()))
	case reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		p.Elem().Set(v.Elem())
		scramble(rnd, p.Elem())
		v.Set(p)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for field, value := range v.Fields() {
			if field.IsExported() {
				scramble(rnd, value)
			}
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes(make([]byte, rnd.IntN(50)))
			return
		}
		n := rnd.IntN(6)
		list := reflect.MakeSlice(v.Type(), n, n)
		for i := range n {
			list.Index(i).Set(v.Index(0))
			scramble(rnd, list.Index(i))
		}
		v.Set(list)
	case reflect.Map:
		m := map[string]string{}
		for i := range rnd.IntN(6) {
			var s string
			scramble(rnd, reflect.ValueOf(&s).Elem())
			m[fmt.Sprint(i, s)] = s
		}
		v.Set(reflect.ValueOf(m))
	}
}

func TestAttachmentsAreReadTwiceAlike(t *testing.T) {
	_, m := newMail(t, mail(testHeader, "x", "a", "aaaa"), testDelivery(), Limits{})
	for range 2 {
		data, err := io.ReadAll(m.Attachments[0].Open())
		if err != nil || string(data) != "aaaa" {
			t.Errorf("%q, %v", data, err)
		}
	}
}

// TestHeaderNames: what is quick for most mail says the same as the plain way.
func TestHeaderNames(t *testing.T) {
	for _, s := range []string{
		"", " ", "a", "a\u00a0b", "Größe", "a\x00b", "a\xffb", "İ\u212a", "X-Größe\xff", "Content-TYPE", "x-mailer", strings.Repeat("Long-", 200),
	} {
		h := headers([]parse.Header{{Name: "Before", Value: "1"}, {Name: s, Value: "2"}, {Name: s, Value: "3"}, {Name: "After", Value: "4"}})
		if diff := cmp.Diff(map[string]string{"before": "1", strings.ToLower(s): "2\n3", "after": "4"}, h); diff != "" {
			t.Errorf("headers of %q: %s", s, diff)
		}
	}
}
