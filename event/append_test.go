package event

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"imapsync/parse"
)

// standard is v as encoding/json writes it, which appendJSON is held to.
func standard(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func holdToStandard(t *testing.T, ev *Event) {
	t.Helper()
	want, wantErr := standard(ev)
	got, err := ev.appendJSON([]byte("before"))
	if wantErr != nil || err != nil {
		if (wantErr == nil) != (err == nil) {
			t.Errorf("error %v, that of encoding/json %v", err, wantErr)
		}
		return
	}
	if diff := cmp.Diff("before"+want, string(got)); diff != "" {
		t.Error(diff)
	}
}

// filler sets fields: all of them, or at random when there is a source. A kind
// that it does not know fails the test: appendJSON may not know it either.
type filler struct {
	t       *testing.T
	random  *rand.Rand
	strings []string
	times   []time.Time
	count   int
}

func (f *filler) size() int {
	if f.random != nil {
		return f.random.IntN(4)
	}
	return 2
}

func (f *filler) fill(at string, v reflect.Value) {
	f.count++
	if f.random != nil && v.Kind() != reflect.Struct && f.random.IntN(3) == 0 {
		return // zero
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(f.times[f.count%len(f.times)]))
	case v.Kind() == reflect.Struct:
		for field, value := range v.Fields() {
			if field.IsExported() {
				f.fill(at+"."+field.Name, value)
			}
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(at, v.Elem())
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), f.size(), 8))
		for i := range v.Len() {
			f.fill(at, v.Index(i))
		}
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 * f.size() * f.size() * f.size() {
			name, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.fill(at, name)
			f.fill(at, value)
			v.SetMapIndex(name, value)
		}
	case v.Kind() == reflect.String:
		v.SetString(f.strings[f.count%len(f.strings)] + fmt.Sprint(f.count))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt([]int64{1, math.MaxInt64, math.MinInt64}[f.count%3])
	case v.CanUint():
		v.SetUint(math.MaxUint64 >> (64 - v.Type().Bits()))
	default:
		f.t.Fatalf("%s is a %s: teach appendJSON and this test", at, v.Type())
	}
}

var oddTimes = []time.Time{
	testTime, time.Unix(0, 0), time.Unix(1, 0).UTC(), time.Unix(1, 1).UTC(), time.Unix(1, 120_000_000).UTC(),
	time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.FixedZone("", -23*3600-59*60)),
}

var oddStrings = []string{
	"", "plain", "quoted \"and\" \\ back", "<html> & 'more'", "\n\r\t\b\f\x00\x01\x1f\x7f", "Größe – “сто” 😀",
	"\u2028\u2029\u2027\u202a", "\ufffd", "\xff", "a\xe2\x80", "\xe2\x80\xa8\xe2", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf\xe2\x28\xa1",
}

func TestAppendJSON(t *testing.T) {
	t.Run("zero", func(t *testing.T) { holdToStandard(t, new(Event)) })
	t.Run("full", func(t *testing.T) { holdToStandard(t, fullEvent()) })
	t.Run("every field", func(t *testing.T) {
		f := filler{t: t, strings: []string{"s"}, times: oddTimes[:1]}
		ev := new(Event)
		f.fill("event", reflect.ValueOf(ev).Elem())
		holdToStandard(t, ev)
	})
	t.Run("empty", func(t *testing.T) { // not nil
		ev := &Event{Payload: Payload{EmailData: EmailData{
			To: []Address{}, Cc: []Address{}, Attachments: []Attachment{{Content: []byte{}}}, References: []string{}, Headers: map[string]string{},
			RawMIME: new(RawMIME), IMAP: new(IMAP), Bounce: new(Bounce), Calendar: new(Calendar), Reply: new(Reply), Defects: []Defect{{}},
		}}}
		holdToStandard(t, ev)
	})
	t.Run("at random", func(t *testing.T) {
		f := filler{t: t, random: rand.New(rand.NewPCG(1, 2)), strings: oddStrings, times: oddTimes}
		for range 500 {
			ev := new(Event)
			f.fill("event", reflect.ValueOf(ev).Elem())
			holdToStandard(t, ev)
		}
	})
	t.Run("a small mail", func(t *testing.T) {
		raw := smallMail()
		d := testDelivery()
		d.Raw, d.KeepRaw = raw, true
		holdToStandard(t, New(parse.Parse(raw, parse.Limits{}), d, Limits{}))
	})
}

func TestAppendJSONRefusesTimes(t *testing.T) {
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
			ev := numbered(i, Limits{})
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

// TestAppendString has each byte at each place of a word and its neighbours.
func TestAppendString(t *testing.T) {
	hold := func(s string) {
		t.Helper()
		want, err := standard(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendString(nil, s)); got != want {
			t.Errorf("%q is %s, want %s", s, got, want)
		}
		if n := jsonLen(s) + 2; n < len(want) || n > len(want) && utf8.ValidString(s) {
			t.Errorf("the length of %q is %d, want %d", s, n, len(want))
		}
	}
	for c := range 256 {
		for before := range 18 {
			for _, after := range []int{0, 1, 9} {
				hold(strings.Repeat("a", before) + string([]byte{byte(c)}) + strings.Repeat("b", after))
				hold(strings.Repeat("a", before) + "\u2028" + string([]byte{byte(c)}) + strings.Repeat("\"", after))
			}
		}
	}
	for first := utf8.RuneSelf; first < 256; first++ {
		for second := range 256 {
			for _, after := range []string{"", "a", "\x80", "\xbf\x80"} {
				hold(string([]byte{byte(first), byte(second)}) + after)
			}
		}
	}
	for _, a := range oddStrings {
		for _, b := range oddStrings {
			hold(a + b)
		}
	}
}

// FuzzAppendJSON: whatever the strings and whichever fields are set, the event
// is written as encoding/json writes it.
func FuzzAppendJSON(f *testing.F) {
	for i, s := range oddStrings {
		f.Add(s, uint64(i), int64(i), int64(i))
	}
	f.Fuzz(func(t *testing.T, s string, seed uint64, sec, nsec int64) {
		random := rand.New(rand.NewPCG(seed, 0))
		strs := make([]string, 8)
		for i := range strs {
			from := random.IntN(len(s) + 1)
			strs[i] = s[from : from+random.IntN(len(s)+1-from)]
		}
		fill := filler{t: t, random: random, strings: append(strs, s), times: []time.Time{time.Unix(sec, nsec).UTC(), testTime}}
		ev := new(Event)
		fill.fill("event", reflect.ValueOf(ev).Elem())
		holdToStandard(t, ev)
		want, err := standard(s)
		if n := jsonLen(s) + 2; err != nil || n < len(want) || n > len(want) && utf8.ValidString(s) {
			t.Errorf("the length of %q is %d, want that of %s", s, n, want)
		}
	})
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

func BenchmarkAppendString(b *testing.B) {
	buf := make([]byte, 0, 64*kib)
	for name, s := range map[string]string{
		"text":     strings.Repeat("A line of an ordinary mail, as people write them all day.\n", 40),
		"HTML":     strings.Repeat("<p class=\"line\">A <b>line</b> of an ordinary mail</p>\n", 40),
		"Cyrillic": strings.Repeat("Съешь же ещё этих мягких булок\n", 40),
		"Chinese":  strings.Repeat("我们的产品将于明天发货，谢谢您的耐心等待。\n", 40),
		"short":    "normal",
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			for b.Loop() {
				appendString(buf, s)
			}
		})
	}
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
			if _, err := marshal(ev); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("message", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := message(ev); err != nil {
				b.Fatal(err)
			}
		}
	})
}
