package main

import (
	"context"
	"errors"
	"fmt"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/fault"
	"imapsync/provider"
	"imapsync/publish"
	"imapsync/secret"
)

// The exit codes, after sysexits.h where that has one.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 64
	exitUnavailable = 69
	exitBug         = 70
	exitTempfail    = 75
	exitSchema      = 76
	exitConfig      = 78
)

// exitCodesPointer ends the help of commands with few codes of their own.
const exitCodesPointer = "\n\nExit codes: `imapsync --help`."

const exitCodesHelp = `Exit codes:
  0   done; providers that failed are rows, metrics and log lines
  1   a provider failed and --fail-on any asked for it; an input could not be read;
      reconcile, verify or doctor found something wrong
  64  usage: a flag or an argument is wrong
  69  Postgres or NATS is unreachable
  70  a bug
  75  nothing could be done now: the provider is busy or paused, the deadline came
      first, or every provider failed
  76  the schema is older or newer than this binary
  78  configuration: a setting, a file or a key is missing or wrong
`

// exitError is an error that has its exit code already.
type exitError struct {
	code int
	err  error // nil: nothing more to say
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func configError(format string, args ...any) error {
	return &exitError{exitConfig, fmt.Errorf(format, args...)}
}

// exitCode decides the exit code of an error, in this one place.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[*secret.FileError](err); ok {
		return exitConfig
	}
	switch {
	case errors.Is(err, db.ErrSchema):
		return exitSchema
	case errors.Is(err, db.ErrUnreachable), errors.Is(err, event.ErrUnreachable), errors.Is(err, event.ErrTimeout),
		errors.Is(err, publish.ErrStreamFull), errors.Is(err, secret.ErrUnavailable):
		return exitUnavailable
	case errors.Is(err, db.ErrConfig), errors.Is(err, db.ErrPooler), errors.Is(err, event.ErrConfig),
		errors.Is(err, event.ErrStream), errors.Is(err, event.ErrNoJetStream),
		errors.Is(err, secret.ErrSettings), errors.Is(err, secret.ErrAbsent), errors.Is(err, secret.ErrUnknownKey), errors.Is(err, secret.ErrNotAuthentic), errors.Is(err, secret.ErrEnvelope):
		return exitConfig
	case errors.Is(err, db.ErrNotFound), errors.Is(err, db.ErrAmbiguous), errors.Is(err, db.ErrExists):
		return exitUsage
	case errors.Is(err, provider.ErrBusy), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return exitTempfail
	}
	return exitBug
}

// exitOf is the exit code of an error about one mailbox.
func exitOf(class fault.Class) int {
	if class == fault.Auth || class == fault.Config {
		return exitConfig
	}
	return exitTempfail
}
