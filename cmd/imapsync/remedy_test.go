package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/oauth"
	"imapsync/secret"
	mailsync "imapsync/sync"
)

// codesOf are the codes that a package's errors are made with, by their class.
func codesOf(t *testing.T, pattern string, made *regexp.Regexp) map[string]fault.Class {
	t.Helper()
	codes := map[string]fault.Class{}
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range made.FindAllStringSubmatch(string(text), -1) {
			codes[m[2]] = map[string]fault.Class{"config": fault.Config, "Config": fault.Config, "wrong": fault.Config,
				"auth": fault.Auth, "Auth": fault.Auth, "transient": fault.Transient, "Transient": fault.Transient}[m[1]]
		}
	}
	return codes
}

// Whatever is wrong with a mailbox has something to do about it: a command that
// exists, for this mailbox, or who can mend it. No flag stands without its command.
func TestRemedies(t *testing.T) {
	made := regexp.MustCompile(`\b(config|transient|Config|Auth|Transient)(?:\(|, (?:Code: )?)"([a-z_]+)"`)
	codes := codesOf(t, "../../sync/*.go", made)
	maps.Copy(codes, codesOf(t, "../../internal/imapsession/*.go", made))
	maps.Copy(codes, codesOf(t, "../../oauth/*.go", regexp.MustCompile(`\b(wrong)\("([a-z_]+)"`)))
	if len(codes) < 45 {
		t.Fatalf("only %d codes", len(codes))
	}
	for _, code := range []string{"invalid_client", "invalid_grant", "authenticationfailed", "token_refused", "panic", "of_no_error"} {
		codes[code] = fault.Auth
	}
	codes["panic"], codes["of_no_error"], codes["folder_missing"] = fault.Bug, fault.Config, fault.Config
	var steps []mailsync.Step
	for code, class := range codes {
		for _, name := range []string{"login", "token"} {
			steps = append(steps, mailsync.Step{Name: name, State: mailsync.StepWrong, Class: class, Code: code, Err: errors.New("x")})
		}
	}
	for _, err := range []error{secret.ErrAbsent, secret.ErrUnknownKey, secret.ErrEnvelope, secret.ErrUnavailable, secret.ErrSettings,
		&secret.FileError{Path: "x", Fix: "run: chmod 600 x"}} {
		steps = append(steps, mailsync.Step{Name: "credential", State: mailsync.StepWrong, Class: fault.Config, Code: "secret", Err: fmt.Errorf("credential: %w", err)})
	}
	said := map[string]bool{}
	for _, p := range []*db.Provider{
		{Settings: db.Settings{AuthType: db.AuthPassword, TLS: db.TLSNone}}, {Settings: db.Settings{AuthType: db.AuthPassword, TLS: db.TLSImplicit, EagerLogin: true}},
		{Settings: db.Settings{AuthType: db.AuthOAuth2, OAuthFlow: string(oauth.Code)}}, {Settings: db.Settings{AuthType: db.AuthOAuth2, OAuthFlow: string(oauth.ClientCredentials)}},
		{Settings: db.Settings{AuthType: db.AuthOAuth2, OAuthFlow: string(oauth.ServiceAccount)}},
	} {
		p.ID, p.Name, p.Host, p.Port, p.Mailbox = "7f3c9a52-0000-4000-8000-000000000001", "the desk", "imap.example.org", 993, "desk@example.org"
		for _, s := range steps {
			fix := remedy(p, s)
			said[fix] = true
			command, remark, _ := strings.Cut(fix, " # ")
			switch {
			case fix == "":
				t.Errorf("%s %s: nothing to do about it", s.Name, s.Code)
			case strings.HasPrefix(fix, "let whoever runs imap.example.org "):
			case strings.Contains(command, "imapsync doctor") || strings.Contains(command, "imapsync provider") || strings.Contains(command, "imapsync quarantine"):
				if !strings.Contains(command, " "+p.ID) {
					t.Errorf("%s %s: %s: it does not name the mailbox", s.Name, s.Code, fix)
				}
			}
			if strings.Contains(command, "--") && !strings.HasPrefix(command, "imapsync ") {
				t.Errorf("%s %s: %s: a flag of no command", s.Name, s.Code, fix)
			}
			for _, args := range append(commandsIn(command), commandsIn(strings.TrimPrefix(remark[strings.LastIndex(remark, ":")+1:], " "))...) {
				if err := wrong(args, false); err != nil {
					t.Errorf("%s %s: %s: %v", s.Name, s.Code, fix, err)
				}
			}
		}
	}
	if len(said) < 30 {
		t.Errorf("only %d different remedies", len(said))
	}
}

// A new key opens nothing that an old one has sealed.
func TestKeyRemedy(t *testing.T) {
	missing := errors.New("no key")
	for _, tt := range []struct {
		err    error
		sealed bool
		want   string
	}{
		{missing, true, "export IMAPSYNC_SECRET_KEY_FILE=FILE # the key file that stored credentials were sealed with"},
		{missing, false, "imapsync secret keygen --out imapsync.key && export IMAPSYNC_SECRET_KEY_FILE=$PWD/imapsync.key"},
		{&secret.FileError{Path: "a b"}, false, "imapsync secret keygen --out 'a b'"},
		{&secret.FileError{Path: "k", Fix: "run: chmod 600 k"}, true, "chmod 600 k"},
	} {
		if got := keyRemedy(fmt.Errorf("x: %w", tt.err), tt.sealed); got != tt.want {
			t.Errorf("%v, sealed %v: %q, want %q", tt.err, tt.sealed, got, tt.want)
		}
	}
}
