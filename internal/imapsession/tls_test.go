package imapsession

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"imapsync/internal/devenv"
	"imapsync/secret"
)

const tlsPassword = "correct-horse-tls-1"

// recorder is a server that keeps every byte it was sent, raw as it came and
// decrypted, and lets a log-in succeed.
type recorder struct {
	tls      *tls.Config // nil: it speaks none
	implicit bool        // from the start
	greeting string      // before STARTTLS
	starttls string      // the answer; "" is an honest OK
	late     string      // sent in the clear a moment after the answer
	silent   bool        // it says nothing
	closes   bool        // at the first bytes

	ln      net.Listener
	done    sync.WaitGroup
	mu      sync.Mutex
	seen    bytes.Buffer
	names   []string // asked for by SNI
	version uint16
}

func (r *recorder) start(t *testing.T) (host string, port int) {
	t.Helper()
	var err error
	if r.ln, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.ln.Close(); r.done.Wait() })
	r.done.Go(func() {
		for {
			conn, err := r.ln.Accept()
			if err != nil {
				return
			}
			r.done.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(10 * time.Second))
				r.serve(recorded{conn, r})
			})
		}
	})
	a := r.ln.Addr().(*net.TCPAddr)
	return a.IP.String(), a.Port
}

// recorded keeps what is read.
type recorded struct {
	net.Conn
	r *recorder
}

func (c recorded) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.r.mu.Lock()
	defer c.r.mu.Unlock()
	c.r.seen.Write(p[:n])
	return n, err
}

func (r *recorder) serve(conn net.Conn) {
	switch {
	case r.silent:
		io.Copy(io.Discard, conn)
		return
	case r.closes:
		conn.Read(make([]byte, 1<<10))
		return
	}
	if !r.implicit {
		io.WriteString(conn, r.greeting)
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil {
			return
		}
		tag, _, _ := strings.Cut(line, " ")
		if r.tls == nil && r.starttls == "" {
			return // plaintext only
		}
		answer := r.starttls
		if answer == "" {
			answer = "OK begin"
		}
		io.WriteString(conn, tag+" "+answer+"\r\n")
		if r.late != "" {
			time.Sleep(50 * time.Millisecond)
			io.WriteString(conn, r.late)
		}
		if !strings.HasPrefix(answer, "OK") || r.tls == nil {
			io.Copy(io.Discard, conn) // whatever else it may send
			return
		}
	}
	tc := tls.Server(conn, r.config())
	if tc.Handshake() != nil {
		io.Copy(io.Discard, conn)
		return
	}
	r.mu.Lock()
	r.version = tc.ConnectionState().Version
	r.mu.Unlock()
	if r.implicit {
		io.WriteString(tc, "* OK [CAPABILITY IMAP4rev1] ready\r\n")
	}
	lines := bufio.NewReader(recorded{tc, r})
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		tag, rest, _ := strings.Cut(line, " ")
		switch name, _, _ := strings.Cut(strings.TrimSpace(rest), " "); strings.ToUpper(name) {
		case "CAPABILITY":
			fmt.Fprintf(tc, "* CAPABILITY IMAP4rev1\r\n%s OK done\r\n", tag)
		default:
			fmt.Fprintf(tc, "%s OK done\r\n", tag)
		}
	}
}

func (r *recorder) config() *tls.Config {
	c := r.tls.Clone()
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.names = append(r.names, hello.ServerName)
		return nil, nil
	}
	return c
}

// gaveAway reports whether the server was sent anything of a log-in.
func (r *recorder) gaveAway() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.seen.String()
	return strings.Contains(all, tlsPassword) || strings.Contains(strings.ToUpper(all), "LOGIN") || strings.Contains(strings.ToUpper(all), "AUTHENTICATE") ||
		strings.Contains(all, base64.StdEncoding.EncodeToString([]byte("\x00ann\x00"+tlsPassword)))
}

// certificates are of every bad kind, and good ones.
type certificates struct {
	ca, other                                   *devenv.CA
	good, named, expired, notYet, self, foreign *tls.Config
	outdated                                    *tls.Config // a common name, no alternative name
	caPEM, selfPEM, outdatedPEM                 string
}

