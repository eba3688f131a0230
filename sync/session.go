package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"

	"imapsync/db"
	"imapsync/secret"
)

// Timeouts bound what a server may cost in time. Zero takes the default.
type Timeouts struct {
	Connect time.Duration // TCP, and the TLS handshake; 10 s
	Command time.Duration // silence while a command is outstanding; 30 s
	Literal time.Duration // silence in a message body; 60 s
	Pass    time.Duration // one pass over a provider; 15 min
}

// timeouts are the provider's own, then those of the run, then the defaults.
func (t Timeouts) timeouts(p *db.Provider) Timeouts {
	pick := func(ms int, run, def time.Duration) time.Duration {
		switch {
		case ms > 0:
			return time.Duration(ms) * time.Millisecond
		case run > 0:
			return run
		}
		return def
	}
	return Timeouts{
		Connect: pick(p.ConnectTimeoutMS, t.Connect, 10*time.Second),
		Command: pick(p.CommandTimeoutMS, t.Command, 30*time.Second),
		Literal: pick(p.LiteralTimeoutMS, t.Literal, 60*time.Second),
		Pass:    pick(p.PassTimeoutMS, t.Pass, 15*time.Minute),
	}
}

// Session is an authenticated IMAP connection. It is not for concurrent use.
type Session struct {
	client  *imapclient.Client
	wire    *wire
	caps    imap.CapSet
	id      *imapclient.IDCommand
	stop    func() bool // ends the watch on the context
	ctx     context.Context
	buffers *buffers // memory for large bodies; nil: fresh each time

	along     bool                                 // the server keeps what is sent along with another command
	asked     map[string]*imapclient.StatusCommand // under way since the login
	askedList *listing                             // under way since the login
	ahead     *ahead                               // answers that came with EXAMINE

	answered time.Time   // when it was last known to live, between passes
	unasked  *unilateral // what the server says of the open folder by itself
}

// SessionOptions are what a session needs beside the provider's settings.
type SessionOptions struct {
	Credential      Credential
	Timeouts        Timeouts
	MaxMessageBytes int64 // largest body that will be asked for
	Version         string

	// Folders, when set, are asked for their state along with the login, where
	// that is safe: the survey of them must follow.
	Folders *db.FolderNames

	tls *tlsConfigs // nil: nothing is remembered of the server
}

// open dials, secures and logs in once, with a password or a token.
func open(ctx context.Context, p *db.Provider, opts SessionOptions, credential secret.Value) (*Session, error) {
	timeouts := opts.Timeouts.timeouts(p)
	_, w, err := dial(ctx, p, timeouts, wireLimits{
		Command: timeouts.Command, Literal: timeouts.Literal, LiteralSize: opts.MaxMessageBytes + opts.MaxMessageBytes/2,
	}, opts.tls)
	if err != nil {
		return nil, err
	}
	s := newSession(ctx, w)
	err = s.login(p, opts, credential)
	if err == nil {
		return s, nil
	}
	hungUp := s.wire.Err() != nil && s.wire.LastStatus().Type != "BYE"
	s.Close()
	if class, _ := Classify(err); s.asked != nil && hungUp && class == Transient && ctx.Err() == nil {
		opts.Folders = nil // it may have been a folder that cost the connection
		return open(ctx, p, opts, credential)
	}
	return nil, err
}

func newSession(ctx context.Context, w *wire) *Session {
	s := &Session{wire: w, unasked: newUnilateral()}
	s.bind(ctx)
	s.client = imapclient.New(emptyAnswers{s.wire}, &imapclient.Options{UnilateralDataHandler: s.unasked.handler()})
	return s
}

