package provider

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"imapsync/db"
)

// noSettings are the fields of db.Settings that nobody sets: which mailbox it is.
var noSettings = []string{"Tenant", "ID", "CreatedAt", "AutoProcess"}

// Every field of db.Settings has one row, every row a field of its own and the
// field's column.
func TestEverySettingIsInTheTable(t *testing.T) {
	fields := reflect.TypeFor[db.Settings]()
	for i := range fields.NumField() {
		field := fields.Field(i)
		if slices.Contains(noSettings, field.Name) {
			continue
		}
		var s db.Settings
		switch value := reflect.ValueOf(&s).Elem().Field(i); value.Interface().(type) {
		case string, db.TLSMode:
			value.SetString("x")
		case int, int64:
			value.SetInt(7)
		case bool:
			value.SetBool(true)
		case db.FolderNames:
			value.Set(reflect.ValueOf(db.FolderNames{"x"}))
		case *time.Time:
			value.Set(reflect.ValueOf(new(time.Now())))
		default:
			t.Fatalf("%s: a field of a new type", field.Name)
		}
		changed := Changed(&db.Provider{}, &db.Provider{Settings: s})
		if len(changed) != 1 {
			t.Errorf("%s is in %d rows: %v", field.Name, len(changed), changed)
			continue
		}
		if column := field.Tag.Get("db"); column != "tls" && Find(changed[0]).column() != column {
			t.Errorf("%s: column %s, want %s", field.Name, Find(changed[0]).column(), column)
		}
	}
	if rows, want := len(Settings()), fields.NumField()-len(noSettings); rows != want {
		t.Errorf("%d rows, %d fields", rows, want)
	}
}

// What a setting is shown as can be given again, and makes the same settings.
func TestSettingsTakeWhatTheyShow(t *testing.T) {
	day := time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)
	was := Fresh(db.DefaultTenant, uuid.New())
	was.Name, was.Mailbox, was.Host, was.Port, was.TLS, was.Folders = "n", "a@example.com", "h", 1, db.TLSStartTLS, db.FolderNames{"A", "B, C"}
	was.AuthType, was.OAuthFlow, was.SecretExpiresAt, was.EagerLogin, was.Active = db.AuthOAuth2, db.FlowDevice, &day, true, false
	was.ConnectTimeoutMS, was.MaxMessageBytes, was.MaxAttachmentN = 1500, 123, 4
	given := Values{}
	for _, setting := range Settings() {
		given[setting.Name] = strings.Split(setting.Text(&was.Settings), "\n")
	}
	is := &db.Provider{Settings: db.Settings{Tenant: was.Tenant, ID: was.ID, AutoProcess: true, CreatedAt: was.CreatedAt}, State: was.State}
	if problems := Apply(is, given, false); problems != nil {
		t.Errorf("problems: %v", problems)
	}
	if diff := cmp.Diff(was, is); diff != "" {
		t.Errorf("given again (-was +is):\n%s", diff)
	}
}

func TestFresh(t *testing.T) {
	id := uuid.New()
	p := Fresh(db.DefaultTenant, id)
	want := &db.Provider{
		Settings: db.Settings{Tenant: db.DefaultTenant, ID: id.String(), Active: true, AutoProcess: true, TLS: db.TLSImplicit, Port: 993,
			AuthType: db.AuthPassword, MaxEmailsPerSync: 50, Start: "recent", CreatedAt: p.CreatedAt},
		State: db.State{Status: db.StatusConfiguring},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if problems := Apply(p, Values{"mailbox": {"a@example.com"}, "host": {"h"}}, true); problems != nil || Validate(p) != nil {
		t.Errorf("problems: %v, %v", problems, Validate(p))
	}
	if p.Name != p.Mailbox || p.Username != p.Mailbox {
		t.Errorf("name %q and login %q, want those of the mailbox", p.Name, p.Username)
	}
}

// The port follows the mode unless somebody chose it.
func TestPortFollowsTheMode(t *testing.T) {
	for _, tt := range []struct {
		was   int
		given Values
		want  int
	}{
		{993, Values{"tls": {"starttls"}}, 143}, {993, Values{"tls": {"starttls"}, "port": {""}}, 143}, {1993, Values{"tls": {"none"}}, 1993},
		{993, Values{"tls": {"starttls"}, "port": {"993"}}, 993}, {993, Values{"tls": {"implicit"}}, 993}, {993, Values{"port": {"7"}}, 7},
	} {
		p := &db.Provider{Settings: db.Settings{TLS: db.TLSImplicit, Port: tt.was}}
		if problems := Apply(p, tt.given, false); problems != nil || p.Port != tt.want {
			t.Errorf("%v: port %d, want %d (%v)", tt.given, p.Port, tt.want, problems)
		}
	}
}

func TestView(t *testing.T) {
	p := Fresh(db.DefaultTenant, uuid.MustParse("7f3c9a52-0000-4000-8000-000000000001"))
	p.Name, p.Mailbox, p.Host, p.Username, p.CommandTimeoutMS, p.CreatedAt = "R&D <n>", "a@example.com", "h", "a", 1500, time.Unix(0, 0).UTC()
	var got strings.Builder
	out := json.NewEncoder(&got) // as the command line writes it
	out.SetEscapeHTML(false)
	if err := out.Encode(View{Provider: p}); err != nil {
		t.Fatal(err)
	}
	want := `{"tenant":"00000000-0000-4000-8000-000000000000","id":"7f3c9a52-0000-4000-8000-000000000001","name":"R&D <n>","mailbox":"a@example.com",` +
		`"host":"h","port":993,"tls":"implicit","auth":"password","username":"a","folders":[],"maxEmailsPerSync":50,"start":"recent",` +
		`"active":true,"commandTimeoutMs":1500,"status":"configuring","consecutiveFailures":0,"authFailures":0,"published":0,"duplicates":0,` +
		`"quarantined":0,"createdAt":"1970-01-01T00:00:00Z"}` + "\n"
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A time that JSON has no form for is an error, and no panic.
func TestViewOfATimeThatIsNone(t *testing.T) {
	p := Fresh(db.DefaultTenant, uuid.New())
	end := time.Date(10000, time.January, 1, 0, 0, 0, 0, time.UTC)
	p.TokenExpiresAt = &end
	if _, err := json.Marshal(View{Provider: p}); err == nil || !strings.Contains(err.Error(), "year outside of range") {
		t.Errorf("%v", err)
	}
}

// A message names other settings as its face does.
func TestMessage(t *testing.T) {
	p := valid()
	p.Host = "imap.example.com:993"
	problems := Validate(p)
	if len(problems) != 1 {
		t.Fatalf("%d problems", len(problems))
	}
	for want, call := range map[string]func(string) string{
		`"imap.example.com:993" holds a port: give "imap.example.com", and the port by port`:   nil,
		`"imap.example.com:993" holds a port: give "imap.example.com", and the port by --port`: func(name string) string { return "--" + name },
	} {
		if got := problems[0].Message(call); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
