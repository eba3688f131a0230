package publish

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imapsync/event"
	"imapsync/parse"
)

// standard is v as encoding/json writes it.
func standard(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

var oddStrings = []string{
	"", "plain", "quoted \"and\" \\ back", "<html> & 'more'", "\n\r\t\b\f\x00\x01\x1f\x7f", "Größe – “сто” 😀",
	"\u2028\u2029\u2027\u202a", "\ufffd", "\xff", "a\xe2\x80", "\xe2\x80\xa8\xe2", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf\xe2\x28\xa1",
}

// TestEventIsPinned: the JSON of an event with every field set, and with
// whatever a string may hold, is byte for byte what it has been.
func TestEventIsPinned(t *testing.T) {
	odd := fullEvent()
	odd.Payload.EmailData.References = oddStrings
	for file, ev := range map[string]*event.Event{"../event/testdata/full.json": fullEvent(), "testdata/odd.json": odd} {
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got, err := marshal(ev)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.TrimSuffix(string(want), "\n"), string(got)); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

func TestMarshalRefusesTimes(t *testing.T) {
	for _, bad := range []time.Time{time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), time.Now().In(time.FixedZone("", 24*3600))} {
		for i := range 4 {
			ev := fullEvent()
			data := &ev.Payload.EmailData
			*[]*time.Time{&ev.Timestamp, &ev.Payload.OccurredAt, &data.ReceivedAt, &data.IMAP.InternalDate}[i] = bad
			if _, err := standard(ev); err == nil {
				t.Fatalf("encoding/json takes %v", bad)
			}
			if _, err := marshal(ev); err == nil {
				t.Errorf("time %d may be %v", i, bad)
			}
		}
	}
}

// TestMarshalAtOnce: no event is written into the buffer of another.
func TestMarshalAtOnce(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			ev := numbered(i, Limits{}).Event
			want, err := standard(ev)
			if err != nil {
				t.Error(err)
				return
			}
			for range 200 {
				if got, err := marshal(ev); err != nil || string(got) != want {
					t.Errorf("%v: %s, want %s", err, got, want)
					return
				}
			}
		})
	}
	wg.Wait()
}

// smallMail is the mail of most mailboxes: 5 KB in text and HTML, with a dozen
// headers.
func smallMail() []byte {
	var b strings.Builder
	b.WriteString("Return-Path: <ada@example.org>\nReceived: from mx1.example.org (mx1.example.org [192.0.2.1])\n\tby mail.example.com with ESMTPS id 4fG7\n" +
		"Received: from client.example.org\n\tby mx1.example.org with ESMTPSA id 9aB2\nDKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s1; b=" +
		strings.Repeat("dG9rZW4", 20) + "\n" + testHeader + "Reply-To: ada@example.org\nX-Mailer: Example 1.0\nMIME-Version: 1.0\n" +
		"Content-Type: multipart/alternative; boundary=alt\n\n--alt\nContent-Type: text/plain; charset=utf-8\n\n")
	for i := range 25 {
		fmt.Fprintf(&b, "Line %d of an ordinary mail, with \"quotes\" and Grüße, as people write.\n", i)
	}
	b.WriteString("--alt\nContent-Type: text/html; charset=utf-8\n\n<html><body>\n")
	for i := range 25 {
		fmt.Fprintf(&b, "<p class=\"line\">Line %d of an ordinary mail &amp; with Grüße, as people write.</p>\n", i)
	}
	b.WriteString("</body></html>\n--alt--\n")
	return []byte(strings.ReplaceAll(b.String(), "\n", "\r\n"))
}

func BenchmarkSmallMail(b *testing.B) {
	raw := smallMail()
	m := parse.Parse(raw, parse.Limits{})
	d := testDelivery()
	d.Raw = raw
	ev := New(m, d, Limits{})
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			New(m, d, Limits{})
		}
	})
	b.Run("marshal", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := marshal(ev.Event); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("message", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ev.message(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