func (s *Session) login(p *db.Provider, opts SessionOptions, credential secret.Value) error {
	text := credential.Reveal()
	s.wire.Redact(text)
	var eager *imapclient.Command
	if p.EagerLogin && opts.Credential.Tokens == nil && plainASCII(p.Username+text) {
		s.along = true
		eager = s.startLogin(p, opts, text)
	}
	if err := s.client.WaitGreeting(); err != nil {
		return greetingError(s.cause(err), s.wire.LastStatus())
	}
	if s.wire.Preauth() {
		return config("preauth", errors.New("greeting: the server skips the login, so nobody knows whose mailbox this is: refused"))
	}
	var err error
	if eager != nil {
		err = eager.Wait() // go-imap forgets what the greeting offered in between
	}
	caps := s.client.Caps()
	if caps == nil && err == nil {
		return transient("capability", fmt.Errorf("capability: %w", s.cause(errNoCapabilities)))
	}
	s.along = s.along || keepsPipelined(caps)
	switch {
	case eager != nil:
		if _, refused := errors.AsType[*imap.Error](err); refused && caps.Has(imap.CapLoginDisabled) {
			return config("login_disabled", fmt.Errorf("login: the server takes no LOGIN (%w): use --eager-login=false", err))
		}
	case opts.Credential.Tokens != nil:
		err = s.withToken(p, caps, text)
	case caps.Has(imap.CapLoginDisabled) && !caps.Has(imap.AuthCap(sasl.Plain)):
		return config("login_disabled", errors.New("login: the server offers neither LOGIN nor PLAIN here: use --tls implicit or starttls, or --auth oauth2"))
	case caps.Has(imap.AuthCap(sasl.Plain)) && (caps.Has(imap.CapLoginDisabled) || !plainASCII(p.Username+text)):
		// LOGIN has no charset; PLAIN is UTF-8 (RFC 4616).
		err = s.client.Authenticate(sasl.NewPlainClient("", p.Username, text))
	default:
		err = s.startLogin(p, opts, text).Wait()
	}
	if _, classed := errors.AsType[*Error](err); classed {
		return err
	}
	if err != nil {
		return loginError(s.cause(err), s.wire.LastStatus())
	}
	if s.caps = s.client.Caps(); s.caps == nil {
		return transient("capability", fmt.Errorf("capability: %w", s.cause(errNoCapabilities)))
	}
	if s.caps.Has(imap.CapID) && s.id == nil {
		// Some servers refuse EXAMINE before they have been told a name.
		s.id = s.sayName(opts.Version)
	}
	return nil
}

// startLogin sends LOGIN, and what may go along with it.
func (s *Session) startLogin(p *db.Provider, opts SessionOptions, password string) *imapclient.Command {
	if s.along {
		s.id = s.sayName(opts.Version) // Dovecot takes it before the login
	}
	login := s.client.Login(p.Username, password)
	if s.along && opts.Folders != nil {
		s.askAlong(*opts.Folders)
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
func (s *Session) askAlong(folders db.FolderNames) {
	names, patterns := splitFilter(folders)
	if len(names) > statusWindow {
		return
	}
	s.asked = map[string]*imapclient.StatusCommand{}
	for _, name := range names {
		s.asked[name] = s.client.Status(name, statusOptions())
	}
	if len(patterns) > 0 {
		s.askedList = s.startList()
	}
}

// Capabilities lists what the server offers after login, sorted.
func (s *Session) Capabilities() []string {
	var list []string
	for c := range s.caps {
		list = append(list, string(c))
	}
	slices.Sort(list)
	return list
}

// cause replaces what go-imap made of a failure by what happened: the context's
// end, the server's BYE, or the I/O error with its type.
func (s *Session) cause(err error) error {
	if err == nil {
		return nil
	}
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	if _, ok := errors.AsType[*imap.Error](err); ok {
		return err
	}
	last := s.wire.LastStatus()
	if last.Type == "BYE" {
		class, code := classifyStatus(last.Type, last.Code, last.Text)
		return &Error{class, code, fmt.Errorf("server said %s", last)}
	}
	if ioErr := s.wire.Err(); ioErr != nil {
		return wireCause(ioErr)
	}
	if errors.Is(err, errNoCapabilities) && last.Type != "" {
		return fmt.Errorf("server said %s", last)
	}
	return err
}

// errNoCapabilities says that a server did not tell what it can do.
var errNoCapabilities = errors.New("no answer")

// alive reports whether another command may be sent.
func (s *Session) alive() bool {
	select {
	case <-s.client.Closed():
		return false
	default:
		return s.ctx.Err() == nil && s.wire.Err() == nil && !s.wire.Closed()
	}
}

// logoutPatience is how long it may take to say goodbye.
const logoutPatience = 2 * time.Second

// Close logs out, without waiting for an answer, and closes the socket.
func (s *Session) Close() {
	if s.alive() && s.client.State() != imap.ConnStateNotAuthenticated {
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.client.Logout() // said, not waited for: the answer would cost a round trip and change nothing
		}()
		select {
		case <-done:
		case <-time.After(logoutPatience):
		}
	}
	s.stop()
	_ = s.wire.Close() // frees go-imap's reader, which Client.Close would wait for
}

func plainASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}
