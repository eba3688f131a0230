package sync

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
	"strings"
	"syscall"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapsync/db"
	"imapsync/event"
	"imapsync/oauth"
	"imapsync/secret"
)

// Class says what has to happen before an error can go away.
type Class string

// The classes of errors.
const (
	Transient Class = "transient" // the next pass tries again
	Auth      Class = "auth"      // the credentials are refused
	Config    Class = "config"    // a setting is wrong
	Content   Class = "message"   // one message cannot be handled
	Bug       Class = "bug"       // ours
)

// Error is an error whose class was known where it arose. Code is a stable
// word for logs, metrics and the provider's state.
type Error struct {
	Class Class
	Code  string
	Err   error
}

func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error beneath.
func (e *Error) Unwrap() error { return e.Err }

func transient(code string, err error) error { return &Error{Transient, code, err} }
func config(code string, err error) error    { return &Error{Config, code, err} }
func auth(code string, err error) error      { return &Error{Auth, code, err} }

// Classify gives the class and the code of any error of a pass.
func Classify(err error) (Class, string) {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class, e.Code
	}
	if e, ok := errors.AsType[*oauth.Error](err); ok {
		return oauthClass(e)
	}
	switch {
	case errors.Is(err, db.ErrFenced):
		return Transient, "fenced"
	case errors.Is(err, errLockLost):
		return Transient, "lock_lost"
	case errors.Is(err, db.ErrUnreachable):
		return Transient, "postgres"
	case errors.Is(err, event.ErrUnreachable), errors.Is(err, event.ErrTimeout):
		return Transient, "nats"
	case errors.Is(err, event.ErrStreamFull):
		return Transient, "stream_full"
	case errors.Is(err, event.ErrStream), errors.Is(err, event.ErrNoJetStream), errors.Is(err, event.ErrConfig):
		return Config, "stream"
	case errors.Is(err, secret.ErrUnavailable):
		return Transient, "secret_unavailable"
	case errors.Is(err, secret.ErrAbsent), errors.Is(err, secret.ErrSettings), errors.Is(err, db.ErrNotFound), errors.Is(err, secret.ErrUnknownKey), errors.Is(err, secret.ErrNotAuthentic):
		return Config, "secret"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return Transient, "timeout"
	case errors.Is(err, context.Canceled):
		return Transient, "cancelled"
	}
	if ie, ok := errors.AsType[*imap.Error](err); ok {
		return classifyStatus(string(ie.Type), string(ie.Code), ie.Text)
	}
	return Transient, "connection"
}

// systemic reports whether the error is about Postgres or NATS, so that every
// other provider would meet it too and the run must stop.
func systemic(err error) bool {
	return errors.Is(err, db.ErrUnreachable) || errors.Is(err, event.ErrUnreachable) ||
		errors.Is(err, event.ErrStreamFull) || errors.Is(err, event.ErrStream) ||
		errors.Is(err, event.ErrNoJetStream) || errors.Is(err, event.ErrTimeout)
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
func classifyStatus(typ, code, text string) (Class, string) {
	switch strings.ToUpper(code) {
	case "UNAVAILABLE", "LIMIT", "INUSE", "THROTTLED", "OVERQUOTA", "SERVERBUG", "CONTACTADMIN":
		return Transient, strings.ToLower(code)
	case "NONEXISTENT", "TRYCREATE":
		return Config, "folder_missing"
	case "NOPERM":
		return Config, "no_permission"
	case "AUTHENTICATIONFAILED", "AUTHORIZATIONFAILED", "EXPIRED":
		return Auth, strings.ToLower(code)
	}
	if throttled(text) {
		return Transient, "throttled"
	}
	if typ == "BYE" {
		return Transient, "bye"
	}
	return Transient, "refused"
}

// wireCause says what ended a connection. The step is left to the caller, who
// names it.
func wireCause(err error) error {
	if e, ok := errors.AsType[*wireError](err); ok {
		err = e.Err
	}
	if _, ok := errors.AsType[*limitError](err); ok {
		return transient("over_limit", err)
	}
	if _, ok := errors.AsType[*protocolError](err); ok {
		return transient("protocol", err)
	}
	if hungUp(err) {
		return transient("connection", fmt.Errorf("the server closed the connection: %w", err))
	}
	return err
}

// hungUp reports whether the other side closed or reset the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// greetingError classes a failure before the login. A BYE says why (RFC 3501
// section 7.1.5): often it asks for patience.
func greetingError(err error, last status) error {
	if last.Type == "BYE" { // go-imap may say no more than that the connection is gone
		class, code := classifyStatus(last.Type, last.Code, last.Text)
		return &Error{class, code, fmt.Errorf("greeting: server said %s", last)}
	}
	if e, ok := errors.AsType[*imap.Error](err); ok {
		class, code := classifyStatus(string(e.Type), string(e.Code), e.Text)
		return &Error{class, code, fmt.Errorf("greeting: server said %s", last)}
	}
	return transient("greeting", fmt.Errorf("greeting: %w", err))
}

// loginError classes the refusal of a login. It is strict: only what certainly
// speaks of the credentials counts towards pausing the provider.
func loginError(err error, last status) error {
	ie, ok := errors.AsType[*imap.Error](err)
	if !ok {
		if last.Type == "BYE" {
			return transient("throttled", fmt.Errorf("login: server said %s", last))
		}
		return fmt.Errorf("login: %w", err)
	}
	code := strings.ToUpper(string(ie.Code))
	wrapped := fmt.Errorf("login refused: %s", last)
	switch {
	case code == "AUTHENTICATIONFAILED", code == "AUTHORIZATIONFAILED", code == "EXPIRED":
		return auth(strings.ToLower(code), wrapped)
	case code == "PRIVACYREQUIRED":
		return config("privacy_required", fmt.Errorf("%w: use --tls implicit or starttls", wrapped))
	case code == "" && ie.Type == imap.StatusResponseTypeNo && !throttled(ie.Text):
		return auth("login_refused", wrapped)
	}
	class, word := classifyStatus(string(ie.Type), code, ie.Text)
	if class == Auth || class == Config {
		class = Transient
	}
	return &Error{class, word, wrapped}
}

// dialError classes a failure to connect.
func dialError(err error) error {
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return config("host_not_found", fmt.Errorf("connect: host %q is not in DNS: check --host", dns.Name))
		}
		return transient("dns", fmt.Errorf("connect: %w", err))
	}
	return transient("connect", fmt.Errorf("connect: %w", err))
}

