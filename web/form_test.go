package web

import (
	"context"
	"errors"
	"net"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/internal/faulttest"
	"imapsync/provider"
	"imapsync/secret"
)

func TestPresetsFor(t *testing.T) {
	records := map[string][]*net.SRV{
		"imaps/example.org": {{Target: "Mail.Example.ORG.", Port: 993}, {Target: "other.example.org.", Port: 993}},
		"imap/example.net":  {{Target: "imap.example.net.", Port: 143}}, "imaps/example.net": {{Target: ".", Port: 0}},
	}
	lookup := func(_ context.Context, service, _, name string) (string, []*net.SRV, error) {
		if r := records[service+"/"+name]; r != nil {
			return "", r, nil
		}
		return "", nil, errors.New("no such host")
	}
	for _, tt := range []struct {
		mailbox, host string
		port          int
		tls           db.TLSMode
		guess         bool
	}{
		{"you@gmail.com", "imap.gmail.com", 993, db.TLSImplicit, false}, {"you@GoogleMail.com", "imap.gmail.com", 993, db.TLSImplicit, false},
		{"you@hotmail.de", "outlook.office365.com", 993, db.TLSImplicit, false}, {"help@contoso.onmicrosoft.com", "outlook.office365.com", 993, db.TLSImplicit, false},
		{"you@yahoo.co.uk", "imap.mail.yahoo.com", 993, db.TLSImplicit, false}, {"you@me.com", "imap.mail.me.com", 993, db.TLSImplicit, false},
		{"you@fastmail.fm", "imap.fastmail.com", 993, db.TLSImplicit, false}, {"you@zoho.eu", "imap.zoho.eu", 993, db.TLSImplicit, false},
		{"you@gmx.de", "imap.gmx.net", 993, db.TLSImplicit, false}, {"you@gmx.com", "imap.gmx.com", 993, db.TLSImplicit, false},
		{"you@yandex.ru", "imap.yandex.com", 993, db.TLSImplicit, false}, {"you@online.de", "imap.ionos.de", 993, db.TLSImplicit, false},
		{"you@example.org", "mail.example.org", 993, db.TLSImplicit, false}, {"you@example.net", "imap.example.net", 143, db.TLSStartTLS, false},
		{"you@example.com", "imap.example.com", 993, db.TLSImplicit, true}, {"you@notgmail.com", "imap.notgmail.com", 993, db.TLSImplicit, true},
	} {
		found := presetsFor(t.Context(), lookup, tt.mailbox)
		if len(found) == 0 || found[0].Host != tt.host || found[0].Port != tt.port || found[0].TLS != string(tt.tls) || found[0].Guess != tt.guess {
			t.Errorf("%s: %+v", tt.mailbox, found)
		}
	}
	for _, nothing := range []string{"", "you", "you@", "you@a b", "you@[127.0.0.1]", "you@x:1"} {
		if found := presetsFor(t.Context(), lookup, nothing); found != nil {
			t.Errorf("%q: %+v", nothing, found)
		}
	}
}

