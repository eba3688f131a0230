// Package imapsession is a logged-in IMAP connection for a poller: it dials,
// secures, logs in, lists folders, asks for their state, searches, fetches and
// idles, and classes what goes wrong on the way. What is to be connected to is
// an Account; it knows no database.
package imapsession

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"time"

	"imapsync/internal/fault"
	"imapsync/internal/imapwire"
	"imapsync/secret"
)

// TLSMode says how a connection is secured.
type TLSMode string

// The modes of TLS. TLSNone is plaintext, asked for by name.
const (
	TLSImplicit TLSMode = "implicit"
	TLSStartTLS TLSMode = "starttls"
	TLSNone     TLSMode = "none"
)

// Server is a server, and how it is trusted.
type Server struct {
	Host          string
	Port          int
	TLS           TLSMode
	CAPEM         string // authorities to trust in place of the system's; ""
	TLSServerName string // the name that the certificate is for, when it is not Host
}

// Account is a mailbox on a server, and how it is to be reached.
type Account struct {
	Server

	Username string // whose mailbox is opened

	// Login gives what to log in with, before the server is spoken to: an
	// access token if Token says so, else a password.
	Login func(ctx context.Context) (secret.Value, error)
	Token bool

	// EagerLogin sends a password before the server has greeted.
	EagerLogin bool
	// Folders are the names and patterns of the folders that are read; none
	// means INBOX. With Survey their state is asked for along with the login,
	// where that is safe: Resolve must follow.
	Folders []string
	Survey  bool

	Timeouts        Timeouts
	MaxMessageBytes int64 // the largest body that will be asked for
}

// Timeouts bound what a server may cost in time. Zero takes the default.
type Timeouts struct {
	Connect time.Duration // TCP, and the TLS handshake; 10 s
	Command time.Duration // silence while a command is outstanding, in all three times that; 30 s
	Literal time.Duration // silence in a message body; 60 s
	Rate    int64         // bytes a second: in all a body may take its size by that beside Literal; 16 KiB
}

// DefaultRate is the Rate where none is given.
const DefaultRate = imapwire.DefaultRate

// Body is how long a message body of so many bytes may take in all.
func (t Timeouts) Body(size int64) time.Duration { return t.limits().Body(size) }

func (t Timeouts) limits() imapwire.Limits {
	return imapwire.Limits{Command: t.Command, Literal: t.Literal, Rate: t.Rate}
}

func (t Timeouts) connect() time.Duration { return cmp.Or(t.Connect, 10*time.Second) }

// endpoint is what a connection was made with: when any of it changes, the old
// connection is of no use.
type endpoint struct {
	server          Server
	username        string
	token           bool
	maxMessageBytes int64
}

func (a *Account) endpoint() endpoint {
	return endpoint{a.Server, a.Username, a.Token, a.MaxMessageBytes}
}

// Dialer makes sessions. What it remembers of servers lives as long as it does.
// The zero Dialer is ready to use; its fields are set before the first Open.
type Dialer struct {
	Version string           // told to servers that take an ID
	Buffers *Buffers         // memory for large bodies; nil: fresh each time
	Now     func() time.Time // the clock; nil: time.Now

	tls    tlsConfigs
	probed probed
}

func (d *Dialer) clock() func() time.Time {
	if d.Now != nil {
		return d.Now
	}
	return time.Now
}

// Open dials, secures and logs in. The session ends when ctx does: its socket
// is closed, so that nothing can hang on it.
func (d *Dialer) Open(ctx context.Context, a Account) (*Session, error) {
	credential, err := a.Login(ctx)
	if err != nil {
		return nil, err
	}
	s, again, err := d.open(ctx, a, credential.Reveal())
	if again {
		a.Survey = false // it may have been a folder that cost the connection
		s, _, err = d.open(ctx, a, credential.Reveal())
	}
	return s, err
}

// open opens once. again says that it may go better without a survey.
func (d *Dialer) open(ctx context.Context, a Account, credential string) (s *Session, again bool, err error) {
	conn, err := Dial(ctx, a)
	if err != nil {
		return nil, false, err
	}
	secured, err := d.Secure(ctx, conn, a)
	if err != nil {
		conn.Close()
		return nil, false, d.wrongPort(ctx, a, orEnd(ctx, err))
	}
	limits := a.Timeouts.limits()
	limits.LiteralSize = a.MaxMessageBytes + a.MaxMessageBytes/2
	w := imapwire.New(secured, limits)
	if a.TLS == TLSStartTLS {
		w.Greet() // the greeting came in the clear; its capabilities are forgotten
	}
	s = newSession(ctx, w, d)
	if err = d.wrongPort(ctx, a, s.login(a, d.Version, credential)); err == nil {
		return s, false, nil
	}
	hungUp := w.Err() != nil && w.LastStatus().Type != "BYE"
	s.Close()
	class, _ := Classify(err)
	return nil, s.asked != nil && hungUp && class == fault.Transient && ctx.Err() == nil, err
}

// Lookup asks DNS for the addresses of the account's server.
func Lookup(ctx context.Context, a Account) ([]string, error) {
	within, cancel := context.WithTimeout(ctx, a.Timeouts.connect())
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(within, a.Host)
	if err != nil {
		return nil, orEnd(ctx, dialError(err))
	}
	return addresses, nil
}

// Dial connects to the account's server, and no more.
func Dial(ctx context.Context, a Account) (net.Conn, error) {
	nd := net.Dialer{Timeout: a.Timeouts.connect(), KeepAlive: 15 * time.Second}
	conn, err := nd.DialContext(ctx, "tcp", net.JoinHostPort(a.Host, strconv.Itoa(a.Port)))
	if err != nil {
		return nil, orEnd(ctx, dialError(err))
	}
	return conn, nil
}

// Secure secures a connection that Dial made, as the account says: by the *tls.Conn
// that it returns, or not at all. There is no way from a failed handshake to plaintext.
func (d *Dialer) Secure(ctx context.Context, conn net.Conn, a Account) (net.Conn, error) {
	if a.TLS == TLSNone {
		return conn, nil
	}
	cfg, err := d.tls.of(a.Server, d.clock())
	if err != nil {
		return nil, err
	}
	patience := a.Timeouts.connect()
	if a.TLS == TLSStartTLS {
		within, cancel := context.WithTimeoutCause(ctx, patience, failf("starttls_timeout", "starttls: no answer within %s", patience))
		defer cancel()
		stop := context.AfterFunc(within, func() { conn.Close() })
		err := startTLS(conn)
		stop()
		if err != nil {
			return nil, orEnd(within, err)
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, failf("tls_timeout", "tls: %s did not agree on encryption within %s", cfg.ServerName, patience))
	defer cancel()
	tc := tls.Client(conn, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, orEnd(ctx, tlsError(a.TLS, cfg.ServerName, err, d.clock()()))
	}
	return tc, nil
}

// orEnd prefers the reason a context ended to the error that its end caused.
func orEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// dialError classes a failure to connect.
func dialError(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return failf("host_not_found", "connect: host %q is not in DNS", dns.Name)
		}
		return failf("dns", "connect: %w", err)
	}
	return failf("connect", "connect: %w", err)
}
