package parse

import "testing"

func TestCharsets(t *testing.T) {
	tests := []struct{ label, in, want string }{
		{"utf-8", "ä", "ä"}, {"UTF8", "\xff", "\uFFFD"}, {"\"utf-8\"", "ä", "ä"}, {"utf-8;format=flowed", "ä", "ä"},
		{"iso-8859-1", "\x93\xe4\x94", "“ä”"}, {"latin1", "\xc3\xa4", "Ã¤"},
		{"us-ascii", "ä", "ä"}, {"us-ascii", "\xe4", "ä"}, {"", "ä", "ä"}, {"", "\xe4", "ä"}, {"x-klingon", "ä", "ä"}, {"unknown-8bit", "\x80", "€"},
		{"iso-8859-2", "\xb1", "ą"}, {"iso-8859-15", "\xa4", "€"}, {"windows-1251", "\xcf\xf0\xe8", "При"}, {"cp1251", "\xcf", "П"}, {"koi8-r", "\xf0", "П"},
		{"koi8-r", "При", "При"}, {"cp850", "\x84", "ä"}, {"ibm866", "\x8f", "П"}, {"macintosh", "\x8a", "ä"}, {"tis-620", "\xa1", "ก"},
		{"gb2312", "\xd6\xd0\xe9\x46", "中镕"}, {"gbk", "\xd6\xd0", "中"}, {"big5", "\xa4\xa4", "中"}, {"hz-gb-2312", "~{VP~}", "中"},
		{"shift_jis", "\x93\xfa", "日"}, {"cp932", "\x87\x40", "①"}, {"euc-jp", "\xc6\xfc", "日"}, {"iso-2022-jp", "\x1b$BF|\x1b(B", "日"}, {"iso-2022-jp", "日", "日"},
		{"ks_c_5601-1987", "\xc7\xd1", "한"}, {"euc-kr", "\xc7\xd1", "한"}, {"iso-2022-kr", "\x1b$)C\x0eGQ\x0f!", "한!"},
		{"utf-7", "+ZeU- +- a", "日 + a"}, {"utf-7", "+2ABl5Q-", "\uFFFD日"}, {"utf-16", "\xff\xfe\xe5\x65", "日"}, {"utf-16", "\xfe\xff\x65\xe5", "日"}, {"utf-16", "a\x00b\x00", "ab"}, {"utf-16le", "\xe5\x65", "日"},
	}
	for _, tt := range tests {
		if got := decodeCharset([]byte(tt.in), tt.label); got != tt.want {
			t.Errorf("%s %q: %q, want %q", tt.label, tt.in, got, tt.want)
		}
	}
}
