package parse

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAddressList(t *testing.T) {
	tests := []struct {
		in      string
		want    []Address
		literal string
	}{
		{in: `a@example.com`, want: []Address{{"", "a@example.com"}}},
		{in: `Ada <a@example.com>, "Bee, B." <b@example.com>`, want: []Address{{"Ada", "a@example.com"}, {"Bee, B.", "b@example.com"}}},
		{in: `Lovelace, Ada <a@example.com>`, want: []Address{{"Lovelace, Ada", "a@example.com"}}},
		{in: `a@example.com (Ada (the) First)`, want: []Address{{"Ada (the) First", "a@example.com"}}},
		{in: `Name,(<a@example.com>)`, want: []Address{{"", "a@example.com"}}},
		{in: `MAILER-DAEMON (Mail System)`, want: nil},
		{in: `Mail System <MAILER-DAEMON>`, want: nil, literal: "MAILER-DAEMON"},
		{in: `undisclosed-recipients:;`, want: nil},
		{in: `Team: a@example.com, b@example.com; c@example.com`, want: []Address{{"", "a@example.com"}, {"", "b@example.com"}, {"", "c@example.com"}}},
		{in: `<a@example.com> <b@example.com>`, want: []Address{{"", "a@example.com"}, {"", "b@example.com"}}},
		{in: `"a@example.com" <b@example.com>`, want: []Address{{"a@example.com", "b@example.com"}}},
		{in: `a@example.com <a@example.com>`, want: []Address{{"a@example.com", "a@example.com"}}},
		{in: `"unclosed <a@example.com>`, want: []Address{{"unclosed", "a@example.com"}}},
		{in: `Ada <a@example.com`, want: []Address{{"Ada", "a@example.com"}}},
		{in: `<<a@example.com>>`, want: []Address{{"", "a@example.com"}}},
		{in: `<@relay.example,@b.example:a@example.com>`, want: []Address{{"", "a@example.com"}}},
		{in: `pete(his account)@silly.test(his host)`, want: []Address{{"his account", "pete@silly.test"}}},
		{in: `c@(Chris's host.)public.example`, want: []Address{{"Chris's host.", "c@public.example"}}},
		{in: `a @ example.com`, want: []Address{{"", "a@example.com"}}},
		{in: `mailto:a@example.com`, want: []Address{{"", "a@example.com"}}},
		{in: `"john doe"@example.com`, want: []Address{{"", `"john doe"@example.com`}}},
		{in: `dots..in@example.com`, want: []Address{{"", `"dots..in"@example.com`}}},
		{in: `a@example..com.`, want: []Address{{"", "a@example.com"}}},
		{in: `a@[192.0.2.7]`, want: []Address{{"", "a@[192.0.2.7]"}}},
		{in: `a@b c.example`, want: []Address{{"c.example", "a@b"}}},
		{in: `a@ex ample`, want: []Address{{"ample", "a@ex"}}},
		{in: `=?utf-8?q?J=C3=BCrgen?= <j@example.com>`, want: []Address{{"Jürgen", "j@example.com"}}},
		{in: `=?utf-8?q?J_=3Cj=40example.com=3E?=`, want: []Address{{"J", "j@example.com"}}},
		{in: `'Single' <s@example.com>`, want: []Address{{"Single", "s@example.com"}}},
		{in: "Fol\r\n ded <f@example.com>", want: []Address{{"Fol ded", "f@example.com"}}},
		{in: `jörg@münchen.example`, want: []Address{{"", "jörg@münchen.example"}}},
		{in: ``}, {in: `<>`}, {in: `@`}, {in: `a@`}, {in: `@b`}, {in: `,,;`}, {in: `"`}, {in: `(`}, {in: `<`},
	}
	for _, tt := range tests {
		got, literal, _ := addressList([]byte(tt.in), "", 100)
		if diff := cmp.Diff(tt.want, got); diff != "" || literal != tt.literal {
			t.Errorf("%q: literal %q, want %q; -want +got\n%s", tt.in, literal, tt.literal, diff)
		}
	}
}
