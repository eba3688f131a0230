package publish

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// hostile are mails that a reader with less care takes for ever over, n of
// whatever they are made of.
func hostile(n int) map[string][]byte {
	head := "Content-Type: multipart/mixed; boundary="
	var open, deep, encoded strings.Builder
	for i := range n {
		fmt.Fprintf(&open, "%sb%d\n\n--b%d\n", head, i, i)
		fmt.Fprintf(&deep, "%sb\n\n--b\n", head)
		fmt.Fprintf(&encoded, "Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable\n\n")
	}
	repeat := func(s string) string { return strings.Repeat(s, n) }
	mails := map[string]string{
		"nested":               open.String(),
		"nested, dashes":       open.String() + repeat("--b\n"),
		"nested, one boundary": deep.String(),
		"nested, closed":       deep.String() + repeat("--b--\n"),
		"mails in mails":       repeat("Content-Type: message/rfc822\n\n"),
		"encoded mails":        encoded.String(),
		"parts":                head + "b\n\n" + repeat("--b\n\nx\n"),
		"parts without blank":  head + "b\n\n" + repeat("--b\nA: b\n"),
		"empty multiparts":     head + "b\n\n" + repeat("--b\n"+head+"c\n\nx\n"),
		"dashes":               head + "b\n\n--b\n\n" + repeat("--\n"),
		"a line of dashes":     head + "b\n\n--b\n\n" + repeat("--"),
		"fields":               repeat("A: b\n") + "\n",
		"known fields":         repeat("Subject: b\nDate:\nMessage-ID:\nContent-Type:\n") + "\n",
		"folds":                "Subject: x\n" + repeat(" y\n"),
		"words":                "Subject: " + repeat("=?a?q?") + "\n\n",
		"words that end":       "Subject: " + repeat("=?a?q?") + "?=" + repeat("=?a?b?x?=") + "\n\n",
		"parameters":           head[:len(head)-9] + repeat(`a="; `) + "\n\nx",
		"quotes":               head[:len(head)-9] + repeat(`"; a=\"`) + "\n\nx",
		"blanks":               "\n" + repeat(" \t") + "\n" + repeat(" ") + "x" + repeat("\r") + "x" + repeat("\n") + "x",
		"one line of base64":   "Content-Transfer-Encoding: base64\n\n" + repeat("AAAA"),
		"padding":              "Content-Transfer-Encoding: base64\n\n" + repeat("AA==!"),
		"escapes":              "Content-Transfer-Encoding: quoted-printable\n\n" + repeat("=41=") + repeat("=\n"),
	}
	made := map[string][]byte{}
	for name, mail := range mails {
		made[name] = []byte(mail)
	}
	return made
}

// TestKeyIsLinear counts how often bytes are looked at.
func TestKeyIsLinear(t *testing.T) {
	for name, raw := range hostile(5000) {
		s := newSplitter(raw)
		s.walk()
		if most := 12*len(raw) + 1000; s.looked > most {
			t.Errorf("%s: %d bytes of a mail of %d were looked at, want at most %d", name, s.looked, len(raw), most)
		}
	}
}

// TestKeyKeepsNoCopy: a mail of megabytes is not held a second time.
func TestKeyKeepsNoCopy(t *testing.T) {
	const n = 8 << 20
	head := "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: "
	for name, mail := range map[string]string{
		"text":             "\n" + strings.Repeat("a line of text \n", n/16),
		"base64":           "Content-Type: a/b\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat("QUJDREVGR0hJSktM\n", n/17),
		"one line":         "Content-Type: a/b\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat("QUJDREVGR0hJSktM", n/16),
		"quoted-printable": "Content-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("=41=\n", n/5),
		"escapes":          "Content-Transfer-Encoding: quoted-printable\n\n" + strings.Repeat("=41", n/3),
		"blanks":           "\n" + strings.Repeat(" ", n) + "x",
		"no boundary":      head + "8bit\n\n" + strings.Repeat("--c\n", n/4),
	} {
		raw := []byte(mail)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		Identify(raw)
		runtime.ReadMemStats(&after)
		if got := after.TotalAlloc - before.TotalAlloc; got > 256<<10 {
			t.Errorf("%s: %d bytes were allocated for a mail of %d", name, got, len(raw))
		}
	}
}

func FuzzIdentify(f *testing.F) {
	for _, raw := range hostile(3) {
		f.Add(raw)
	}
	f.Add([]byte(keyHeader + "\nx\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := bytes.Clone(raw)
		id := Identify(raw)
		if !bytes.Equal(raw, before) {
			t.Fatal("the mail was changed")
		}
		if again := Identify(raw); id != again || len(id.Key) != 32 || len(id.HeaderKey) != 32 || len(id.HeaderPrint) != 64 {
			t.Fatalf("%+v, then %+v", id, again)
		}
		s := newSplitter(raw)
		_, body, _ := s.header(0, true)
		short := IdentifyHeader(raw[:body])
		if short.Key, short.V1Key = id.Key, ""; short != id {
			t.Fatalf("%+v of the header, %+v of the mail", short, id)
		}
		s = newSplitter(raw)
		if s.walk(); s.looked > 12*len(raw)+1000 {
			t.Fatalf("%d bytes of a mail of %d were looked at", s.looked, len(raw))
		}
	})
}

func BenchmarkIdentify(b *testing.B) {
	text := keyHeader + "\n" + strings.Repeat("A line of an ordinary mail.\n", 60)
	both := keyHeader + "Content-Type: multipart/mixed; boundary=bb\n\n--bb\n\n" + text +
		"--bb\nContent-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n" + strings.Repeat(strings.Repeat("QUJD", 19)+"\n", 13_000) + "--bb--\n"
	for name, mail := range map[string]string{"text": text, "file": both} {
		raw := []byte(strings.ReplaceAll(mail, "\n", "\r\n"))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				Identify(raw)
			}
		})
	}
}

// TestDecodingInPieces: where a piece of base64 ends makes no other bytes, whatever
// stands in between.
func TestDecodingInPieces(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2)) // to be the same each time
	for range 50 {
		src := bytes.Repeat([]byte("QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2xtbm9wcXJzdHV2d3h5\n"), 2*decoded/72)
		for range rnd.IntN(20) {
			at := decoded - 200 + rnd.IntN(400)
			src = slices.Insert(src, at, []byte("=!\n \x00A")[rnd.IntN(6)])
		}
		var whole bytes.Buffer
		decode(inBase64, src, &whole)
		var one base64Decoder
		var single []byte
		for i := range src {
			single = one.append(single, src[i:i+1])
		}
		if single = one.end(single); !bytes.Equal(whole.Bytes(), single) {
			t.Fatalf("%d bytes, and %d one by one", whole.Len(), len(single))
		}
	}
}