func newCertificates(t *testing.T) *certificates {
	t.Helper()
	c := &certificates{}
	var err error
	if c.ca, err = devenv.NewCA(); err == nil {
		c.other, err = devenv.NewCA()
	}
	if err != nil {
		t.Fatal(err)
	}
	c.caPEM = string(c.ca.PEM)
	config := func(pair devenv.KeyPair, err error) *tls.Config {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		cert, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS10}
	}
	day := 24 * time.Hour
	c.good = config(c.ca.Issue(devenv.Cert{}))
	c.named = config(c.ca.Issue(devenv.Cert{Hosts: []string{"mail.example.org", "imap.example.org"}}))
	c.expired = config(c.ca.Issue(devenv.Cert{NotBefore: time.Now().Add(-60 * day), NotAfter: time.Now().Add(-30 * day)}))
	c.notYet = config(c.ca.Issue(devenv.Cert{NotBefore: time.Now().Add(30 * day), NotAfter: time.Now().Add(60 * day)}))
	c.foreign = config(c.other.Issue(devenv.Cert{}))
	self, err := devenv.SelfSigned(devenv.Cert{})
	c.self, c.selfPEM = config(self, err), string(self.CertPEM)
	c.outdated, c.outdatedPEM = commonNameOnly(t)
	return c
}

