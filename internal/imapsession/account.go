// Package imapsession is a logged-in IMAP connection for a poller: it dials,
// secures, logs in, lists folders, asks for their state, searches, fetches and
// idles, and classes what goes wrong on the way. What is to be connected to is
// an Account; it knows no database.
package imapsession

import (
	"cmp"
	"context"
	"time"

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
	Command time.Duration // silence while a command is outstanding; 30 s
	Literal time.Duration // silence in a message body; 60 s
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
