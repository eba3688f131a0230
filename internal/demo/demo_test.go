package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imapsync/internal/devenv"
)

// need skips a test for want of a server program, or fails it when those must
// be there.
func need(t *testing.T, err error) {
	t.Helper()
	if missing, ok := errors.AsType[*devenv.MissingError](err); ok && os.Getenv("IMAPSYNC_TEST_REQUIRE") == "" {
		t.Skip(missing)
	}
}

// ownTemp gives the test a directory for temporary files, and returns what
// reports what is left in it. t.TempDir is closed to the accounts that servers
// run as.
func ownTemp(t *testing.T) (left func() []string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "imapsync-test-") //nolint:usetesting // see above
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("TMPDIR", dir)
	return func() (names []string) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			names = append(names, e.Name())
		}
		return names
	}
}

func TestDemo(t *testing.T) {
	left := ownTemp(t)
	var output bytes.Buffer
	got, err := demo(t.Context(), &printer{w: &output})
	need(t, err)
	if err != nil {
		t.Fatalf("%v\n%s", err, output.String())
	}
	want := result{firstRun: 60, secondRun: 0, duplicates: 1, thirdRun: 3, onStream: 63, tickets: 53, promises: got.promises}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(result{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if marks := strings.Count(output.String(), "✓"); marks != got.promises || marks < 10 || strings.Contains(output.String(), "✗") {
		t.Errorf("%d promises shown as kept, %d counted", marks, got.promises)
	}
	if names := left(); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

// Interrupted at any moment, the demo ends and leaves nothing behind.
func TestDemoInterrupted(t *testing.T) {
	left := ownTemp(t)
	for _, moment := range []string{"PostgreSQL", "$ imapsync migrate", "$ imapsync run"} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := demo(ctx, &printer{w: &tripwire{word: moment, trip: cancel}})
		cancel()
		need(t, err)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("at %q: %v, want it to be context.Canceled", moment, err)
		}
		if names := left(); len(names) > 0 {
			t.Errorf("at %q: left behind: %v", moment, names)
		}
	}
}

// tripwire calls trip when the word is written.
type tripwire struct {
	word string
	trip func()
}

func (w *tripwire) Write(b []byte) (int, error) {
	if strings.Contains(string(b), w.word) {
		w.trip()
	}
	return len(b), nil
}

func TestBrokenPromiseIsAnError(t *testing.T) {
	var output bytes.Buffer
	p := &promises{out: &printer{w: &output}}
	p.equal(60, 60, "%d mails")
	p.equal(59, 60, "%d mails")
	if err := p.err(); err == nil || !strings.Contains(err.Error(), "1 of 2") {
		t.Errorf("error %v, want it to say 1 of 2", err)
	}
	if want := "   ✓ 60 mails\n   ✗ 60 mails\n       it is 59\n"; output.String() != want {
		t.Errorf("printed %q, want %q", output.String(), want)
	}
}

func TestWrap(t *testing.T) {
	if got, want := wrap("imapsync provider add --name a --host b --port 1", 32), "imapsync provider add --name a\n--host b --port 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
