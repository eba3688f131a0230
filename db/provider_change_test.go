package db

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
)

// A setting that one of the statements does not know comes back as nothing.
func TestEverySettingIsStored(t *testing.T) {
	store := testStore(t)
	expires := time.Date(2031, 2, 3, 0, 0, 0, 0, time.UTC)
	want := Settings{
		Tenant: testTenant, ID: uuid.NewString(), CreatedAt: now(), Name: "support", Mailbox: "support@example.com",
		Active: true, AutoProcess: true, DefaultsID: uuid.NewString(), Host: "imap.example.com", Port: 1, TLS: TLSStartTLS,
		CAPEM: "2", TLSServerName: "3", AuthType: AuthOAuth2, EagerLogin: true, Username: "4", Folders: FolderNames{"5", "6"},
		MaxEmailsPerSync: 7, Start: "all", OAuthPreset: "8", OAuthFlow: "9", OAuthAuthorize: "10", OAuthToken: "11",
		OAuthClientID: "12", OAuthScopes: "13", OAuthTenant: "14", OAuthDevice: "15", SecretExpiresAt: &expires,
		ConnectTimeoutMS: 16, CommandTimeoutMS: 17, LiteralTimeoutMS: 18, PassTimeoutMS: 19, MaxMessageBytes: 20,
		MaxAttachment: 21, MaxAttachments: 22, MaxAttachmentN: 23, MaxBytesPerDay: 24, MaxConnections: 25,
	}
	for field, value := range reflect.ValueOf(want).Fields() {
		if value.IsZero() {
			t.Errorf("this test sets no %s", field.Name)
		}
	}
	p := &Provider{Settings: want, State: State{Status: StatusConfiguring}}
	if err := store.AddProvider(t.Context(), p, nil, Audit{Tenant: p.Tenant, At: p.CreatedAt}); err != nil {
		t.Fatal(err)
	}
	read := func() Settings {
		t.Helper()
		got, err := store.Provider(t.Context(), Ref{p.Tenant, p.ID})
		if err != nil {
			t.Fatal(err)
		}
		return got.Settings
	}
	if diff := cmp.Diff(want, read()); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}

	// Back to nothing, but for what has to be.
	want = Settings{
		Tenant: p.Tenant, ID: p.ID, CreatedAt: p.CreatedAt, Name: "desk", Mailbox: "desk@example.com", AutoProcess: true,
		Host: "mail.example.com", Port: 2, TLS: TLSNone, AuthType: AuthPassword, Username: "5", MaxEmailsPerSync: 1, Start: "none",
	}
	if err := store.UpdateProvider(t.Context(), &Provider{Settings: want}, nil, Audit{Tenant: p.Tenant, At: now()}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, read(), cmp.Transformer("folders", func(f FolderNames) int { return len(f) })); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
}
