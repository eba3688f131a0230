package imapsession

import (
	"testing"

	"github.com/emersion/go-imap/v2"
)

func TestMechanism(t *testing.T) {
	a := Account{Server: Server{Host: "imap.example.com", Port: 993}, Username: "a,b=c"}
	both := imap.CapSet{imap.AuthCap(xoauth2): {}, imap.AuthCap(oauthBearer): {}, imap.AuthCap("PLAIN"): {}}
	for _, tt := range []struct {
		caps          imap.CapSet
		mechanism, ir string
	}{
		{both, xoauth2, "user=a,b=c\x01auth=Bearer T\x01\x01"},
		{imap.CapSet{imap.AuthCap(oauthBearer): {}}, oauthBearer,
			"n,a=a=2Cb=3Dc,\x01host=imap.example.com\x01port=993\x01auth=Bearer T\x01\x01"},
		{imap.CapSet{imap.AuthCap("PLAIN"): {}}, "", ""},
	} {
		b := newBearer(tt.caps, a, "T")
		if b == nil {
			b = &bearer{}
		}
		if b.mechanism != tt.mechanism || string(b.initial) != tt.ir {
			t.Errorf("%s %q, want %s %q", b.mechanism, b.initial, tt.mechanism, tt.ir)
		}
	}
}
