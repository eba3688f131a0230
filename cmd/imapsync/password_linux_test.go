package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"imapsync/secret"
)

// pseudoTerminal returns the two ends of one: what is written to the keyboard
// can be read from the terminal.
func pseudoTerminal(t *testing.T) (keyboard, terminal *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keyboard.Close() })
	if err := unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return keyboard, terminal
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// ask runs askPassword until it waits for somebody to type.
func ask(ctx context.Context, t *testing.T, terminal *os.File) (password <-chan secret.Value, failed <-chan error) {
	t.Helper()
	a := &app{stdin: terminal, stdout: io.Discard, stderr: io.Discard}
	passwords, errs := make(chan secret.Value, 1), make(chan error, 1)
	go func() {
		v, err := a.askPassword(ctx, "Password: ")
		passwords <- v
		errs <- err
	}()
	for end := time.Now().Add(patience); echoes(t, terminal); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the terminal still echoes")
		}
	}
	return passwords, errs
}

func TestAskPasswordWithoutEcho(t *testing.T) {
	keyboard, terminal := pseudoTerminal(t)
	passwords, errs := ask(t.Context(), t, terminal)
	if _, err := io.WriteString(keyboard, "typed\n"); err != nil {
		t.Fatal(err)
	}
	if v, err := <-passwords, <-errs; err != nil || v.Reveal() != "typed" {
		t.Errorf("askPassword: %q, %v", v.Reveal(), err)
	}
	if !echoes(t, terminal) {
		t.Error("the terminal has no echo afterwards")
	}
}

func TestAskPasswordInterrupted(t *testing.T) {
	_, terminal := pseudoTerminal(t)
	ctx, cancel := context.WithCancel(t.Context())
	passwords, errs := ask(ctx, t, terminal)
	cancel()
	if v, err := <-passwords, <-errs; !errors.Is(err, context.Canceled) || !v.IsZero() {
		t.Errorf("askPassword: %v, want context.Canceled", err)
	}
	if !echoes(t, terminal) {
		t.Error("the terminal has no echo afterwards")
	}
}
