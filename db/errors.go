package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/lib/pq"
)

// Errors that callers tell apart; everything else is a fault of the statement.
var (
	ErrUnreachable = errors.New("postgres is unreachable")
	ErrConfig      = errors.New("postgres configuration")
	ErrSchema      = errors.New("schema does not fit this binary")
	ErrFenced      = errors.New("another run has taken over this provider")
	ErrNotFound    = errors.New("not found")
	ErrAmbiguous   = errors.New("name is not unique")
	ErrExists      = errors.New("exists already")
	ErrPooler      = errors.New("a connection pooler shares server sessions between clients")
)

// wrap gives a driver error the class that the exit code depends on.
func wrap(err error) error {
	if err == nil || errors.Is(err, ErrUnreachable) || errors.Is(err, ErrConfig) {
		return err
	}
	if pe, ok := errors.AsType[*pq.Error](err); ok {
		code := string(pe.Code)
		switch {
		case strings.HasPrefix(code, "28"), code == "3D000":
			return fmt.Errorf("%w: %w", ErrConfig, err)
		case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "57P"), strings.HasPrefix(code, "53"), code == "25P03": // boundTx
			return fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, ok := errors.AsType[net.Error](err); ok || isConnError(err) {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}

func isConnError(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "SSL is not enabled on the server")
}
