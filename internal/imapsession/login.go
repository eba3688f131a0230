package imapsession

import (
	"errors"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"imapsync/internal/fault"
)

func (s *Session) login(a Account, version, text string) error {
	s.to = a.endpoint()
	s.wire.Redact(text)
	var eager *imapclient.Command
	if a.EagerLogin && !a.Token && plainASCII(a.Username+text) {
		s.pipelined = true
		eager = s.startLogin(a, version, text)
	}
	if err := s.client.WaitGreeting(); err != nil {
		return greetingError(s.cause(err), s.wire.LastStatus())
	}
	if s.wire.Preauth() {
		return failf("preauth", "greeting: the server skips the login, so nobody knows whose mailbox this is: refused")
	}
	var err error
	if eager != nil {
		err = eager.Wait() // go-imap forgets what the greeting offered in between
	}
	caps := s.client.Caps()
	if caps == nil && err == nil {
		return failf("capability", "capability: %w", s.cause(errNoCapabilities))
	}
	s.pipelined = s.pipelined || keepsPipelined(caps)
	switch {
	case eager != nil:
		if _, refused := errors.AsType[*imap.Error](err); refused && caps.Has(imap.CapLoginDisabled) {
			return failf("login_disabled", "login: the server does not accept LOGIN (%w)", err)
		}
	case a.Token:
		err = s.withToken(a, caps, text)
	case caps.Has(imap.CapLoginDisabled) && !caps.Has(imap.AuthCap(sasl.Plain)):
		return failf("login_disabled", "login: the server offers neither LOGIN nor PLAIN here")
	case caps.Has(imap.AuthCap(sasl.Plain)) && (caps.Has(imap.CapLoginDisabled) || !plainASCII(a.Username+text)):
		// LOGIN has no charset; PLAIN is UTF-8 (RFC 4616).
		err = s.client.Authenticate(sasl.NewPlainClient("", a.Username, text))
	default:
		err = s.startLogin(a, version, text).Wait()
	}
	if _, classed := fault.Of(err); classed {
		return err
	}
	if err != nil {
		return loginError(s.cause(err), s.wire.LastStatus(), a.Username)
	}
	if s.caps = s.client.Caps(); s.caps == nil {
		return failf("capability", "capability: %w", s.cause(errNoCapabilities))
	}
	if s.caps.Has(imap.CapID) && s.id == nil {
		// Some servers refuse EXAMINE before they have been told a name.
		s.id = s.sayName(version)
	}
	return nil
}

// startLogin sends LOGIN, and what may go along with it.
func (s *Session) startLogin(a Account, version, password string) *imapclient.Command {
	if s.pipelined {
		s.id = s.sayName(version) // Dovecot takes it before the login
	}
	login := s.client.Login(a.Username, password)
	if s.pipelined && a.Survey {
		s.askAlong(a.Folders)
	}
	return login
}

func (s *Session) sayName(version string) *imapclient.IDCommand {
	return s.client.ID(&imap.IDData{Name: "imapsync", Version: version})
}

// keepsPipelined reports whether a server keeps commands that it gets before it
// has answered those ahead of them. RFC 3501 section 5.5 allows it, but not every
// proxy keeps what it has read past a login; Dovecot does, and is known by what
// it offers before one.
func keepsPipelined(before imap.CapSet) bool {
	for _, dovecots := range []imap.Cap{"LOGIN-REFERRALS", imap.CapSASLIR, imap.CapID, imap.CapEnable, imap.CapLiteralPlus} {
		if !before.Has(dovecots) {
			return false
		}
	}
	return true
}

// askAlong asks for the state of folders, and for what folders there are when
// the filter leaves that open, before the login is answered: that saves round
// trips. A refused login refuses these too.
func (s *Session) askAlong(folders []string) {
	names, patterns := splitFilter(folders)
	if len(names) > statusWindow {
		return
	}
	s.asked = map[string]*imapclient.StatusCommand{}
	for _, name := range names {
		if unaskable(name) == "" {
			s.asked[name] = s.client.Status(name, statusOptions())
		}
	}
	if len(patterns) > 0 {
		s.askedList = s.startList()
	}
}

func plainASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

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

// newBearer chooses the mechanism, XOAUTH2 before OAUTHBEARER: where both are
// offered it is the one that is in use. It is nil when neither is.
func newBearer(caps imap.CapSet, a Account, token string) *bearer {
	switch {
	case caps.Has(imap.AuthCap(xoauth2)):
		return &bearer{mechanism: xoauth2, initial: []byte("user=" + a.Username + "\x01auth=Bearer " + token + "\x01\x01"), abort: []byte{}}
	case caps.Has(imap.AuthCap(oauthBearer)):
		name := strings.NewReplacer("=", "=3D", ",", "=2C").Replace(a.Username)
		return &bearer{mechanism: oauthBearer, abort: []byte{1}, initial: []byte("n,a=" + name + ",\x01host=" + a.Host +
			"\x01port=" + strconv.Itoa(a.Port) + "\x01auth=Bearer " + token + "\x01\x01")}
	}
	return nil
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

func (s *Session) withToken(a Account, caps imap.CapSet, token string) error {
	b := newBearer(caps, a, token)
	if b == nil {
		return failf("no_oauth", "login: the server offers neither XOAUTH2 nor OAUTHBEARER here")
	}
	err := s.client.Authenticate(b)
	if err == nil {
		return nil
	}
	err = loginError(s.cause(err), s.wire.LastStatus(), a.Username)
	return tokenError(err, b.refusal, s.wire.Excerpt([]byte(b.refusal)))
}
