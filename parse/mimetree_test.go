package parse

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// tree writes the tree of parts as one line a part: path, type, body.
func tree(raw string, lim Limits) (out []string, codes []string) {
	ds := &defects{}
	var visit func(p *part)
	visit = func(p *part) {
		line := p.path + " " + p.typ.String()
		if len(p.children) == 0 {
			line += " " + string(p.body)
		}
		out = append(out, strings.Trim(line, " "))
		for _, c := range p.children {
			visit(c)
		}
	}
	visit(walk([]byte(raw), lim.withDefaults(), ds))
	for _, d := range ds.list {
		codes = append(codes, d.Code)
	}
	return out, codes
}

func TestWalk(t *testing.T) {
	mixed := "Content-Type: multipart/mixed; boundary=b\n\n"
	tests := []struct {
		name, in string
		lim      Limits
		want     []string
		defects  []string
	}{
		{name: "one part", in: "A: b\n\nbody\n", want: []string{"text/plain body\n"}},
		{name: "two parts", in: mixed + "preamble\n--b\n\none\n--b\nContent-Type: a/b\n\ntwo\n--b--\nepilogue",
			want: []string{"multipart/mixed", "1 text/plain one", "2 a/b two"}},
		{name: "CRLF and blanks behind the boundary", in: "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b \t\r\n\r\none\r\n--b-- \r\n",
			want: []string{"multipart/mixed", "1 text/plain one"}},
		{name: "a longer line is no boundary", in: mixed + "--b\n\n--bc\n--b\n\ntwo\n--b--", want: []string{"multipart/mixed", "1 text/plain --bc", "2 text/plain two"}},
		{name: "the outer boundary ends the inner multipart", in: "Content-Type: multipart/mixed; boundary=o\n\n--o\nContent-Type: multipart/alternative; boundary=i\n\n--i\n\nx\n--o\n\ny\n--o--",
			want: []string{"multipart/mixed", "1 multipart/alternative", "1.1 text/plain x", "2 text/plain y"}, defects: []string{"multipart_unclosed"}},
		{name: "a boundary inside a part's header", in: mixed + "--b\nContent-Type: a/b\n--b\n\ntwo\n--b--", want: []string{"multipart/mixed", "1 a/b", "2 text/plain two"}},
		{name: "a header without a blank line", in: "A: b\nbody\n", want: []string{"text/plain"}, defects: []string{"header_stray_line"}},
		{name: "unclosed", in: mixed + "--b\n\none", want: []string{"multipart/mixed", "1 text/plain one"}, defects: []string{"multipart_unclosed"}},
		{name: "named wrongly", in: mixed + "--c\nContent-Type: a/b\n\none\n--c--", want: []string{"multipart/mixed", "1 a/b one"}, defects: []string{"boundary_guessed"}},
		{name: "not named", in: "Content-Type: multipart/mixed\n\n--c\nContent-Type: a/b\n\none\n--c--", want: []string{"multipart/mixed", "1 a/b one"}, defects: []string{"boundary_guessed"}},
		{name: "no boundary at all", in: "Content-Type: multipart/mixed\n\nwords\n", want: []string{"text/plain words\n"}, defects: []string{"boundary_missing"}},
		{name: "no boundary, a header", in: "Content-Type: multipart/mixed\n\nContent-Type: a/b\n\nx", want: []string{"multipart/mixed", "1 a/b x"}, defects: []string{"boundary_missing"}},
		{name: "closed at once", in: mixed + "words\n--b--\n", want: []string{"text/plain words"}, defects: []string{"multipart_empty"}},
		{name: "blank lines first", in: "\n\nA: b\nContent-Type: a/b\n\nx", want: []string{"a/b x"}},
		{name: "mbox line", in: "From a@b Mon\nContent-Type: a/b\n\nx", want: []string{"a/b x"}},
		{name: "field broken before its colon", in: "Content-Type\n : a/b\nX: y\n\nx", want: []string{"a/b x"}},
		{name: "nesting", lim: Limits{Nesting: 1}, in: mixed + "--b\nContent-Type: multipart/mixed; boundary=i\n\n--i\n\nx\n--i--\n--b--",
			want: []string{"multipart/mixed", "1 multipart/mixed --i\n\nx\n--i--"}, defects: []string{"nesting_too_deep"}},
		{name: "parts", lim: Limits{Parts: 2}, in: mixed + "--b\n\n1\n--b\n\n2\n--b--", want: []string{"multipart/mixed", "1 text/plain 1", "2 text/plain 2\n--b--"},
			defects: []string{"too_many_parts", "multipart_unclosed"}},
		{name: "header bytes", lim: Limits{HeaderBytes: 20}, in: "A: " + strings.Repeat("x", 40) + "\nContent-Type: a/b\n\nx", want: []string{"text/plain x"}, defects: []string{"header_too_long"}},
		{name: "nothing", in: "", want: []string{"text/plain"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, codes := tree(tt.in, tt.lim)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			if diff := cmp.Diff(tt.defects, codes); diff != "" {
				t.Errorf("defects -want +got\n%s", diff)
			}
		})
	}
}

