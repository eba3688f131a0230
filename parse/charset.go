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
	name   string
	enc    xenc.Encoding       // nil when decode is set or for UTF-8
	decode func([]byte) []byte // for what x/text does not have
	ascii  bool                // ASCII bytes stand for themselves
}

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
	switch label {
	case "utf-8", "utf8":
		return charset{name: "utf-8", ascii: true}, true
	case "us-ascii", "ascii", "ansi_x3.4-1968", "iso646-us", "646", "us":
		return charset{name: "us-ascii", ascii: true}, true
	case "iso-8859-1", "iso8859-1", "latin1", "windows-1252", "cp1252", "iso_8859-1", "l1", "latin-1",
		"iso8859_1", "8859-1", "x-windows-1252", "win-1252", "windows1252", "ansi", "x-ansi", "cp-1252", "iso88591", "iso-8859":
		return charset{name: "windows-1252", enc: charmap.Windows1252, ascii: true}, true
	case "gb2312", "gbk", "gb_2312-80", "cp936", "ms936", "windows-936", "x-gbk", "gb18030", "euc-cn", "euccn", "chinese", "csgb2312", "gb-2312":
		return charset{name: "gb18030", enc: simplifiedchinese.GB18030, ascii: true}, true
	case "ks_c_5601-1987", "ks_c_5601-1989", "ks_c_5601", "ksc5601", "ksc_5601", "euc-kr", "euckr", "cp949", "ms949", "windows-949", "uhc", "korean", "x-windows-949":
		return charset{name: "euc-kr", enc: korean.EUCKR, ascii: true}, true
	case "iso-2022-kr", "csiso2022kr":
		return charset{name: "iso-2022-kr", decode: decodeISO2022KR}, true
	case "iso-2022-jp", "iso-2022-jp-1", "iso-2022-jp-2", "iso-2022-jp-3", "iso-2022-jp-2004", "csiso2022jp", "iso-2022-jp-ms", "cp50220", "cp50221", "cp50222", "jis":
		return charset{name: "iso-2022-jp", enc: japanese.ISO2022JP}, true
	case "shift_jis", "shift-jis", "sjis", "x-sjis", "cp932", "ms932", "windows-31j", "ms_kanji", "sjis-win", "shiftjis":
		return charset{name: "shift_jis", enc: japanese.ShiftJIS, ascii: true}, true
	case "big5", "big5-hkscs", "big-5", "cp950", "x-x-big5", "csbig5":
		return charset{name: "big5", enc: traditionalchinese.Big5, ascii: true}, true
	case "hz-gb-2312", "hz":
		return charset{name: "hz-gb-2312", enc: simplifiedchinese.HZGB2312}, true
	case "utf-7", "utf7", "unicode-1-1-utf-7", "x-unicode-1-1-utf-7", "csutf7":
		return charset{name: "utf-7", decode: decodeUTF7}, true
	case "utf-16", "utf16", "unicode", "ucs-2", "iso-10646-ucs-2":
		return charset{name: "utf-16", decode: decodeUTF16}, true
	case "utf-16le", "utf16le", "unicodelittle":
		return charset{name: "utf-16le", enc: unicode.UTF16(unicode.LittleEndian, unicode.UseBOM)}, true
	case "utf-16be", "utf16be", "unicodebig", "unicodefffe":
		return charset{name: "utf-16be", enc: unicode.UTF16(unicode.BigEndian, unicode.UseBOM)}, true
	case "utf-32", "ucs-4", "utf32":
		return charset{name: "utf-32", enc: utf32.UTF32(utf32.BigEndian, utf32.UseBOM)}, true
	case "utf-32le":
		return charset{name: "utf-32le", enc: utf32.UTF32(utf32.LittleEndian, utf32.UseBOM)}, true
	case "tis-620", "tis620", "windows-874", "cp874", "iso-8859-11":
		return charset{name: "windows-874", enc: charmap.Windows874, ascii: true}, true
	case "koi8-r", "koi8", "koi8r", "cskoi8r":
		return charset{name: "koi8-r", enc: charmap.KOI8R, ascii: true}, true
	case "koi8-u", "koi8-ru":
		return charset{name: "koi8-u", enc: charmap.KOI8U, ascii: true}, true
	case "macintosh", "mac", "x-mac-roman", "macroman", "x-macroman":
		return charset{name: "macintosh", enc: charmap.Macintosh, ascii: true}, true
	case "", "default", "unknown-8bit", "x-unknown", "unknown", "binary", "8bit", "7bit", "none", "_autodetect", "x-user-defined":
		return charset{ascii: true}, false
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
	switch {
	case cs.decode != nil:
		return cs.decode(b)
	case cs.name == "utf-8":
		return b
	case cs.enc == nil: // ASCII with high bytes, or unknown
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
func decodeUTF7(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for len(b) > 0 {
		i := bytes.IndexByte(b, '+')
		if i < 0 {
			return append(out, b...)
		}
		out = append(out, b[:i]...)
		b = b[i+1:]
		n := 0
		for n < len(b) && isBase64[b[n]] {
			n++
		}
		if n == 0 {
			if len(b) > 0 && b[0] == '-' {
				b = b[1:]
			}
			out = append(out, '+')
			continue
		}
		raw := appendBase64(nil, b[:n])
		units := make([]uint16, 0, len(raw)/2)
		for j := 0; j+1 < len(raw); j += 2 {
			units = append(units, binary.BigEndian.Uint16(raw[j:]))
		}
		for _, r := range utf16.Decode(units) {
			out = utf8.AppendRune(out, r)
		}
		b = b[n:]
		if len(b) > 0 && b[0] == '-' {
			b = b[1:]
		}
	}
	return out
}

// metaCharset returns the charset an HTML document names for itself.
func metaCharset(b []byte) string {
	b = b[:min(len(b), 4096)]
	for i := 0; ; {
		j := bytes.Index(b[i:], []byte("charset"))
		if j < 0 {
			return ""
		}
		i += j + len("charset")
		rest := bytes.TrimLeft(b[i:], " \t\r\n")
		if len(rest) > 0 && rest[0] == '=' {
			rest = bytes.TrimLeft(rest[1:], " \t\r\n\"'")
			if t := token(string(rest[:min(len(rest), 40)])); t != "" {
				return t
			}
		}
	}
}