// The page speaks of its labels and buttons where the commands have flags.
func TestSay(t *testing.T) {
	password, tokens := &db.Provider{}, &db.Provider{}
	password.AuthType, password.Host, password.Port = db.AuthPassword, "h", 993
	tokens.AuthType, tokens.OAuthFlow, tokens.Host, tokens.Port = db.AuthOAuth2, db.FlowCode, "h", 993
	paused := &db.Provider{}
	paused.Name, paused.ID, paused.PauseReason, paused.PausedAt = "n", "1", "manual", new(time.Unix(0, 0))
	paused.Active, paused.AutoProcess = true, true
	fails := func(class fault.Class, code string) error { return fault.New(class, code, errors.New("it failed")) }
	tested := func(p *db.Provider, err error) error {
		return &provider.TestError{Provider: p, Reached: true, Err: err}
	}
	for _, tt := range []struct {
		p            *db.Provider
		err          error
		undone, want string
	}{
		{password, tested(password, fails(fault.Transient, "connect")), "", "h:993: it failed: check “Server”, “Port” and the network in between"},
		{password, tested(password, fails(fault.Config, "folder_missing")), "nothing was stored", "h:993: it failed: choose others under “Folders”; nothing was stored"},
		{tokens, tested(tokens, fails(fault.Auth, "invalid_grant")), "", "h:993: it failed: “Connect with OAuth”"},
		{tokens, fails(fault.Config, "not_authorised"), "", "it failed: “Connect with OAuth”"},
		{tokens, tested(tokens, fails(fault.Auth, "x")), "", "h:993: it failed: check “Mailbox” and “Username”, and that whoever signed in may open this mailbox by IMAP"},
		{paused, provider.Idle(paused), "", "provider n (1) is paused (manual) since 1970-01-01T00:00:00Z: “Resume”"},
		{password, tested(password, fails(fault.Transient, "timeout")), "",
			"h:993: it failed: try again, or give it more time with `imapsync provider set … --connect-timeout` and `imapsync provider set … --command-timeout`"},
		{password, &provider.TestError{Provider: password, Err: secret.ErrAbsent}, "x", secret.ErrAbsent.Error() + ": put it there, or store it: “Edit”; x"},
		{password, errors.New("anything else"), "x", "anything else"},
	} {
		if got := say(tt.p, tt.err, tt.undone); got != tt.want {
			t.Errorf("%v\n got %q\nwant %q", tt.err, got, tt.want)
		}
	}
}

// Every code that an error is made with has a row of its own, if only one that
// says that there is nothing to add.
func TestEveryCodeHasWords(t *testing.T) {
	faulttest.CheckWords(t, words, "refresh_token", "client_secret", "invalid_grant", "invalid_client", "token_throttled", "token_unavailable")
	for _, word := range words {
		if word.Do != "" && labels[word.Do] == "" {
			t.Errorf("%s: no field is called %s", word.Codes, word.Do)
		}
	}
}

var flagName = regexp.MustCompile(`--[a-z][a-z-]+`)

// Every problem that db or the command may name has a place on the form.
func TestEveryProblemHasItsField(t *testing.T) {
	p := &db.Provider{Settings: db.Settings{Tenant: "x", Name: "", Mailbox: "x", Host: "imap.example.com:993", Port: -1, TLS: "x", CAPEM: "x", TLSServerName: "a b", AuthType: db.AuthOAuth2,
		Folders: db.FolderNames{"a", "a"}, Start: "x", DefaultsID: "x", OAuthPreset: "custom", OAuthFlow: "device", OAuthTenant: "x", OAuthScopes: "\x00",
		OAuthAuthorize: "x", OAuthToken: "x", EagerLogin: true, ConnectTimeoutMS: 1, CommandTimeoutMS: 1, LiteralTimeoutMS: 1, PassTimeoutMS: 1,
		MaxMessageBytes: -1, MaxBytesPerDay: -1, MaxAttachment: -1, MaxAttachments: -1, MaxAttachmentN: -1}}
	problems := provider.Validate(p)
	page := newPage(httptest.NewRequest("GET", "/providers/new", nil), p)
	page.problem(problems...)
	if len(problems) < 25 {
		t.Errorf("only %d problems", len(problems))
	}
	shown := 0
	for _, f := range page.Summary() {
		shown += len(f.Errors)
		if text := strings.Join(f.Errors, " "); flagName.MatchString(text) {
			t.Errorf("beside %s stands a flag: %s", f.Name, text)
		}
	}
	for _, setting := range provider.Settings() {
		if setting.Form {
			if labels[setting.Name] == "" && setting.Kind != provider.Bool {
				t.Errorf("%s has no label", setting.Name)
			}
			continue
		}
		if !strings.Contains(page.Alert, "`imapsync provider set … --"+setting.Name+"`: ") {
			t.Errorf("%s has neither a field nor a word on top: %s", setting.Name, page.Alert)
		}
		shown++
	}
	if shown != len(problems) {
		t.Errorf("%d of %d problems stand beside a field: %v", shown, len(problems), problems)
	}
}

