package event

import (
	"strings"
	"testing"

	"github.com/google/uuid"
)

func TestID(t *testing.T) {
	if namespace != uuid.NewSHA1(uuid.NameSpaceURL, []byte("imapsync/inbound-email")) {
		t.Error("the namespace is not what the comment says")
	}
	const want = "c872f064-7ff7-5223-8b24-825e4a7eb585"
	if got := ID("t", "p", "k"); got != want {
		t.Errorf("ID = %s, want %s", got, want)
	}
	if ID("t", "p", "k") == ID("t", "q", "k") || ID("t", "p", "k") == ID("u", "p", "k") {
		t.Error("two mailboxes, two events")
	}
	for _, s := range []string{"", " ", "a", "Größe", "a\x00b", "a\xffb", strings.Repeat("Long-", 200)} {
		if got, want := ID(s, "P", s), uuid.NewSHA1(namespace, []byte(s+".P."+s)).String(); got != want {
			t.Errorf("ID of %q is %s, want %s", s, got, want)
		}
	}
}