// portHint is what to do when TLS and a port do not fit.
const portHint = "check --port and --tls: 993 is for implicit, 143 for starttls"

// tlsError names what is wrong with a certificate, or with the handshake, and
// what to do about it.
func tlsError(mode db.TLSMode, host string, err error) error {
	if host == "" {
		host = "the server"
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok {
		if c := e.Certificate; c != nil && len(c.DNSNames)+len(c.IPAddresses) == 0 {
			return config("tls_host", fmt.Errorf("tls: the certificate of %s names no host but in its outdated common name (%s): the server needs one with a subject alternative name",
				host, c.Subject.CommonName))
		}
		return config("tls_host", fmt.Errorf("tls: the certificate is for %s, not for %s: check --host or set --tls-server-name",
			certNames(e.Certificate), host))
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		if e.Cert != nil && time.Now().Before(e.Cert.NotBefore) {
			return config("tls_not_yet_valid", fmt.Errorf("tls: the certificate of %s is not valid before %s: check both clocks",
				host, e.Cert.NotBefore.UTC().Format(time.RFC3339)))
		}
		expired := "in the past"
		if e.Cert != nil {
			expired = e.Cert.NotAfter.UTC().Format(time.RFC3339)
		}
		return config("tls_expired", fmt.Errorf("tls: the certificate of %s expired %s: it must be renewed on the server", host, expired))
	}
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		if e.Cert != nil && e.Cert.Issuer.String() == e.Cert.Subject.String() {
			return config("tls_self_signed", fmt.Errorf("tls: the certificate of %s is self-signed: give it with --ca-file if you trust it", host))
		}
		return config("tls_unknown_ca", fmt.Errorf("tls: the certificate of %s is signed by an unknown authority (%s): give its CA with --ca-file, or let the server send its whole chain", host, issuerName(e.Cert)))
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return config("tls_certificate", fmt.Errorf("tls: %w", err))
	}
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok && e.Conn != nil {
		if mode == db.TLSStartTLS {
			return config("starttls_injected", errors.New("starttls: something else came where the handshake begins: somebody may be tampering with the connection; refused"))
		}
		return config("tls_not_spoken", fmt.Errorf("tls: %s does not speak TLS on this port: use --tls starttls, or port 993", host))
	}
	// The standard library has no types for these two.
	text := err.Error()
	if strings.Contains(text, "protocol version not supported") || strings.Contains(text, "unsupported protocol version") {
		return config("tls_version", fmt.Errorf("tls: %s speaks nothing newer than TLS 1.1, which is broken: the server must be brought up to date", host))
	}
	if strings.Contains(text, "tls: handshake failure") {
		return config("tls_handshake", fmt.Errorf("tls: %s and we share no cipher: the server must be brought up to date", host))
	}
	if hungUp(err) {
		err = fmt.Errorf("%s closed the connection in the handshake: %w", host, err)
	}
	return transient("tls", fmt.Errorf("tls: %w: try again later, or %s", err, portHint))
}

func issuerName(c *x509.Certificate) string {
	if c == nil {
		return "unnamed"
	}
	return cmp.Or(c.Issuer.CommonName, c.Issuer.String(), "unnamed")
}

func certNames(c *x509.Certificate) string {
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
