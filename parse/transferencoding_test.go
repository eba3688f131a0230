package parse

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"testing"
	"testing/iotest"
)

func TestTransferDecoding(t *testing.T) {
	tests := []struct {
		name     string
		encoding string
		in, want string
	}{
		{"base64", "base64", "aGVs\r\nbG8=\r\n", "hello"},
		{"any case", " BASE64 ", "aGVsbG8=", "hello"},
		{"no padding", "base64", "aGVsbG8", "hello"},
		{"one character too many", "base64", "aGVsbG8=x", "hello"},
		{"junk between", "base64", "aG!!Vs\x00bG-8=", "hello"},
		{"padded runs joined", "base64", "aGU=bGxv", "hello"},
		{"quoted-printable", "Quoted-Printable", "caf=C3=a9 =\r\nsoft=  \nbreak", "caf\xc3\xa9 softbreak"},
		{"invalid escape", "quoted-printable", "100=% =ZZ =", "100=% =ZZ "},
		{"blanks kept", "quoted-printable", "a  \r\nb", "a  \r\nb"},
		{"uuencode", "x-uuencode", "begin 644 f\n%:&5L;&\\ \n`\nend\nmore", "hello"},
		{"uuencode without begin", "uuencode", "no such thing", ""},
		{"yenc", "x-yenc", "=ybegin line=128 size=5 name=f\n\x92\x8f\x96\x96\x99\n=yend size=5", "hello"},
		{"identity", "8bit", "as it is\r\n", "as it is\r\n"},
		{"unknown", "x-unknown", "as it is", "as it is"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e, _ := transferEncoding([]byte(tt.encoding))
			got, err := io.ReadAll(iotest.OneByteReader(newDecoder(e, []byte(tt.in))))
			if err != nil || string(got) != tt.want {
				t.Errorf("%q, %v; want %q", got, err, tt.want)
			}
			if got := decodeTransfer(e, []byte(tt.in), 1<<20); string(got) != tt.want {
				t.Errorf("at once: %q, want %q", got, tt.want)
			}
		})
	}
}

// TestOddBase64 pins what comes out of base64 that is none: a group ends at its
// padding or at the end, and what is no character of the alphabet is not there.
func TestOddBase64(t *testing.T) {
	for _, tt := range [][2]string{
		{"Q", ""}, {"QU", "A"}, {"QUI", "AB"}, {"QR==", "A"}, {"QUJ=", "AB"}, {"=", ""}, {"=QUJD", "ABC"}, {"==QQ==", "A"},
		{"Q=UJD", "P\x90"}, {"QU=JD", "A$"}, {"QUI==QUI=", "ABAB"}, {"QQ=\r\n=\r\nQUJD", "AABC"}, {"QUJD\rQUJD", "ABCABC"},
		{"QUJDQ", "ABC"}, {"QUJD=", "ABC"}, {"QUJD====QQ", "ABCA"}, {"Q U\tJ\nD", "ABC"}, {"QUJD-_QUJD", "ABCABC"},
		{"QUJD\xffQQ==", "ABCA"}, {"QQ==QQ==QQ", "AAA"}, {"\r\n\r\n", ""}, {"!!!!", ""},
	} {
		if got := string(appendBase64(nil, []byte(tt[0]))); got != tt[1] {
			t.Errorf("%q is %q, want %q", tt[0], got, tt[1])
		}
	}
}

// TestLongBodies holds that nothing is lost where one chunk ends and the next
// begins.
func TestLongBodies(t *testing.T) {
	want := make([]byte, 3*chunk+17)
	for i := range want {
		want[i] = byte(i * 2654435761 >> 11)
	}
	var qp bytes.Buffer
	w := quotedprintable.NewWriter(&qp)
	w.Binary = true
	_, _ = w.Write(want)
	_ = w.Close()
	var b64 bytes.Buffer
	coded := base64.StdEncoding.EncodeToString(want)
	for len(coded) > 0 {
		n := min(len(coded), 1+len(coded)%97)
		b64.WriteString(coded[:n] + "\r\n")
		coded = coded[n:]
	}
	for e, in := range map[encoding][]byte{base64Encoding: b64.Bytes(), quotedPrintable: qp.Bytes(), identity: want} {
		var got bytes.Buffer
		if _, err := io.Copy(&got, newDecoder(e, in)); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("encoding %d: %d bytes, %v; want %d", e, got.Len(), err, len(want))
		}
		if got := decodeTransfer(e, in, 1000); !bytes.Equal(got, want[:1000]) {
			t.Errorf("encoding %d: a limit gives %d bytes", e, len(got))
		}
	}
}

func BenchmarkBase64(b *testing.B) {
	line := bytes.Repeat([]byte("QUJD"), 19)
	src := bytes.Repeat(append(line, "\r\n"...), 600)
	dst := make([]byte, 0, len(src))
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		var s base64Decoder
		dst, _ = s.step(dst[:0], src, true)
	}
}
