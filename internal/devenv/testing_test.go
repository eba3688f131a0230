package devenv

import (
	"errors"
	"fmt"
	"runtime"
	"testing"
)

// outcome is a test that notes how it ends.
type outcome struct {
	testing.TB
	got string
}

func (o *outcome) Helper()               {}
func (o *outcome) Skipf(string, ...any)  { o.got = "skip"; runtime.Goexit() }
func (o *outcome) Fatal(...any)          { o.got = "fail"; runtime.Goexit() }
func (o *outcome) Fatalf(string, ...any) { o.got = "fail"; runtime.Goexit() }

func TestMissingProgramSkipsUnlessRequired(t *testing.T) {
	missing := fmt.Errorf("dovecot: %w", &MissingError{Program: "dovecot", Package: "dovecot-imapd"})
	tests := []struct {
		require string
		err     error
		want    string
	}{
		{"", nil, "run"},
		{"", missing, "skip"},
		{"1", missing, "fail"},
		{"", errors.New("broken"), "fail"},
		{"1", errors.New("broken"), "fail"},
	}
	for _, tt := range tests {
		t.Setenv("IMAPSYNC_TEST_REQUIRE", tt.require)
		o := &outcome{TB: t}
		done := make(chan struct{})
		go func() {
			defer close(done)
			need(o, tt.err)
			o.got = "run"
		}()
		<-done
		if o.got != tt.want {
			t.Errorf("IMAPSYNC_TEST_REQUIRE=%q, %v: %s, want %s", tt.require, tt.err, o.got, tt.want)
		}
	}
}

func TestFindProgram(t *testing.T) {
	if path, err := findProgram("sh", "dash"); err != nil {
		t.Errorf("sh: %q, %v", path, err)
	}
	_, err := findProgram("imapsync-no-such-program", "no-package")
	if missing, ok := errors.AsType[*MissingError](err); !ok || missing.Package != "no-package" {
		t.Errorf("a program that is not there: %v", err)
	}
}
