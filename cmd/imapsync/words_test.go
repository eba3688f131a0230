package main

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/internal/faulttest"
	"imapsync/oauth"
	"imapsync/provider"
	"imapsync/secret"
	mailsync "imapsync/sync"
)

// Every code that an error is made with has words of its own.
func TestEveryCodeHasWords(t *testing.T) {
	faulttest.CheckWords(t, words, "refresh_token", "client_secret", "invalid_grant", "invalid_client", "token_throttled", "token_unavailable")
}

// Whatever is wrong with a mailbox has something to do about it: a command that
// exists, for this mailbox, or who can mend it. No flag stands without its command.
func TestRemedies(t *testing.T) {
	codes := faulttest.Codes(t)
	if len(codes) < 45 {
		t.Fatalf("only %d codes", len(codes))
	}
	for _, code := range []string{"invalid_client", "invalid_grant", "authenticationfailed", "token_refused", "panic", "of_no_error"} {
		codes[code] = fault.Auth
	}
	codes["panic"], codes["of_no_error"] = fault.Bug, fault.Config
	var steps []provider.Step
	for code, class := range codes {
		if strings.HasPrefix(code, "stream_") || code == "key_unknown" {
			continue // a problem of the broker's, or of the key file, not of a mailbox
		}
		for _, name := range []string{"login", "token"} {
			steps = append(steps, provider.Step{Name: name, State: provider.StepWrong, Class: class, Code: code, Err: fault.New(class, code, errors.New("x"))})
		}
	}
	for _, err := range []error{secret.ErrAbsent, secret.ErrUnknownKey, secret.ErrEnvelope, secret.ErrUnavailable, secret.ErrSettings,
		&secret.FileError{Path: "x", Err: secret.ErrMode}} {
		class, code := mailsync.Classify(err)
		steps = append(steps, provider.Step{Name: "credential", State: provider.StepWrong, Class: class, Code: code, Err: fmt.Errorf("credential: %w", err)})
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
			case strings.HasPrefix(fix, "ask the administrator of imap.example.org "):
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

// What is said names a mailbox by its id: another tenant may have one of that name.
func TestWordsNameTheID(t *testing.T) {
	p := &db.Provider{Settings: db.Settings{ID: "7f3c9a52-0000-4000-8000-000000000001", Name: "the desk"}}
	for code := range faulttest.Codes(t) {
		say := find(p, fault.New(fault.Config, code, errors.New("x"))).Say
		if strings.Contains(say, p.Name) || code == "never_read" && !strings.Contains(say, "imapsync status "+p.ID) {
			t.Errorf("%s: %s", code, say)
		}
	}
}

// A new key opens nothing that an old one has sealed.
func TestKeyRemedy(t *testing.T) {
	missing := fault.Newf(fault.Config, "secret", "no key").With("reason", "no_key")
	file := func(path string, err error) error {
		return fault.New(fault.Config, "secret", &secret.FileError{Path: path, Err: err}).With("reason", "key_file")
	}
	for _, tt := range []struct {
		err    error
		sealed bool
		want   string
	}{
		{missing, true, "export IMAPSYNC_SECRET_KEY_FILE=FILE # the key file that stored credentials were sealed with"},
		{missing, false, "imapsync secret keygen --out imapsync.key && export IMAPSYNC_SECRET_KEY_FILE=$PWD/imapsync.key"},
		{file("a b", secret.ErrEmpty), false, "imapsync secret keygen --out 'a b'"},
		{file("k", secret.ErrMode), true, "chmod 600 k"},
		{file("-rf", secret.ErrMode), false, "chmod 600 ./-rf"},
	} {
		var facts []string
		if tt.sealed {
			facts = append(facts, "sealed")
		}
		if got := find(nil, fmt.Errorf("x: %w", tt.err), facts...).Do; got != tt.want {
			t.Errorf("%v, sealed %v: %q, want %q", tt.err, tt.sealed, got, tt.want)
		}
	}
}

func TestShellQuote(t *testing.T) {
	for path, want := range map[string]string{
		"/etc/imapsync/key": "/etc/imapsync/key", "a b": "'a b'", "it's": `'it'\''s'`, "$(x)": "'$(x)'",
	} {
		if got := shellQuote(path); got != want {
			t.Errorf("shellQuote(%q) = %s, want %s", path, got, want)
		}
	}
}

// What is stored names no command: who shows it adds that by the code, and only
// where a person has to do something.
func TestStoredErrorsGetTheirWords(t *testing.T) {
	person := db.Settings{ID: "7", AuthType: db.AuthOAuth2, OAuthFlow: db.FlowCode}
	for _, tt := range []struct {
		settings         db.Settings
		code, text, want string
	}{
		{db.Settings{ID: "7"}, "host_not_found", "not in DNS", "not in DNS: check --host"},
		{db.Settings{ID: "7"}, "host_not_found", "of an older version: check --host", "of an older version: check --host"},
		{db.Settings{ID: "7"}, "connect", "refused", "refused"},
		{db.Settings{ID: "7"}, "login_refused", "no", "no"},
		{person, "invalid_grant", "gone", "gone: sign in: imapsync provider auth 7"},
	} {
		p := &db.Provider{Settings: tt.settings, State: db.State{LastErrorCode: tt.code, LastError: tt.text}}
		if got := storedError(p); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.code, got, tt.want)
		}
	}
	p := &db.Provider{Settings: db.Settings{ID: "7"}}
	want := "folder: 3 unknown messages are older than the first look at the folder and are held: " +
		"to publish them: `imapsync provider resync 7 --folder 'My mail' --accept`"
	if got := inWords(p, fmt.Errorf("folder: %w", mailsync.HeldMail("My mail", 3))).Error(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	both := fmt.Errorf("provider: %w", errors.Join(fault.New(fault.Config, "host_not_found", errors.New("a")), errors.New("b")))
	if got := inWords(p, both).Error(); got != "provider: a: check --host\nb" {
		t.Errorf("two at once: %q", got)
	}
}
