// Package imapserver is a small IMAP4rev1 server for tests that tells the truth
// until it is given a quirk: a few lines that make one stage of the conversation
// lie, stall or break the way a server in the field was seen to. Mailboxes live
// in memory and may change while clients are connected; every command a client
// sends is recorded.
//
// It answers what a poller asks and nothing else: CAPABILITY, STARTTLS, LOGIN,
// AUTHENTICATE (PLAIN, XOAUTH2, OAUTHBEARER), ID, NOOP, LIST with STATUS, STATUS,
// SELECT, EXAMINE, UID SEARCH, UID FETCH, IDLE, UNSELECT, CLOSE, LOGOUT.
package imapserver

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

// Security is how a client reaches the server.
type Security int

// The ways to reach it.
const (
	TLS      Security = iota // implicit TLS
	STARTTLS                 // plaintext until STARTTLS
	Plain                    // plaintext only
)

// Config says what the server is like when it behaves.
type Config struct {
	Security Security
	Listen   string // address to listen on, "127.0.0.1" when empty
	Username string // "user" when empty
	Password string // "correct horse \"battery\" staple" when empty
	Token    string // bearer token for XOAUTH2 and OAUTHBEARER; "" offers neither
	Caps     string // capabilities after IMAP4rev1; a sensible set when empty
}

// Server is a running server. Close it after use.
type Server struct {
	Config
	ln   net.Listener
	tls  *tls.Config
	ca   *x509.CertPool
	pem  []byte
	stop chan struct{}
	wg   sync.WaitGroup

	mu        sync.Mutex
	mailboxes []*Mailbox
	commands  []Command
	conns     map[net.Conn]struct{}
	connected int
	plays     []*play
	changed   chan struct{}
}

// Command is one command as a client sent it.
type Command struct {
	Conn int    // number of the connection, from 1
	TLS  bool   // it came through TLS
	Line string // tag, name and arguments; literals inserted as they came
}

// play is a quirk in action.
type play struct {
	quirk Quirk
	left  int // firings left; -1 is for ever
	fired int
}

// Start runs a server on a free port with an empty INBOX.
func Start(config Config) (*Server, error) {
	if config.Listen == "" {
		config.Listen = "127.0.0.1"
	}
	if config.Username == "" {
		config.Username = "user"
	}
	if config.Password == "" {
		config.Password = `correct horse "battery" staple`
	}
	if config.Caps == "" {
		config.Caps = "SASL-IR LITERAL+ ID UNSELECT IDLE NAMESPACE UIDPLUS LIST-EXTENDED LIST-STATUS SPECIAL-USE AUTH=PLAIN"
		if config.Token != "" {
			config.Caps += " AUTH=XOAUTH2 AUTH=OAUTHBEARER"
		}
	}
	s := &Server{
		Config:  config,
		stop:    make(chan struct{}),
		conns:   make(map[net.Conn]struct{}),
		changed: make(chan struct{}),
	}
	if err := s.certify(); err != nil {
		return nil, fmt.Errorf("imap server: certificate: %w", err)
	}
	ln, err := net.Listen("tcp", net.JoinHostPort(config.Listen, "0"))
	if err != nil {
		return nil, fmt.Errorf("imap server: %w", err)
	}
	s.ln = ln
	s.Mailbox("INBOX")
	s.wg.Go(s.accept)
	return s, nil
}

// certify makes a CA and a certificate for localhost and 127.0.0.1.
func (s *Server) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: "imapserver"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().AddDate(10, 0, 0), // clocks of tests are years ahead
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	s.ca = x509.NewCertPool()
	s.ca.AddCert(cert)
	s.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	s.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	return nil
}

// Addr is host:port.
func (s *Server) Addr() string { return s.ln.Addr().String() }

// Host is the address to connect to, without the port.
func (s *Server) Host() string { return s.Listen }

// Port is the port to connect to.
func (s *Server) Port() int { return s.ln.Addr().(*net.TCPAddr).Port }

// CAs is a pool that trusts the server's certificate.
func (s *Server) CAs() *x509.CertPool { return s.ca }

// CertPEM is the server's certificate, which is its own CA.
func (s *Server) CertPEM() []byte { return s.pem }

