package sync

import (
	"bytes"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"

	"imapsync/db"
)

// The mechanisms that take an access token.
const (
	xoauth2     = "XOAUTH2"     // Google's and Microsoft's, in no RFC
	oauthBearer = "OAUTHBEARER" // RFC 7628
)

// bearer is the client of both mechanisms. When the token is refused, the
// server sends why as JSON before the tagged NO: that is kept, and answered as
// the mechanism wants it, so that the exchange comes to its end.
type bearer struct {
	mechanism string
	initial   []byte
	abort     []byte
	refusal   string
}

var _ sasl.Client = (*bearer)(nil)

// newBearer chooses the mechanism, XOAUTH2 before OAUTHBEARER: where both are
// offered it is the one that is in use. It is nil when neither is.
func newBearer(caps imap.CapSet, p *db.Provider, token string) *bearer {
	user := saslUser(p)
	switch {
	case caps.Has(imap.AuthCap(xoauth2)):
		return &bearer{mechanism: xoauth2, initial: []byte("user=" + user + "\x01auth=Bearer " + token + "\x01\x01"), abort: []byte{}}
	case caps.Has(imap.AuthCap(oauthBearer)):
		name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(user)
		return &bearer{mechanism: oauthBearer, abort: []byte{1}, initial: []byte("n,a=" + name + ",\x01host=" + p.Host +
			"\x01port=" + strconv.Itoa(p.Port) + "\x01auth=Bearer " + token + "\x01\x01")}
	}
	return nil
}

// saslUser is whose mailbox is opened. Microsoft tells it from who signed in: a
// shared mailbox is opened with the token of a member, --username, and named by
// its own address. Elsewhere the token and the name are of one account, which
// may go by another name than the address.
func saslUser(p *db.Provider) string {
	if p.OAuthPreset == db.PresetMicrosoft {
		return p.Mailbox
	}
	return p.Username
}

// Start begins the exchange.
func (b *bearer) Start() (mechanism string, initial []byte, err error) {
	return b.mechanism, b.initial, nil
}

// Next keeps the server's JSON and gives up in the mechanism's own way.
func (b *bearer) Next(challenge []byte) ([]byte, error) {
	b.refusal = string(challenge)
	return b.abort, nil
}

// emptyAnswers writes an empty answer within a SASL exchange as an empty line
// (RFC 3501 section 6.2.2); go-imap writes "=", which is for an initial
// response only. It flushes each answer by itself.
type emptyAnswers struct{ net.Conn }

// Write passes p on.
func (e emptyAnswers) Write(p []byte) (int, error) {
	if bytes.Equal(p, []byte("=\r\n")) {
		n, err := e.Conn.Write(p[1:])
		return n + 1, err
	}
	return e.Conn.Write(p)
}

// withToken logs in with an access token.
func (s *Session) withToken(p *db.Provider, caps imap.CapSet, token string) error {
	b := newBearer(caps, p, token)
	if b == nil {
		return config("no_oauth", fmt.Errorf("login: the server offers neither XOAUTH2 nor OAUTHBEARER here: use --auth password, or check --host and --tls"))
	}
	err := s.client.Authenticate(b)
	if err == nil {
		return nil
	}
	err = s.cause(err)
	if b.refusal == "" {
		return loginError(err, s.wire.LastStatus())
	}
	return tokenRefused(err, s.wire.LastStatus(), s.wire.excerpt([]byte(b.refusal)))
}

// tokenRefused classes a refusal that the server explained in a challenge: it
// is about the token, unless the end of the exchange speaks of something else.
func tokenRefused(err error, last status, why string) error {
	err = loginError(err, last)
	class, code := Classify(err)
	switch {
	case code == "authenticationfailed", code == "authorizationfailed", code == "expired":
	case class == Auth, code == "refused", code == "connection":
		class, code = Auth, "token_refused"
	}
	return &Error{class, code, fmt.Errorf("%w (the server says of the token: %s)", err, why)}
}
