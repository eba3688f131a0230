package parse

import (
	"strings"
	"testing"
)

func TestHTMLText(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"paragraphs", "<p>one<p>two<br>three</p>four", "one\n\ntwo\nthree\n\nfour"},
		{"blanks", " a \n\t b&nbsp;c <b> d</b>e ", "a b c de"},
		{"no style, no script", "<style>a{}</style>x<script>y</script><title>t</title>z<!-- c -->", "xz"},
		{"hidden", `<div style="display: none">preview<div>more</div></div>seen`, "seen"},
		{"hidden for ever", `<div style="display:none">all of it`, "all of it"},
		{"fillers", "a\u200b\u034f\u00adb", "ab"},
		{"link", `<a href="https://example.com/x">here</a>`, "here (https://example.com/x)"},
		{"link that shows itself", `<a href="https://example.com/">example.com</a> <a href="mailto:a@b.example?subject=x">a@b.example</a>`, "example.com a@b.example"},
		{"link without a scheme", `<a href="#top">top</a><a href="javascript:x()">js</a>`, "topjs"},
		{"link around a picture", `<a href="https://example.com/"><img alt="Logo" src=x></a>`, "[Logo] (https://example.com/)"},
		{"lists", "<ul><li>a<li>b<ol><li>c<li>d</ol></ul>e", "- a\n- b\n  1. c\n  2. d\n\ne"},
		{"table", "<table><tr><th>a<th>b<tr><td>1<td>2</table>", "a | b\n1 | 2"},
		{"table for layout", "<table><tr><td><p>a</p><td><p>b</p></table>", "a\n\nb"},
		{"quote", "new<blockquote>old<blockquote>older</blockquote></blockquote>end", "new\n> old\n> > older\nend"},
		{"pre", "<pre>a\n  b\n\nc</pre>", "a\n  b\n\nc"},
		{"entities", "&lt;&amp;&euro;&#8364;&#x20ac;&bogus;", "<&€€€&bogus;"},
		{"rule", "a<hr>b", "a\n---\nb"},
		{"unclosed tag", "a<b", "a"},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := htmlText(tt.in, 1<<20); got != tt.want {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
	if got := htmlText(strings.Repeat("ä", 100), 15); len(got) > 15 || !strings.HasPrefix(got, "äää") {
		t.Errorf("limit: %q", got)
	}
}
