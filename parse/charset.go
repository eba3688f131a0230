package parse

import (
	"bytes"
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	xenc "golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/encoding/unicode/utf32"
)

// charset decodes bytes to UTF-8.
type charset struct {
	name  string
	enc   xenc.Encoding // nil for UTF-8, ASCII, and what x/text does not have
	ascii bool          // ASCII bytes stand for themselves
}

// charsets has the labels of mail, among them those that the WHATWG index does
// not have or has for less. One without a name says nothing.
var charsets = func() map[string]charset {
	byLabel := map[string]charset{}
	add := func(name string, enc xenc.Encoding, ascii bool, labels ...string) {
		for _, label := range labels {
			byLabel[label] = charset{name, enc, ascii}
		}
	}
	add("", nil, true, "", "default", "unknown-8bit", "x-unknown", "unknown", "binary", "8bit", "7bit", "none", "_autodetect", "x-user-defined")
	add("utf-8", nil, true, "utf-8", "utf8")
	add("us-ascii", nil, true, "us-ascii", "ascii", "ansi_x3.4-1968", "iso646-us", "646", "us")
	add("windows-1252", charmap.Windows1252, true, "windows-1252", "cp1252", "cp-1252", "x-windows-1252", "win-1252", "windows1252", "ansi", "x-ansi",
		"iso-8859-1", "iso8859-1", "iso_8859-1", "iso8859_1", "iso88591", "iso-8859", "8859-1", "latin1", "latin-1", "l1")
	add("windows-874", charmap.Windows874, true, "tis-620", "tis620", "windows-874", "cp874", "iso-8859-11")
	add("koi8-r", charmap.KOI8R, true, "koi8-r", "koi8", "koi8r", "cskoi8r")
	add("koi8-u", charmap.KOI8U, true, "koi8-u", "koi8-ru")
	add("macintosh", charmap.Macintosh, true, "macintosh", "mac", "x-mac-roman", "macroman", "x-macroman")
	add("gb18030", simplifiedchinese.GB18030, true, "gb2312", "gbk", "gb_2312-80", "cp936", "ms936", "windows-936", "x-gbk", "gb18030",
		"euc-cn", "euccn", "chinese", "csgb2312", "gb-2312")
	add("hz-gb-2312", simplifiedchinese.HZGB2312, false, "hz-gb-2312", "hz")
	add("big5", traditionalchinese.Big5, true, "big5", "big5-hkscs", "big-5", "cp950", "x-x-big5", "csbig5")
	add("euc-kr", korean.EUCKR, true, "ks_c_5601-1987", "ks_c_5601-1989", "ks_c_5601", "ksc5601", "ksc_5601", "euc-kr", "euckr",
		"cp949", "ms949", "windows-949", "uhc", "korean", "x-windows-949")
	add("iso-2022-kr", nil, false, "iso-2022-kr", "csiso2022kr")
	add("iso-2022-jp", japanese.ISO2022JP, false, "iso-2022-jp", "iso-2022-jp-1", "iso-2022-jp-2", "iso-2022-jp-3", "iso-2022-jp-2004",
		"csiso2022jp", "iso-2022-jp-ms", "cp50220", "cp50221", "cp50222", "jis")
	add("shift_jis", japanese.ShiftJIS, true, "shift_jis", "shift-jis", "sjis", "x-sjis", "cp932", "ms932", "windows-31j", "ms_kanji", "sjis-win", "shiftjis")
	add("utf-7", nil, false, "utf-7", "utf7", "unicode-1-1-utf-7", "x-unicode-1-1-utf-7", "csutf7")
	add("utf-16", nil, false, "utf-16", "utf16", "unicode", "ucs-2", "iso-10646-ucs-2")
	add("utf-16le", unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), false, "utf-16le", "utf16le", "unicodelittle")
	add("utf-16be", unicode.UTF16(unicode.BigEndian, unicode.UseBOM), false, "utf-16be", "utf16be", "unicodebig", "unicodefffe")
	add("utf-32", utf32.UTF32(utf32.BigEndian, utf32.UseBOM), false, "utf-32", "ucs-4", "utf32")
	add("utf-32le", utf32.UTF32(utf32.LittleEndian, utf32.UseBOM), false, "utf-32le")
	return byLabel
}()

// lookupCharset finds a charset by a label as mail writes it. ok is false for
// one that nobody knows.
func lookupCharset(label string) (cs charset, ok bool) {
	if label == "utf-8" || label == "UTF-8" { // nearly all of them
		return charset{name: "utf-8", ascii: true}, true
	}
	label = strings.ToLower(strings.Trim(label, " \t\"'<>;:,.()\\"))
	if i := strings.IndexAny(label, " ;\"'(,\t*"); i > 0 { // "utf-8;format=flowed", RFC 2231 language
		label = label[:i]
	}
	label = strings.TrimPrefix(label, "charset=")
	if cs, found := charsets[label]; found {
		return cs, cs.name != ""
	}
	for _, name := range []string{label, "windows-" + strings.TrimLeft(label, "abcdefghijklmnopqrstuvwxyz-_ "), strings.Replace(label, "iso", "iso-", 1), strings.ReplaceAll(label, "_", "-")} {
		if e, err := htmlindex.Get(name); err == nil && e != xenc.Replacement {
			n, _ := htmlindex.Name(e)
			return charset{name: n, enc: e, ascii: !strings.HasPrefix(n, "utf-16") && !strings.HasPrefix(n, "iso-2022")}, true
		}
		if e, err := ianaindex.MIME.Encoding(name); err == nil && e != nil {
			return charset{name: name, enc: e}, true
		}
	}
	if n, found := strings.CutPrefix(strings.ReplaceAll(label, "-", ""), "cp"); found {
		if e, err := ianaindex.MIME.Encoding("ibm" + n); err == nil && e != nil {
			return charset{name: "ibm" + n, enc: e}, true
		}
	}
	return charset{ascii: true}, false
}

