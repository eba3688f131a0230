package db

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"strings"

	"github.com/lib/pq"
)

// Errors that callers tell apart.
var (
	ErrUnreachable = errors.New("postgres is unreachable")
	ErrReadOnly    = errors.New("postgres takes no writes")
	ErrServer      = errors.New("postgres cannot do it now") // of this statement alone: the next may go well
	ErrStatement   = errors.New("postgres refuses a statement of ours")
	ErrConfig      = errors.New("postgres configuration")
	ErrSchema      = errors.New("schema does not fit this binary")
	ErrFenced      = errors.New("another run has taken over this provider")
	ErrNotFound    = errors.New("not found")
	ErrAmbiguous   = errors.New("name is not unique")
	ErrExists      = errors.New("exists already")
	ErrPooler      = errors.New("a connection pooler shares server sessions between clients")
)

// sqlStates say what a SQLSTATE means, by how it begins; the first that fits counts.
// What is not among them, class 22 and 42 above all, is a statement that is wrong.
var sqlStates = []struct {
	prefix string
	means  error
}{
	{"25006", ErrReadOnly},    // a standby, or default_transaction_read_only
	{"25P03", ErrUnreachable}, // boundTx
	{"42501", ErrConfig},      // the role may not
	{"28", ErrConfig},
	{"3D", ErrConfig},
	{"08", ErrUnreachable},
	{"53", ErrUnreachable},
	{"57", ErrUnreachable},
	{"40", ErrServer}, // a deadlock, or two at once
	{"55", ErrServer},
	{"58", ErrServer},
	{"XX", ErrServer},
}

// wrap gives a driver error the class that the exit code depends on. Where ctx has
// ended, the server or database/sql may have words of their own for what came of it.
func wrap(ctx context.Context, err error) error {
	switch {
	case err == nil, errors.Is(err, ErrUnreachable), errors.Is(err, ErrConfig), errors.Is(err, ErrReadOnly), errors.Is(err, ErrServer),
		errors.Is(err, ErrStatement), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	if ctx.Err() != nil && errors.Is(err, sql.ErrTxDone) {
		return fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	if pe, ok := errors.AsType[*pq.Error](err); ok {
		if ctx.Err() != nil && pe.Code == "57014" { // query_canceled
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		}
		for _, state := range sqlStates {
			if strings.HasPrefix(string(pe.Code), state.prefix) {
				return fmt.Errorf("%w: %w", state.means, err)
			}
		}
		return fmt.Errorf("%w: SQLSTATE %s: %w", ErrStatement, pe.Code, err)
	}
	if isConfigError(err) {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if _, ok := errors.AsType[net.Error](err); ok || isConnError(err) {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}

// isConfigError reports whether a file or a certificate that the URL names, or
// leads to, keeps us from connecting.
func isConfigError(err error) bool {
	_, path := errors.AsType[*fs.PathError](err)
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, host := errors.AsType[x509.HostnameError](err)
	return path || cert || unknown || host
}

func isConnError(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "SSL is not enabled on the server")
}
