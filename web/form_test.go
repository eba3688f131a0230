package web

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"imapsync/db"
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
func TestInWords(t *testing.T) {
	for message, want := range map[string]string{
		"check --host, --port and the network":                     "check “Server”, “Port” and the network",
		"h:993: refused: choose others with --folder":              "h:993: refused: choose others with “Folders”",
		"imapsync provider auth 'a b'":                             "“Connect with OAuth”",
		"nobody: run `imapsync provider auth desk` first":          "nobody: run “Connect with OAuth” first",
		"is paused (manual) since x: `imapsync provider resume 1`": "is paused (manual) since x: “Resume”",
		"nothing was stored: --no-test stores it anyway":           "nothing was stored: “Test the connection first” switched off stores it anyway",
		"--unknown stays": "--unknown stays",
		"more time with --connect-timeout, or --since":                                  "more time with `imapsync provider set … --connect-timeout`, or “Go through again since”",
		"store it: `imapsync provider set 00000000-0000-4000-8000-1 --password-prompt`": "store it: “Edit”",
	} {
		if got := inWords(message); got != want {
			t.Errorf("%q\n got %q\nwant %q", message, got, want)
		}
	}
}

// Every problem that db or the command may name has a place on the form.
func TestEveryProblemHasItsField(t *testing.T) {
	p := &db.Provider{Settings: db.Settings{Tenant: "x", Name: "", Mailbox: "x", Host: "imap.example.com:993", Port: -1, TLS: "x", CAPEM: "x", TLSServerName: "a b", AuthType: db.AuthOAuth2,
		Folders: db.FolderNames{"a", "a"}, Start: "x", DefaultsID: "x", OAuthPreset: "custom", OAuthFlow: "device", OAuthTenant: "x", OAuthScopes: "\x00",
		OAuthAuthorize: "x", OAuthToken: "x", EagerLogin: true, ConnectTimeoutMS: 1, CommandTimeoutMS: 1, LiteralTimeoutMS: 1, PassTimeoutMS: 1,
		MaxMessageBytes: -1, MaxBytesPerDay: -1, MaxAttachment: -1, MaxAttachments: -1, MaxAttachmentN: -1}}
	problems := provider.Validate(p)
	page := newPage(Principal{}, p, true)
	page.problem(problems)
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
	for _, name := range fieldless() {
		if !strings.Contains(page.Alert, "`imapsync provider set … --"+name+"`: ") {
			t.Errorf("%s has neither a field nor a word on top: %s", name, page.Alert)
		}
		shown++
	}
	if shown != len(problems) {
		t.Errorf("%d of %d problems stand beside a field: %v", shown, len(problems), problems)
	}
}

func TestDrafts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &drafts{kept: map[string]draft{}}
		ann, bob := Principal{Name: "ann"}, Principal{Name: "bob"}
		number := d.keep(ann, Given{Password: secret.New("p"), ClientSecret: secret.New("c")}, time.Now())
		get := func(number string, by Principal, typed string) string {
			g := Given{Password: secret.New(typed)}
			d.fill(number, by, &g, time.Now())
			return g.Password.Reveal() + "/" + g.ClientSecret.Reveal()
		}
		for _, tt := range []struct {
			number string
			by     Principal
			typed  string
			want   string
		}{
			{number, ann, "", "p/c"}, {number, ann, "new", "new/c"}, {number, bob, "", "/"}, {number, Principal{Name: "ann", Tenant: ours}, "", "/"}, {"x", ann, "", "/"}, {"", ann, "", "/"},
		} {
			if got := get(tt.number, tt.by, tt.typed); got != tt.want {
				t.Errorf("%+v: %q", tt, got)
			}
		}
		if d.keep(ann, Given{}, time.Now()) != "" {
			t.Error("nothing was kept as something")
		}
		time.Sleep(draftLife + time.Second)
		if got := get(number, ann, ""); got != "/" {
			t.Errorf("after its time: %q", got)
		}
		for range maxDrafts + 10 {
			d.keep(ann, Given{Password: secret.New("p")}, time.Now())
		}
		if len(d.kept) != maxDrafts {
			t.Errorf("%d drafts are kept", len(d.kept))
		}
	})
}

func TestTasks(t *testing.T) {
	tasks := &tasks{ctx: t.Context(), known: map[taskKey]*taskView{}}
	one := db.Ref{Tenant: ours, ID: "1"}
	goOn := make(chan struct{})
	wait := func(_ context.Context, report func(Progress)) (string, error) {
		report(Progress{Done: 1, Total: 2, Text: "half"})
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
	fails := func(context.Context, func(Progress)) (string, error) { return "", errors.New("check --host") }
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
	want := []taskView{{Kind: taskSync, Done: 1, Total: 2, Lines: []taskLine{{Text: "half"}}, Outcome: "done"}, {Kind: taskSync, Err: "check “Server”"}}
	if diff := cmp.Diff(want, views); diff != "" {
		t.Errorf("tasks (-want +got):\n%s", diff)
	}
}
