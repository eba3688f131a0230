package imapsession

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapsync/internal/fault"
	"imapsync/internal/imapwire"
)

// Classify gives the class and the code of an error of a session.
func Classify(err error) (fault.Class, string) {
	if e, ok := fault.Of(err); ok {
		return e.Class, e.Code
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return fault.Transient, "timeout"
	case errors.Is(err, context.Canceled):
		return fault.Transient, "cancelled"
	}
	if e, ok := errors.AsType[*imap.Error](err); ok {
		return classifyStatus(string(e.Type), string(e.Code), e.Text)
	}
	return fault.Transient, "connection"
}

// throttleWords are how servers say "later" in words, in lower case.
var throttleWords = []string{
	"throttl", "too many", "try again", "temporar", "overquota", "rate limit", "rate-limit", "bandwidth", "unavailable",
	"in use", "backoff", "busy", "maximum number of connections", "connected", "simultaneous", "later",
}

func throttled(text string) bool {
	text = strings.ToLower(text)
	for _, w := range throttleWords {
		if strings.Contains(text, w) {
			return true
		}
	}
	return false
}

// classifyStatus classes a NO, BAD or BYE outside of login (RFC 5530).
func classifyStatus(typ, code, text string) (fault.Class, string) {
	switch strings.ToUpper(code) {
	case "UNAVAILABLE", "LIMIT", "INUSE", "THROTTLED", "OVERQUOTA", "SERVERBUG", "CONTACTADMIN":
		return fault.Transient, strings.ToLower(code)
	case "NONEXISTENT", "TRYCREATE":
		return fault.Config, "folder_missing"
	case "NOPERM":
		return fault.Config, "no_permission"
	case "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED":
		return fault.Auth, strings.ToLower(code)
	}
	if throttled(text) {
		return fault.Transient, "throttled"
	}
	if typ == "BYE" {
		return fault.Transient, "bye"
	}
	return fault.Transient, "refused"
}

// suggestedBackoff reads how long Exchange wants to be left alone.
var suggestedBackoff = regexp.MustCompile(`(?i)suggested back-?off time:?\s*(\d{1,9})\s*(ms|milliseconds|s|seconds)?`)

// maxBackoffHint bounds what a server may ask for.
const maxBackoffHint = 6 * time.Hour

// BackoffHint is how long the server asks to be left alone in the text of an
// error, 0 when it does not say.
func BackoffHint(err error) time.Duration {
	m := suggestedBackoff.FindStringSubmatch(err.Error())
	if m == nil {
		return 0
	}
	n, convErr := strconv.Atoi(m[1])
	if convErr != nil {
		return 0
	}
	unit := time.Millisecond
	if strings.HasPrefix(strings.ToLower(m[2]), "s") {
		unit = time.Second
	}
	return min(time.Duration(n)*unit, maxBackoffHint)
}

// wireCause says what ended a connection. The step is left to the caller, who
// names it.
func wireCause(err error) error {
	if e, ok := errors.AsType[*imapwire.Error](err); ok {
		err = e.Err
	}
	if _, ok := errors.AsType[*imapwire.LimitError](err); ok {
		return fault.New(fault.Transient, "over_limit", err)
	}
	if _, ok := errors.AsType[*imapwire.ProtocolError](err); ok {
		return fault.New(fault.Transient, "protocol", err)
	}
	if hungUp(err) {
		return fault.Newf(fault.Transient, "connection", "the server closed the connection: %w", err)
	}
	return err
}

// hungUp reports whether the other side closed or reset the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// greetingError classes a failure before the login. A BYE says why (RFC 3501
// section 7.1.5): often it asks for patience.
func greetingError(err error, last imapwire.Status) error {
	if last.Type == "BYE" { // go-imap may say no more than that the connection is gone
		class, code := classifyStatus(last.Type, last.Code, last.Text)
		return fault.Newf(class, code, "greeting: server said %s", last)
	}
	if e, ok := errors.AsType[*imap.Error](err); ok {
		class, code := classifyStatus(string(e.Type), string(e.Code), e.Text)
		return fault.Newf(class, code, "greeting: server said %s", last)
	}
	return fault.Newf(fault.Transient, "greeting", "greeting: %w", err)
}