// Close ends every connection and waits for the server's goroutines.
func (s *Server) Close() error {
	s.mu.Lock()
	select {
	case <-s.stop:
		s.mu.Unlock()
		return nil
	default:
	}
	close(s.stop)
	err := s.ln.Close()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

// Disconnect cuts every connection there is; new ones are welcome.
func (s *Server) Disconnect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.Close()
	}
}

// Play makes the server misbehave as q says, until Behave: for ever, or once if
// q is a thing that passes. Several quirks may play at a time.
func (s *Server) Play(q Quirk) {
	if q.Once {
		s.PlayTimes(q, 1)
	} else {
		s.PlayTimes(q, -1)
	}
}

// PlayTimes makes the server misbehave the first n times that q applies; -1 is
// for ever.
func (s *Server) PlayTimes(q Quirk, n int) {
	s.mu.Lock()
	p := &play{quirk: q, left: n}
	s.plays = append(s.plays, p)
	s.mu.Unlock()
	if q.Setup != nil {
		q.Setup(s)
	}
}

// Behave ends all quirks.
func (s *Server) Behave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.plays = nil
}

// Fired is how often quirks have applied since they began to play.
func (s *Server) Fired() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, p := range s.plays {
		n += p.fired
	}
	return n
}

// quirks returns what shall go wrong at a stage, and counts it as fired.
func (s *Server) quirks(x *Exchange) []Quirk {
	s.mu.Lock()
	plays := slices.Clone(s.plays)
	s.mu.Unlock()
	var now []Quirk
	for _, p := range plays {
		q := p.quirk
		if q.Stage != x.Stage || q.Do == nil || q.When != nil && !q.When(x) {
			continue
		}
		s.mu.Lock()
		if p.left != 0 {
			if p.left > 0 {
				p.left--
			}
			p.fired++
			now = append(now, q)
		}
		s.mu.Unlock()
	}
	return now
}

// Commands is everything clients have sent so far.
func (s *Server) Commands() []Command {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.commands)
}

// Forget empties the record of commands.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.commands = nil
}

// Connections is how many connections were accepted so far.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected
}

// Violations lists what a well-behaved poller never sends: credentials in the
// clear although TLS is there, a body without PEEK, SELECT (which may change
// \Recent), a flag change, `*` in a set of UIDs.
func (s *Server) Violations() []string {
	var found []string
	for _, c := range s.Commands() {
		_, line, _ := strings.Cut(c.Line, " ")
		up := strings.ToUpper(line)
		name, _, _ := strings.Cut(up, " ")
		switch {
		case !c.TLS && s.Security != Plain && (name == "LOGIN" || name == "AUTHENTICATE"):
			found = append(found, name+" without TLS")
		case strings.HasPrefix(up, "UID FETCH") && (strings.Contains(up, "BODY[") || strings.Contains(up, "RFC822 ") || strings.Contains(up, "RFC822)")):
			found = append(found, "body without PEEK: "+line)
		case strings.HasPrefix(up, "UID FETCH") && strings.Contains(strings.Fields(up)[2], "*"):
			found = append(found, "open range: "+line)
		case name == "SELECT", name == "STORE", name == "EXPUNGE", strings.HasPrefix(up, "UID STORE"):
			found = append(found, "not read-only: "+line)
		}
	}
	return found
}

// RoundTrips counts the commands recorded.
func (s *Server) RoundTrips() int { return len(s.Commands()) }

func (s *Server) accept() {
	for {
		conn, err := s.ln.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		select {
		case <-s.stop:
			s.mu.Unlock()
			conn.Close()
			return
		default:
		}
		s.connected++
		s.conns[conn] = struct{}{}
		c := &session{srv: s, raw: conn, conn: conn, num: s.connected}
		s.mu.Unlock()
		s.wg.Go(func() {
			c.serve()
			conn.Close()
			s.mu.Lock()
			delete(s.conns, conn)
			s.mu.Unlock()
		})
	}
}

// notify wakes sessions in IDLE.
func (s *Server) notify() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}

// TLSConfig is the server's side of its TLS.
func (s *Server) TLSConfig() *tls.Config { return s.tls.Clone() }
