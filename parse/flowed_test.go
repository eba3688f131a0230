package parse

import "testing"

func TestUnflow(t *testing.T) {
	tests := []struct {
		in    string
		delSp bool
		want  string
	}{
		{"one \ntwo\nthree\n", false, "one two\nthree\n"},
		{"one \ntwo", false, "one two"},
		{"one \n", false, "one \n"},
		{"日本 \n語\n", true, "日本語\n"},
		{"> quoted \n> text\nnew \nline\n", false, "> quoted text\nnew line\n"},
		{">> a \n> b\n", false, ">> a \n> b\n"},
		{" >no quote\n  two\n", false, ">no quote\n two\n"},
		{"text \n-- \nname \nmore\n", false, "text \n-- \nname more\n"},
		{"", false, ""}, {"\n\n", false, "\n\n"}, {"a b\n\nc\n", false, "a b\n\nc\n"},
	}
	for _, tt := range tests {
		if got := string(unflow([]byte(tt.in), tt.delSp)); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.in, got, tt.want)
		}
	}
}
