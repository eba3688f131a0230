package imapsession

import (
	"bufio"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"imapsync/internal/imapwire"
)

// maxTLSConfigs bounds what is remembered of servers.
const maxTLSConfigs = 10_000

// tlsConfigs remembers, for as long as the process lives, how each server is
// trusted and the last session ticket it gave (RFC 8446 section 2.2): the next
// connection to it, whoever's mailbox it is for, needs no certificate. A server
// that is trusted otherwise now is another one here.
type tlsConfigs struct {
	mu    sync.Mutex
	known map[Server]*tls.Config
}

// of is the configuration for a server.
func (t *tlsConfigs) of(s Server, clock func() time.Time) (*tls.Config, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if cfg := t.known[s]; cfg != nil {
		return cfg, nil
	}
	cfg := &tls.Config{
		ServerName: cmp.Or(s.TLSServerName, s.Host), MinVersion: tls.VersionTLS12, Time: clock, ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
	if s.CAPEM != "" {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(s.CAPEM)) {
			return nil, failf("ca_file", "tls: the CA of this mailbox holds no PEM certificate")
		}
	}
	if t.known == nil || len(t.known) >= maxTLSConfigs {
		t.known = map[Server]*tls.Config{}
	}
	t.known[s] = cfg
	return cfg, nil
}

// tlsError names what is wrong with a certificate, or with the handshake.
func tlsError(mode TLSMode, host string, err error, now time.Time) error {
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		if c := e.Certificate; len(c.DNSNames)+len(c.IPAddresses) == 0 {
			return failf("tls_host", "tls: the certificate of %s has no subject alternative name, only a common name (%s): the server needs another",
				host, c.Subject.CommonName).With("reason", "no_names")
		}
		return failf("tls_host", "tls: the certificate is for %s, not for %s",
			CertNames(e.Certificate), host)
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		if now.Before(e.Cert.NotBefore) {
			return failf("tls_not_yet_valid", "tls: the certificate of %s is not valid before %s",
				host, e.Cert.NotBefore.UTC().Format(time.RFC3339))
		}
		return failf("tls_expired", "tls: the certificate of %s expired %s: it must be renewed on the server",
			host, e.Cert.NotAfter.UTC().Format(time.RFC3339))
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		if e.Cert.Issuer.String() == e.Cert.Subject.String() {
			return failf("tls_self_signed", "tls: the certificate of %s is self-signed", host)
		}
		return failf("tls_unknown_ca", "tls: the certificate of %s is signed by an unknown authority (%s)", host, IssuerName(e.Cert))
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return failf("tls_certificate", "tls: %w", err)
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok && e.Conn != nil {
		if mode == TLSStartTLS {
			return failf("starttls_injected", "starttls: something else came where the handshake begins: somebody may be tampering with the connection; refused")
		}
		if speaks := imapwire.Speaks(e.RecordHeader[:]); speaks != "" {
			return wrongProtocol("tls", speaks, fmt.Errorf("%s speaks it in the clear on this port", host))
		}
		return failf("tls_not_spoken", "tls: %s does not speak TLS on this port", host)
	}
	// The standard library has no types for these two.
	text := err.Error()
	if strings.Contains(text, "protocol version not supported") || strings.Contains(text, "unsupported protocol version") {
		return failf("tls_version", "tls: %s speaks nothing newer than TLS 1.1, which is broken: the server must be brought up to date", host)
	}
	if strings.Contains(text, "tls: handshake failure") {
		return failf("tls_handshake", "tls: no TLS cipher suite in common with %s: the server must be brought up to date", host)
	}
	if hungUp(err) {
		err = fmt.Errorf("%s closed the connection in the handshake: %w", host, err)
	}
	return failf("tls", "tls: %w", err)
}

// IssuerName is what a person calls the authority of a certificate.
func IssuerName(c *x509.Certificate) string {
	return cmp.Or(c.Issuer.CommonName, c.Issuer.String(), "unnamed")
}

// CertNames lists whom a certificate is for.
func CertNames(c *x509.Certificate) string {
	switch {
	case len(c.DNSNames) > 0:
		return strings.Join(c.DNSNames, ", ")
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	}
	return c.Subject.CommonName
}

// maxPlainLine bounds a line of the dialogue before TLS, in bytes.
const maxPlainLine = 8 << 10

// startTLS asks for TLS on a plaintext connection (RFC 3501 section 6.2.1). It
// is done by hand so that not a byte of what came before the handshake is
// believed after it: bytes that the server, or somebody between, sent behind
// the answer are an attack and refused.
func startTLS(conn net.Conn) error {
	r := bufio.NewReaderSize(conn, maxPlainLine)
	greeting, err := plainLine(r)
	if err != nil {
		return failf("greeting", "greeting: %w", err)
	}
	switch strings.ToUpper(firstWords(greeting, 2)) {
	case "* OK":
	case "* BYE", "* NO", "* BAD":
		return failf("turned_away", "greeting: server said %q", greeting)
	case "* PREAUTH":
		return failf("starttls_preauth", "starttls: the server skips the login on an unencrypted connection (PREAUTH): refused")
	default:
		if speaks := imapwire.Speaks([]byte(greeting)); speaks != "" {
			return wrongProtocol("starttls", speaks, fmt.Errorf("the server said %q", greeting))
		}
		return failf("greeting", "greeting: not an IMAP server: %q", greeting)
	}
	if _, err := io.WriteString(conn, "S1 STARTTLS\r\n"); err != nil {
		return failf("starttls", "starttls: %w", err)
	}
	for range 100 { // untagged lines may come before the answer
		line, err := plainLine(r)
		if err != nil {
			return failf("starttls", "starttls: %w", err)
		}
		if strings.HasPrefix(line, "* ") {
			continue
		}
		switch strings.ToUpper(firstWords(line, 2)) {
		case "S1 OK":
		case "S1 BAD":
			return failf("starttls_missing", "starttls: the server, or somebody on the way to it, does not offer it (%q)", line)
		default:
			return failf("starttls_refused", "starttls: the server refuses it (%q)", line)
		}
		if r.Buffered() > 0 {
			return failf("starttls_injected", "starttls: bytes came before the handshake: somebody may be tampering with the connection; refused")
		}
		return nil
	}
	return failf("starttls", "starttls: no answer in 100 lines")
}

func plainLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return "", fmt.Errorf("a line of more than %d bytes", maxPlainLine)
	}
	if err != nil && imapwire.Speaks(line) != "TLS" {
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

func firstWords(line string, n int) string {
	words := strings.Fields(line)
	return strings.Join(words[:min(n, len(words))], " ")
}
