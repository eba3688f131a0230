package imapsession

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
)

// maxTLSConfigs bounds what is remembered of servers.
const maxTLSConfigs = 10_000

// tlsConfigs remembers, for as long as the process lives, how each server is
// trusted and the last session ticket it gave (RFC 8446 section 2.2): the next
// connection to it, whoever's mailbox it is for, needs no certificate. A server
// that is trusted otherwise now is another one here.
type tlsConfigs struct {
	mu    sync.Mutex
	known map[tlsEndpoint]*tls.Config
}

// tlsEndpoint is a server and how it is trusted.
type tlsEndpoint struct {
	host, serverName, ca string
	port                 int
	mode                 TLSMode
}

func (a *Account) tlsEndpoint() tlsEndpoint {
	return tlsEndpoint{a.Host, a.TLSServerName, a.CAPEM, a.Port, a.TLS}
}

// of is the configuration for an account's server.
func (t *tlsConfigs) of(a Account, clock func() time.Time) (*tls.Config, error) {
	key := a.tlsEndpoint()
	t.mu.Lock()
	defer t.mu.Unlock()
	if cfg := t.known[key]; cfg != nil {
		return cfg, nil
	}
	cfg := &tls.Config{
		ServerName: a.serverName(), MinVersion: tls.VersionTLS12, Time: clock, ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
	if a.CAPEM != "" {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(a.CAPEM)) {
			return nil, failf("ca_file", "tls: the CA of this mailbox holds no PEM certificate")
		}
	}
	if t.known == nil || len(t.known) >= maxTLSConfigs {
		t.known = map[tlsEndpoint]*tls.Config{}
	}
	t.known[key] = cfg
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
