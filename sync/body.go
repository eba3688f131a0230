package sync

import (
	"bytes"
	"errors"
	"fmt"
)

// exchangeStub is what some servers put in place of a message they cannot
// convert.
const exchangeStub = "Retrieval using the IMAP4 protocol failed"

// maxStub is the size from which a body is no such text.
const maxStub = 8 << 10

// checkBody looks at a body that came. RFC822.SIZE is a hint, so a body that is
// short is believed when it comes out the same again and again.
func checkBody(m *message) {
	switch {
	case m.failure != nil || m.expunged || m.headerOnly:
	case len(m.raw) == 0 && m.Size > 0:
		m.fail("fetch", "no_body", errors.New("the server says OK and gives an empty body"))
	case len(m.raw) < maxStub && bytes.Contains(m.raw, []byte(exchangeStub)):
		m.fail("fetch", "server_stub", errors.New("the server put an error text in place of the message"))
	case short(int64(len(m.raw)), m.Size) && m.attempts < 2:
		m.fail("fetch", "short_body", fmt.Errorf("the body has %d bytes, the server announced %d", len(m.raw), m.Size))
	}
}

// short reports whether a body is so much smaller than announced that another
// way to count lines does not explain it: by a tenth and half a KiB, or by half.
func short(got, announced int64) bool {
	return got < announced-announced/10-512 || got < announced/2
}
