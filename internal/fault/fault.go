// Package fault is the shape of an error whose cause is known: a class, which
// says what has to happen before it can go away; a code, which is a stable word
// for logs, metrics and rows; and parameters, from which a face makes its words.
//
// It words nothing for a face: the text of an error names the thing and the
// place, never a flag, a command or a label. It imports the standard library
// only, so that every layer above may use it.
package fault

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Class says what has to happen before an error can go away.
type Class string

// The classes of errors. Their values stand in logs and metrics.
const (
	Ours      Class = "ours"      // our own side: a stop, a key, the database, the broker; no mailbox is charged with it
	Transient Class = "transient" // the next pass tries again
	Auth      Class = "auth"      // the credentials are refused
	Config    Class = "config"    // a setting is wrong
	Message   Class = "message"   // one message cannot be handled
	Bug       Class = "bug"       // our own mistake
)

// Error is an error whose class and code were known where it arose. Params may
// be nil; its keys are snake_case words such as host, port and names.
type Error struct {
	Class  Class
	Code   string
	Params map[string]string
	Err    error
}

// New classifies err.
func New(class Class, code string, err error) *Error {
	return &Error{Class: class, Code: code, Err: err}
}

// Newf classifies a new error of the given text; %w wraps as in fmt.Errorf.
func Newf(class Class, code, format string, args ...any) *Error {
	return &Error{Class: class, Code: code, Err: fmt.Errorf(format, args...)}
}

// With returns a copy of e that has one more parameter.
func (e *Error) With(key, value string) *Error {
	more := *e
	more.Params = maps.Clone(e.Params)
	if more.Params == nil {
		more.Params = map[string]string{}
	}
	more.Params[key] = value
	return &more
}

// Error returns the text of the error beneath.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the error beneath.
func (e *Error) Unwrap() error { return e.Err }

// Of returns the outermost Error in the tree of err, if there is one.
func Of(err error) (*Error, bool) { return errors.AsType[*Error](err) }

// Has reports whether an Error of a class is anywhere in the tree of err.
func Has(err error, class Class) bool {
	if e, ok := err.(*Error); ok && e.Class == class { //nolint:errorlint // the tree is walked here
		return true
	}
	switch e := err.(type) { //nolint:errorlint // as above
	case interface{ Unwrap() error }:
		return Has(e.Unwrap(), class)
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(e.Unwrap(), func(err error) bool { return Has(err, class) })
	}
	return false
}

// Row classifies one sentinel.
type Row struct {
	Sentinel error
	Class    Class
	Code     string
}

// Table classifies sentinels. The first row that matches counts.
type Table []Row

// Find returns the first row whose sentinel err wraps.
func (t Table) Find(err error) (Row, bool) {
	for _, row := range t {
		if errors.Is(err, row.Sentinel) {
			return row, true
		}
	}
	return Row{}, false
}
