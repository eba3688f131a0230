package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"

	"imapsync/db"
	mailsync "imapsync/sync"
)

// A line of run -o json is read by people too: it is one line, and says what a
// server said.
func TestRunLineAsItWasSaid(t *testing.T) {
	var out bytes.Buffer
	a := &app{stdout: &out, stderr: io.Discard, output: "json", log: slog.New(slog.DiscardHandler)}
	newRunDisplay(a).result(mailsync.Result{Provider: &db.Provider{Settings: db.Settings{Name: "R&D"}}, Err: errors.New("NO <ann@example.com> & nobody else")})
	if line := out.String(); strings.Count(line, "\n") != 1 || !strings.Contains(line, `"provider":"R&D"`) || !strings.Contains(line, `"error":"NO <ann@example.com> & nobody else"`) {
		t.Errorf("%s", line)
	}
}

// The command that a run says finds the mailbox that the run was about.
func TestRunErrorNamesTheTenant(t *testing.T) {
	last, failed := errors.New("x"), mailsync.Summary{Providers: 1, Failed: 1}
	for want, f := range map[string]*runFlags{
		"x: `imapsync doctor` says what to do":                        {},
		"x: `imapsync doctor 'the desk'` says what to do":             {providers: []string{"the desk"}},
		"x: `imapsync doctor 'the desk' --tenant t1` says what to do": {providers: []string{"the desk"}, filter: db.DueFilter{Tenant: "t1"}},
	} {
		if err := runError(f, failed, nil, last, false); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
