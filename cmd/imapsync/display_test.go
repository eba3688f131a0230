package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/observe"
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

// What is said between two mailboxes of `status` leaves the columns where they are.
func TestStatusColumnsStandStill(t *testing.T) {
	var out bytes.Buffer
	a := &app{stdout: &out}
	since := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)
	row := func(name string, p *db.Provider) providerStatus {
		return providerStatus{Provider: observe.Provider{Name: name, Status: db.StatusConnected, Active: true, Source: p, Folders: []observe.Folder{{Name: "INBOX", Dead: 2}}}}
	}
	lost := &db.Provider{State: db.State{Lost: db.Lost{LostState: db.LostHeal, LostEvents: 3, LostSince: &since}}}
	if err := a.printStatus([]providerStatus{row("a mailbox with a long name", lost), row("b", &db.Provider{})}, since); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 8 || !strings.HasPrefix(lines[2], "  the stream has lost 3 events ") || !strings.HasPrefix(lines[3], "  2 mails ") {
		t.Fatalf("%s", &out)
	}
	at := strings.Index(lines[0], "STATE")
	for i, want := range map[int]string{1: "connected", 4: "uid 0", 5: "connected", 7: "uid 0"} {
		if strings.Index(lines[i], want) != at {
			t.Errorf("STATE is not below STATE:\n%s", &out)
		}
	}
}
