package imapsession

import (
	"context"
	"errors"
	"io"
	"maps"
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
	code := "unclassified" // a failure that nobody has thought of is a bug
	if e, ok := fault.Of(err); ok {
		return e.Class, e.Code
	} else if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		code = "timeout"
	} else if errors.Is(err, context.Canceled) {
		code = "cancelled"
	} else if e, ok := errors.AsType[*imap.Error](err); ok {
		code = aboutError(e)
	} else if isIO(err) {
		code = "connection"
	}
	return classes[code], code
}

// isIO reports whether err is about a connection, not about what was said on it.
func isIO(err error) bool {
	_, network := errors.AsType[net.Error](err)
	_, system := errors.AsType[syscall.Errno](err)
	return network || system || hungUp(err) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
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
	n, _ := strconv.Atoi(m[1]) // at most nine digits
	unit := time.Millisecond
	if strings.HasPrefix(strings.ToLower(m[2]), "s") {
		unit = time.Second
	}
	return min(time.Duration(n)*unit, maxBackoffHint)
}

// refusedError classes the refusal of a folder where it arose: joined with the
// errors of other folders it keeps its place among them.
func refusedError(err error) error {
	if e, ok := errors.AsType[*imap.Error](err); ok {
		return failf(aboutError(e), "%w", err)
	}
	return err
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
		return saidError("", last)
	}
	if ioErr := s.wire.Err(); ioErr != nil {
		return wireCause(ioErr)
	}
	if errors.Is(err, errNoCapabilities) && last.Type != "" {
		return failf("refused", "server said %s", last)
	}
	return orProtocol(err)
}

// orProtocol is err, as a fault of what was said where nobody knows it: then go-imap
// could not read that, and gave up.
func orProtocol(err error) error {
	if class, _ := Classify(err); class != fault.Bug {
		return err
	}
	return failf("protocol", "%w", err)
}

// errNoCapabilities says that a server did not tell what it can do.
var errNoCapabilities = errors.New("no answer")

// saidError is what the server said of itself.
func saidError(step string, last imapwire.Status) error {
	return failf(about(last.Type, last.Code, last.Text), "%sserver said %s", step, last)
}

// wireCause says what ended a connection. The step is left to the caller, who names it.
func wireCause(err error) error {
	if e, ok := errors.AsType[*imapwire.Error](err); ok {
		switch {
		case e.Limit:
			return failf("over_limit", "%w", err)
		case e.Slow:
			return failf("slow_body", "%w", err)
		}
		return failf("protocol", "%w", err)
	}
	if hungUp(err) {
		return failf("connection", "the server closed the connection: %w", err)
	}
	return orProtocol(err)
}

// hungUp reports whether the other side closed or reset the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// classes has the class of each code that an error of a session may have.
var classes = func() map[string]fault.Class {
	classes := map[string]fault.Class{}
	for class, codes := range map[fault.Class]string{
		fault.Auth: "authenticationfailed authorizationfailed expired login_refused token_refused",
		fault.Config: `host_not_found preauth login_disabled no_oauth privacy_required wrong_protocol folder_missing folder_name too_many_folders no_permission
			ca_file tls_host tls_not_yet_valid tls_expired tls_self_signed tls_unknown_ca tls_certificate
			tls_not_spoken tls_version tls_handshake
			starttls_tls starttls_missing starttls_refused starttls_injected starttls_preauth`,
		fault.Transient: `dns connect tls tls_timeout starttls starttls_timeout greeting turned_away bye capability
			unavailable limit inuse throttled overquota serverbug contactadmin
			refused login_unclear connection over_limit slow_body protocol timeout`,
		fault.Ours: "cancelled",
		fault.Bug:  "unclassified",
	} {
		for code := range strings.FieldsSeq(codes) {
			classes[code] = class
		}
	}
	return classes
}()

// Codes are the codes that an error of a session may have, by their class.
func Codes() map[string]fault.Class { return maps.Clone(classes) }

// failf is an error with one of the codes of classes.
func failf(code, format string, args ...any) *fault.Error {
	return fault.Newf(classes[code], code, format, args...)
}