func commonNameOnly(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.example.org"}, BasicConstraintsValid: true, IsCA: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// connectTo tries to log in.
func connectTo(t *testing.T, r *recorder, mode TLSMode, ca, serverName string) error {
	t.Helper()
	a := Account{
		Server: Server{TLS: mode, CAPEM: ca, TLSServerName: serverName}, Username: "ann",
		Timeouts: Timeouts{Connect: 30 * time.Second, Command: 30 * time.Second},
	}
	if r.silent || r.implicit && mode != TLSImplicit { // the client waits in vain
		a.Timeouts = Timeouts{Connect: 700 * time.Millisecond, Command: 700 * time.Millisecond}
	}
	a.Host, a.Port = r.start(t)
	s, err := open(t, a, tlsPassword, nil)
	if err == nil {
		s.Close()
	}
	return err
}

const greets = "* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"

// Every server that cannot be trusted is told apart, and is given nothing.
func TestTLSFailuresGiveNothingAway(t *testing.T) {
	c := newCertificates(t)
	old := c.good.Clone()
	old.MaxVersion = tls.VersionTLS11
	weak := c.good.Clone()
	weak.MaxVersion, weak.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_RC4_128_SHA}
	for _, tt := range []struct {
		name string
		mode TLSMode
		srv  *recorder
		ca   string
		to   string // the server's name, when it is not the address
		code string
		want string
	}{
		{"expired", TLSImplicit, &recorder{implicit: true, tls: c.expired}, c.caPEM, "", "tls_expired", "the certificate of 127.0.0.1 expired 20"},
		{"expired behind starttls", TLSStartTLS, &recorder{greeting: greets, tls: c.expired}, c.caPEM, "", "tls_expired", "must be renewed on the server"},
		{"not yet valid", TLSImplicit, &recorder{implicit: true, tls: c.notYet}, c.caPEM, "", "tls_not_yet_valid", "is not valid before"},
		{"another host", TLSImplicit, &recorder{implicit: true, tls: c.named}, c.caPEM, "", "tls_host", "is for mail.example.org, imap.example.org, not for 127.0.0.1"},
		{"another server name", TLSImplicit, &recorder{implicit: true, tls: c.good}, c.caPEM, "mail.example.org", "tls_host", "not for mail.example.org"},
		{"common name only", TLSImplicit, &recorder{implicit: true, tls: c.outdated}, c.outdatedPEM, "mail.example.org", "tls_host", "only a common name (mail.example.org)"},
		{"self-signed", TLSImplicit, &recorder{implicit: true, tls: c.self}, "", "", "tls_self_signed", "is self-signed"},
		{"self-signed beside our CA", TLSStartTLS, &recorder{greeting: greets, tls: c.self}, c.caPEM, "", "tls_self_signed", "self-signed"},
		{"unknown authority", TLSImplicit, &recorder{implicit: true, tls: c.foreign}, c.caPEM, "", "tls_unknown_ca", "unknown authority (imapsync test CA "},
		{"authority that only the system would know", TLSImplicit, &recorder{implicit: true, tls: c.good}, "", "", "tls_unknown_ca", "is signed by an unknown authority"},
		{"CA file without a certificate", TLSImplicit, &recorder{implicit: true, tls: c.good}, "no pem", "", "ca_file", "holds no PEM certificate"},
		{"tls 1.1", TLSImplicit, &recorder{implicit: true, tls: old}, c.caPEM, "", "tls_version", "nothing newer than TLS 1.1"},
		{"tls 1.1 behind starttls", TLSStartTLS, &recorder{greeting: greets, tls: old}, c.caPEM, "", "tls_version", "nothing newer than TLS 1.1"},
		{"no cipher in common", TLSImplicit, &recorder{implicit: true, tls: weak}, c.caPEM, "", "tls_handshake", "no TLS cipher suite in common"},

		{"plaintext server on a tls port", TLSImplicit, &recorder{greeting: greets}, c.caPEM, "", "tls_not_spoken", "does not speak TLS on this port"},
		{"port that says nothing", TLSImplicit, &recorder{silent: true}, c.caPEM, "", "tls_timeout", "did not agree on encryption within 700ms"},
		{"port that closes", TLSImplicit, &recorder{closes: true}, c.caPEM, "", "tls", "127.0.0.1 closed the connection in the handshake"},
		{"tls server on a starttls port", TLSStartTLS, &recorder{implicit: true, tls: c.good}, c.caPEM, "", "starttls_tls", "speaks TLS from the start on this port"},
		{"starttls port that says nothing", TLSStartTLS, &recorder{silent: true}, c.caPEM, "", "starttls_timeout", "no answer within"},
		{"tls server that alerts", TLSStartTLS, &recorder{greeting: "\x15\x03\x01\x00\x02\x02\x0a"}, c.caPEM, "", "starttls_tls", "speaks TLS from the start on this port"},
		{"tls server, plaintext asked for", TLSNone, &recorder{implicit: true, tls: c.good}, "", "", "starttls_tls", "speaks TLS from the start on this port"},
		{"plaintext port that says nothing", TLSNone, &recorder{silent: true}, "", "", "greeting", "greeting: "},
		{"tls record, plaintext asked for", TLSNone, &recorder{greeting: "\x15\x03\x01\x00\x02\x02\x0a"}, "", "", "starttls_tls", "speaks TLS from the start on this port"},

		{"stripped", TLSStartTLS, &recorder{greeting: "* OK [CAPABILITY IMAP4rev1] ready\r\n", starttls: "BAD unknown command"}, c.caPEM, "", "starttls_missing", "does not offer it"},
		{"refused", TLSStartTLS, &recorder{greeting: greets, starttls: "NO not now"}, c.caPEM, "", "starttls_refused", `the server refuses it ("S1 NO not now")`},
		{"injected at once", TLSStartTLS, &recorder{greeting: greets, tls: c.good, starttls: "OK begin\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nS2 OK injected"}, c.caPEM, "", "starttls_injected", "bytes came before the handshake"},
		{"injected later", TLSStartTLS, &recorder{greeting: greets, tls: c.good, late: "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"}, c.caPEM, "", "starttls_injected", "somebody may be tampering"},
		{"answered before it was asked", TLSStartTLS, &recorder{greeting: greets + "S1 OK begin\r\n", tls: c.good}, c.caPEM, "", "starttls_injected", "tampering"},
		{"preauth", TLSStartTLS, &recorder{greeting: "* PREAUTH welcome\r\n", tls: c.good}, c.caPEM, "", "starttls_preauth", "PREAUTH"},
		{"bye", TLSStartTLS, &recorder{greeting: "* BYE too busy\r\n", tls: c.good}, c.caPEM, "", "turned_away", "too busy"},
		{"proxy that is ill", TLSStartTLS, &recorder{greeting: "* BAD internal server error\r\n", tls: c.good}, c.caPEM, "", "turned_away", "internal server error"},
		{"proxy that is ill, plaintext", TLSNone, &recorder{greeting: "* BAD internal server error\r\n"}, "", "", "turned_away", "greeting: server said BAD internal server error"},
		{"no imap", TLSStartTLS, &recorder{greeting: "220 smtp.example.org ESMTP\r\n", tls: c.good}, c.caPEM, "", "wrong_protocol", "that is SMTP, not IMAP"},
		{"no mail at all", TLSStartTLS, &recorder{greeting: "hello\r\n", tls: c.good}, c.caPEM, "", "greeting", "not an IMAP server"},
		{"line without end", TLSStartTLS, &recorder{greeting: strings.Repeat("x", 20<<10), tls: c.good}, c.caPEM, "", "greeting", "more than 8192 bytes"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := connectTo(t, tt.srv, tt.mode, tt.ca, tt.to)
			if err == nil {
				t.Fatal("connected")
			}
			if _, code := Classify(err); code != tt.code || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("code %q, error %q; want code %q and %q", code, err, tt.code, tt.want)
			}
			if tt.srv.gaveAway() {
				t.Error("the server was sent a log-in")
			}
		})
	}
}

