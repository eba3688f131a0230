package parse

import "testing"

func TestDecodeWords(t *testing.T) {
	tests := []struct{ in, hint, want string }{
		{in: "plain", want: "plain"},
		{in: "fold\r\n ed", want: "fold ed"},
		{in: "=?utf-8?q?caf=C3=A9?=", want: "café"},
		{in: "=?UTF-8?B?Y2Fmw6k=?=", want: "café"},
		{in: "=?UTF-8?B?Y2Fmw6k?=", want: "café"}, // no padding
		{in: "=?utf-8?q?a?= =?utf-8?q?b?=", want: "ab"},
		{in: "=?utf-8?q?a?=\r\n\t=?utf-8?q?b?=", want: "ab"},
		{in: "=?utf-8?q?a?= b =?utf-8?q?c?=", want: "a b c"},
		{in: "=?utf-8?b?4oI=?= =?utf-8?b?rA==?=", want: "€"}, // a character in two words
		{in: "=?utf-8?q?with spaces_and=20such?=", want: "with spaces and such"},
		{in: "=?iso-8859-1?q?=93x=94?=", want: "“x”"},
		{in: "=?utf-8*de?q?x?=", want: "x"}, // RFC 2231 language
		{in: "x=?utf-8?q?y?=z", want: "xyz"},
		{in: "=?utf-8?q?", want: "=?utf-8?q?"},
		{in: "=?utf-8?x?y?=", want: "=?utf-8?x?y?="},
		{in: "=?utf-8?q??=", want: ""},
		{in: "=?utf-8?q?=?=", want: "="},
		{in: "=?utf-8?q?a=0D=0Ab?=", want: "a b"},
		{in: "caf\xe9", want: "café"},
		{in: "\xd0\xd2\xc9", hint: "koi8-r", want: "при"},
		{in: "при", hint: "koi8-r", want: "при"},
		{in: "a\x00b\x1bc", want: "abc"},
	}
	for _, tt := range tests {
		if got := decodeWords([]byte(tt.in), tt.hint); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}