// TestDashLine tries every short text of what matters.
func TestDashLine(t *testing.T) {
	texts := []string{""}
	for range 9 {
		for _, s := range texts {
			for _, s := range []string{s, strings.Repeat("x-", 8) + s, strings.Repeat("x-", 9) + s} {
				want := strings.Index("\n"+s, "\n--")
				if got := dashLine([]byte(s)); got != want {
					t.Fatalf("%q: %d, want %d", s, got, want)
				}
			}
		}
		longer := make([]string, 0, 3*len(texts))
		for _, s := range texts {
			longer = append(longer, s+"-", s+"\n", s+"x")
		}
		texts = longer
	}
}

// BenchmarkDashLine looks for a boundary line where there is none.
func BenchmarkDashLine(b *testing.B) {
	for _, bb := range []struct{ name, line string }{
		{"base64", strings.Repeat("QUJD", 19) + "\r\n"},
		{"prose", "Well-known words, a day-to-day text - with some dashes in each of its lines,\r\n"},
		{"rules", " " + strings.Repeat("-", 75) + "\r\n"},
		{"short", "-\r\n"},
	} {
		text := []byte(strings.Repeat(bb.line, 1<<20/len(bb.line)))
		b.Run(bb.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				dashLine(text)
			}
		})
		b.Run(bb.name+"-index", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				bytes.Index(text, []byte("\n--"))
			}
		})
	}
}

func TestMediaType(t *testing.T) {
	tests := []struct{ in, typ, param, want string }{
		{"text/plain; charset=utf-8", "text/plain", "charset", "utf-8"},
		{"TEXT/HTML;CHARSET=\"a;b\\\"c\"", "text/html", "charset", `a;b"c`},
		{"text/plain (comment); charset = x ", "text/plain", "charset", "x"},
		{"text/plain charset=utf-8", "text/plain", "charset", "utf-8"},
		{"charset=utf-8", "", "charset", "utf-8"},
		{"a/b; name=\"unclosed; x=y", "a/b", "name", "unclosed"},
		{"a/b; name=two words.txt; x=y", "a/b", "name", "two words.txt"},
		{"a/b;; ;name=x", "a/b", "name", "x"},
		{"a/b; name*=utf-8''%C3%A4.txt", "a/b", "name", "ä.txt"},
		{"a/b; name*0=a; name*2=c; name*1=b", "a/b", "name", "abc"},
		{"a/b; name*0*=utf-8''%C3; name*1*=%A4; name*2=%41", "a/b", "name", "ä%41"},
		{"a/b; name*1=a; name*2=b", "a/b", "name", "ab"},
		{"a/b; name*0=a; name*2=lost", "a/b", "name", "a"},
		{"a/b; name=plain; name*=utf-8''better", "a/b", "name", "better"},
		{"a/b; name==?utf-8?q?=C3=A4?=", "a/b", "name", "ä"},
		{"a/b; name*=iso-8859-1'de'%E4", "a/b", "name", "ä"},
		{"text", "text", "x", ""},
		{"", "", "x", ""},
	}
	for _, tt := range tests {
		m := parseMediaType([]byte(tt.in))
		if m.String() != tt.typ && m.major+"/"+m.minor != tt.typ || m.param(tt.param) != tt.want {
			t.Errorf("%q: %q with %q, want %q with %q", tt.in, m.String(), m.param(tt.param), tt.typ, tt.want)
		}
	}
	for in, want := range map[string]string{"": "", "inline": "inline", "INLINE; x=y": "inline", "attachment": "attachment", "form-data": "attachment", "filename=x": "", ";filename=x": "", "=?utf-8?q?x?=": "attachment"} {
		if got := parseDisposition([]byte(in)).major; got != want {
			t.Errorf("disposition %q: %q, want %q", in, got, want)
		}
	}
}
