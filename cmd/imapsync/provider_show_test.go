package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/provider"
	"imapsync/secret"
)

// What to do is said once, whoever says it: the error, its fix, or the server.
func TestCheckErrorSaysItOnce(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
			conn.Close()
		}
	}()
	p := &db.Provider{Settings: db.Settings{Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, TLS: db.TLSImplicit}}
	mailboxes := (&app{log: slog.New(slog.DiscardHandler)}).service(nil)
	_, closed := mailboxes.Check(t.Context(), p, provider.CredentialInput{provider.Password: secret.New("x")})
	failed := func(err error) error {
		return testedError(&provider.TestError{Provider: p, Reached: true, Err: err}, "")
	}
	throttled := failed(&fault.Error{Class: fault.Transient, Code: "throttled", Err: errors.New("login refused: NO too many, try again later")})
	for _, err := range []error{testedError(closed, ""), throttled, failed(fmt.Errorf("read: %w", io.ErrUnexpectedEOF))} {
		if exitCode(err) != exitTempfail || strings.Count(err.Error(), "try again later") != 1 {
			t.Errorf("%v (exit %d): want `try again later` in it once, and exit %d", err, exitCode(err), exitTempfail)
		}
	}
}