// loginError classes the refusal of a login. It is strict: only what certainly
// speaks of the credentials counts towards pausing the provider.
func loginError(err error, last imapwire.Status) error {
	ie, ok := errors.AsType[*imap.Error](err)
	if !ok {
		if last.Type == "BYE" {
			return fault.Newf(fault.Transient, "throttled", "login: server said %s", last)
		}
		return fmt.Errorf("login: %w", err)
	}
	code := strings.ToUpper(string(ie.Code))
	wrapped := fmt.Errorf("login refused: %s", last)
	switch {
	case code == "AUTHENTICATIONFAILED", code == "AUTHORIZATIONFAILED", code == "EXPIRED":
		return fault.New(fault.Auth, strings.ToLower(code), wrapped)
	case code == "PRIVACYREQUIRED":
		return fault.New(fault.Config, "privacy_required", wrapped)
	case code == "" && ie.Type == imap.StatusResponseTypeNo && !throttled(ie.Text):
		return fault.New(fault.Auth, "login_refused", wrapped)
	}
	class, word := classifyStatus(string(ie.Type), code, ie.Text)
	if class == fault.Auth || class == fault.Config {
		class = fault.Transient
	}
	return fault.New(class, word, wrapped)
}

// dialError classes a failure to connect.
func dialError(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return fault.Newf(fault.Config, "host_not_found", "connect: host %q is not in DNS", dns.Name)
		}
		return fault.Newf(fault.Transient, "dns", "connect: %w", err)
	}
	return fault.Newf(fault.Transient, "connect", "connect: %w", err)
}

// tlsError names what is wrong with a certificate, or with the handshake.
func tlsError(mode TLSMode, host string, err error, now time.Time) error {
	if host == "" {
		host = "the server"
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		if c := e.Certificate; c != nil && len(c.DNSNames)+len(c.IPAddresses) == 0 {
			return fault.Newf(fault.Config, "tls_host", "tls: the certificate of %s has no subject alternative name, only a common name (%s): the server needs another",
				host, c.Subject.CommonName).With("reason", "no_names")
		}
		return fault.Newf(fault.Config, "tls_host", "tls: the certificate is for %s, not for %s",
			CertNames(e.Certificate), host)
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		if e.Cert != nil && now.Before(e.Cert.NotBefore) {
			return fault.Newf(fault.Config, "tls_not_yet_valid", "tls: the certificate of %s is not valid before %s",
				host, e.Cert.NotBefore.UTC().Format(time.RFC3339))
		}
		expired := "in the past"
		if e.Cert != nil {
			expired = e.Cert.NotAfter.UTC().Format(time.RFC3339)
		}
		return fault.Newf(fault.Config, "tls_expired", "tls: the certificate of %s expired %s: it must be renewed on the server", host, expired)
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		if e.Cert != nil && e.Cert.Issuer.String() == e.Cert.Subject.String() {
			return fault.Newf(fault.Config, "tls_self_signed", "tls: the certificate of %s is self-signed", host)
		}
		return fault.Newf(fault.Config, "tls_unknown_ca", "tls: the certificate of %s is signed by an unknown authority (%s)", host, IssuerName(e.Cert))
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return fault.Newf(fault.Config, "tls_certificate", "tls: %w", err)
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok && e.Conn != nil {
		if mode == TLSStartTLS {
			return fault.Newf(fault.Config, "starttls_injected", "starttls: something else came where the handshake begins: somebody may be tampering with the connection; refused")
		}
		return fault.Newf(fault.Config, "tls_not_spoken", "tls: %s does not speak TLS on this port", host)
	}
	// The standard library has no types for these two.
	text := err.Error()
	if strings.Contains(text, "protocol version not supported") || strings.Contains(text, "unsupported protocol version") {
		return fault.Newf(fault.Config, "tls_version", "tls: %s speaks nothing newer than TLS 1.1, which is broken: the server must be brought up to date", host)
	}
	if strings.Contains(text, "tls: handshake failure") {
		return fault.Newf(fault.Config, "tls_handshake", "tls: no TLS cipher suite in common with %s: the server must be brought up to date", host)
	}
	if hungUp(err) {
		err = fmt.Errorf("%s closed the connection in the handshake: %w", host, err)
	}
	return fault.Newf(fault.Transient, "tls", "tls: %w", err)
}

// IssuerName is what a person calls the authority of a certificate, which may
// be nil.
func IssuerName(c *x509.Certificate) string {
	if c == nil {
		return "unnamed"
	}
	return cmp.Or(c.Issuer.CommonName, c.Issuer.String(), "unnamed")
}

// CertNames lists whom a certificate, which may be nil, is for.
func CertNames(c *x509.Certificate) string {
	switch {
	case c == nil:
		return "another host"
	case len(c.DNSNames) > 0:
		return strings.Join(c.DNSNames, ", ")
	case len(c.IPAddresses) > 0:
		return c.IPAddresses[0].String()
	}
	return c.Subject.CommonName
}