// A step that failed leads to the field where it is mended: on this page, or on
// that of the form.
func TestStepsLeadToTheirFields(t *testing.T) {
	p := &db.Provider{Settings: db.Settings{Tenant: ours, ID: "1"}}
	failed := provider.Step{Name: "dns", State: provider.StepWrong, Class: fault.Config, Code: "host_not_found"}
	for form, want := range map[string]string{"": "#host", path(p, "/edit"): "/t/" + ours + "/1/edit#host"} {
		if got := worded(p, failed, form); got.Link != want || got.Fix != "check “Server”" {
			t.Errorf("%q, %q; want %q", got.Fix, got.Link, want)
		}
	}
	if got := worded(p, provider.Step{Name: "dns", State: provider.StepOK}, ""); got.Fix+got.Link != "" {
		t.Errorf("a step that is ok has %q, %q", got.Fix, got.Link)
	}
}

func TestDrafts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDrafts()
		ann, bob := Principal{Name: "ann"}, Principal{Name: "bob"}
		number := d.keep(draft{provider.CredentialInput{provider.Password: secret.New("p"), provider.ClientSecret: secret.New("c")}, ann})
		get := func(number string, by Principal) string {
			before, _ := d.find(number)
			return before.of(by)[provider.Password].Reveal() + "/" + before.of(by)[provider.ClientSecret].Reveal()
		}
		for _, tt := range []struct {
			number string
			by     Principal
			want   string
		}{
			{number, ann, "p/c"}, {number, bob, "/"}, {number, Principal{Name: "ann", Tenant: ours}, "/"}, {"x", ann, "/"}, {"", ann, "/"}, {"x", Principal{}, "/"},
		} {
			if got := get(tt.number, tt.by); got != tt.want {
				t.Errorf("%+v: %q", tt, got)
			}
		}
		time.Sleep(d.life + time.Second)
		if got := get(number, ann); got != "/" {
			t.Errorf("after its time: %q", got)
		}
		for range d.most + 10 {
			d.keep(draft{provider.CredentialInput{provider.Password: secret.New("p")}, ann})
		}
		if len(d.byID) != d.most {
			t.Errorf("%d drafts are kept", len(d.byID))
		}
	})
}

func TestTasks(t *testing.T) {
	tasks := &tasks{ctx: t.Context(), known: map[taskKey]*taskView{}}
	one := db.Ref{Tenant: ours, ID: "1"}
	goOn := make(chan struct{})
	wait := func(_ context.Context, report func(provider.Progress)) (string, error) {
		report(provider.Progress{Done: 1, Total: 2, Text: "half"})
		<-goOn
		return "done", nil
	}
	if err := tasks.begin(one, taskSync, wait); err != nil {
		t.Fatal(err)
	}
	if err := tasks.begin(one, taskSync, wait); !errors.Is(err, errTaskRuns) {
		t.Errorf("a second one: %v", err)
	}
	for i := range maxTasks - 1 {
		if err := tasks.begin(db.Ref{Tenant: ours, ID: strconv.Itoa(i + 2)}, taskSync, wait); err != nil {
			t.Error(err)
		}
	}
	if err := tasks.begin(one, taskReconcile, wait); !errors.Is(err, errTooMany) {
		t.Errorf("one too many: %v", err)
	}
	if got := tasks.of(db.Ref{Tenant: theirs, ID: "1"}); got != nil {
		t.Errorf("another tenant sees %+v", got)
	}
	close(goOn)
	tasks.wg.Wait()
	fails := func(context.Context, func(provider.Progress)) (string, error) { return "", errors.New("it failed") }
	if err := tasks.begin(db.Ref{Tenant: ours, ID: "2"}, taskSync, fails); err != nil {
		t.Fatal(err)
	}
	tasks.wg.Wait()
	views := append(tasks.of(one), tasks.of(db.Ref{Tenant: ours, ID: "2"})...)
	for i := range views {
		if views[i].Running() {
			t.Errorf("%+v still runs", views[i])
		}
		views[i].Began, views[i].Ended = time.Time{}, time.Time{}
	}
	want := []taskView{{Kind: taskSync, Done: 1, Total: 2, Lines: []provider.Progress{{Done: 1, Total: 2, Text: "half"}}, Outcome: "done"}, {Kind: taskSync, Err: "it failed"}}
	if diff := cmp.Diff(want, views); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
}