// What can be trusted gets the log-in, which also proves that the recorder
// would have seen one.
func TestTLSSuccess(t *testing.T) {
	c := newCertificates(t)
	at12 := c.good.Clone()
	at12.MaxVersion = tls.VersionTLS12
	for _, tt := range []struct {
		name    string
		mode    TLSMode
		srv     *recorder
		ca      string
		to      string
		version uint16
		sni     string
	}{
		{"implicit", TLSImplicit, &recorder{implicit: true, tls: c.good}, c.caPEM, "", tls.VersionTLS13, ""},
		{"starttls", TLSStartTLS, &recorder{greeting: greets, tls: c.good}, c.caPEM, "", tls.VersionTLS13, ""},
		{"starttls not announced", TLSStartTLS, &recorder{greeting: "* OK ready\r\n", tls: c.good}, c.caPEM, "", tls.VersionTLS13, ""},
		{"tls 1.2", TLSImplicit, &recorder{implicit: true, tls: at12}, c.caPEM, "", tls.VersionTLS12, ""},
		{"server name", TLSImplicit, &recorder{implicit: true, tls: c.named}, c.caPEM, "imap.example.org", tls.VersionTLS13, "imap.example.org"},
		{"server name behind starttls", TLSStartTLS, &recorder{greeting: greets, tls: c.named}, c.caPEM, "mail.example.org", tls.VersionTLS13, "mail.example.org"},
		{"self-signed and trusted", TLSImplicit, &recorder{implicit: true, tls: c.self}, c.selfPEM, "", tls.VersionTLS13, ""},
		{"one authority of two", TLSImplicit, &recorder{implicit: true, tls: c.foreign}, c.caPEM + string(c.other.PEM), "", tls.VersionTLS13, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := connectTo(t, tt.srv, tt.mode, tt.ca, tt.to)
			if err != nil {
				t.Fatal(err)
			}
			if !tt.srv.gaveAway() {
				t.Error("no log-in was recorded")
			}
			tt.srv.mu.Lock()
			defer tt.srv.mu.Unlock()
			if tt.srv.version != tt.version || len(tt.srv.names) != 1 || tt.srv.names[0] != tt.sni {
				t.Errorf("version %x, server names %q; want %x and %q", tt.srv.version, tt.srv.names, tt.version, tt.sni)
			}
		})
	}
}

// The password stays out of the clear bytes even when the log-in succeeds.
func TestSTARTTLSSendsNothingElseInTheClear(t *testing.T) {
	c := newCertificates(t)
	srv := &recorder{greeting: greets, tls: c.good}
	var inClear bytes.Buffer
	host, port := srv.start(t)
	proxy, err := devenv.StartProxy(t.Context(), net.JoinHostPort(host, fmt.Sprint(port)), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	a := Account{Server: Server{TLS: TLSStartTLS, Host: "127.0.0.1", Port: proxy.Port(), CAPEM: c.caPEM}, Username: "ann"}
	s, err := open(t, a, tlsPassword, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	srv.mu.Lock()
	inClear.WriteString(strings.SplitN(srv.seen.String(), "\x16\x03", 2)[0])
	srv.mu.Unlock()
	if got := inClear.String(); got != "S1 STARTTLS\r\n" {
		t.Errorf("in the clear: %q, want STARTTLS alone", got)
	}
}

// TestTLSResumption has the second connection to a server made with the ticket
// of the first, and one that trusts another authority made anew.
func TestTLSResumption(t *testing.T) {
	d := devenv.TestDovecot(t)
	must(t, d.AddUser("u", "geheim"))
	must(t, d.AddUser("v", "geheim"))
	other, err := devenv.NewCA()
	must(t, err)
	var dialer Dialer
	account := func(user, ca string) Account {
		login := func(context.Context) (secret.Value, error) { return secret.New("geheim"), nil }
		return Account{Server: Server{Host: d.Host, Port: d.TLSPort, TLS: TLSImplicit, CAPEM: ca}, Username: user, Login: login}
	}
	connect := func(user, ca string) *Session {
		t.Helper()
		s, err := dialer.Open(t.Context(), account(user, ca))
		must(t, err)
		return s
	}
	for i, user := range []string{"u", "v", "u"} { // whoever's mailbox it is for
		s := connect(user, string(d.CA.PEM))
		if got := s.wire.Conn.(*tls.Conn).ConnectionState().DidResume; got != (i > 0) {
			t.Errorf("connection %d: resumed %v", i+1, got)
		}
		s.Close()
	}
	s := connect("u", string(d.CA.PEM)+string(other.PEM))
	defer s.Close()
	if s.wire.Conn.(*tls.Conn).ConnectionState().DidResume {
		t.Error("resumed under another authority's trust")
	}
	if _, err := dialer.Open(t.Context(), account("u", string(other.PEM))); err == nil {
		t.Error("a server whose authority is not trusted any more was spoken to")
	}
}