// unlikeUTF8 reports a charset in which text is never valid UTF-8 by chance:
// one that has no bytes above 0x7f, or in which they are single letters. (Not
// so Latin-1, whose accents and signs may be meant to stand together.)
func (cs charset) unlikeUTF8() bool {
	switch cs.name {
	case "iso-2022-jp", "iso-2022-kr", "hz-gb-2312", "utf-7":
		return true
	}
	_, single := cs.enc.(*charmap.Charmap)
	return single && cs.name != "windows-1252"
}

// toUTF8 decodes b, which may be returned itself. A label that lies or that
// nobody knows costs at most some characters.
func (cs charset) toUTF8(b []byte) []byte {
	if cs.ascii && isASCII(b) {
		return b
	}
	if cs.unlikeUTF8() && !isASCII(b) && utf8.Valid(b) {
		return b // the label lies
	}
	switch cs.name {
	case "utf-8":
		return b
	case "utf-7":
		return decodeUTF7(b)
	case "utf-16":
		return decodeUTF16(b)
	case "iso-2022-kr":
		return decodeISO2022KR(b)
	}
	if cs.enc == nil { // ASCII with high bytes, or unknown
		if utf8.Valid(b) {
			return b
		}
		cs.enc = charmap.Windows1252
	}
	return decodeBy(cs.enc, b)
}

// decodeBy returns b itself when it cannot be decoded.
func decodeBy(enc xenc.Encoding, b []byte) []byte {
	out, err := enc.NewDecoder().Bytes(b)
	if err != nil {
		return b
	}
	return out
}

// decodeCharset decodes b by the label's charset.
func decodeCharset(b []byte, label string) string {
	cs, _ := lookupCharset(label)
	out := cs.toUTF8(b)
	if !utf8.Valid(out) {
		out = bytes.ToValidUTF8(out, []byte("\uFFFD"))
	}
	return string(out)
}

// decodeUTF16 takes the byte order from a mark, else from where the zeros are.
func decodeUTF16(b []byte) []byte {
	order := unicode.BigEndian
	zeros := 0
	for i := 1; i < min(len(b), 400); i += 2 {
		if b[i] == 0 {
			zeros++
		}
	}
	if zeros*4 > min(len(b), 400)/2 {
		order = unicode.LittleEndian
	}
	return decodeBy(unicode.UTF16(order, unicode.UseBOM), b)
}

// decodeISO2022KR turns the shifted runs of RFC 1557 into EUC-KR.
func decodeISO2022KR(b []byte) []byte {
	b = bytes.ReplaceAll(b, []byte("\x1b$)C"), nil)
	out := make([]byte, 0, len(b))
	shifted := false
	for _, c := range b {
		switch {
		case c == 0x0e:
			shifted = true
		case c == 0x0f:
			shifted = false
		case c == '\n':
			shifted = false
			out = append(out, c)
		case shifted && c > ' ' && c < 0x7f:
			out = append(out, c|0x80)
		default:
			out = append(out, c)
		}
	}
	return decodeBy(korean.EUCKR, out)
}

// decodeUTF7 decodes RFC 2152.
func decodeUTF7(b []byte) (out []byte) {
	for {
		text, rest, found := bytes.Cut(b, []byte("+"))
		out = append(out, text...)
		if !found {
			return out
		}
		coded := rest[:len(rest)-len(bytes.TrimLeft(rest, base64Alphabet))]
		b = bytes.TrimPrefix(rest[len(coded):], []byte("-"))
		if len(coded) == 0 {
			out = append(out, '+')
			continue
		}
		var units []uint16
		for raw := appendBase64(nil, coded); len(raw) > 1; raw = raw[2:] {
			units = append(units, binary.BigEndian.Uint16(raw))
		}
		out = append(out, string(utf16.Decode(units))...) // x/text takes half a pair and what follows it for one
	}
}

// metaCharset returns the charset an HTML document names for itself.
func metaCharset(b []byte) string {
	b = b[:min(len(b), 4096)]
	for {
		_, rest, found := bytes.Cut(b, []byte("charset"))
		if !found {
			return ""
		}
		b = rest
		if rest, found = bytes.CutPrefix(bytes.TrimLeft(rest, " \t\r\n"), []byte("=")); found {
			rest = bytes.TrimLeft(rest, " \t\r\n\"'")
			if t := token(string(rest[:min(len(rest), 40)])); t != "" {
				return t
			}
		}
	}
}
