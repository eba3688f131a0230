package sync

import (
	"database/sql"
	"strings"
	"testing"

	"imapsync/db"
	"imapsync/migrations"
)

func TestAccountKey(t *testing.T) {
	t.Parallel()
	p := db.Provider{Settings: db.Settings{Host: "IMAP.example.com.", Port: 993, Username: "Ann", TLS: db.TLSImplicit, AuthType: db.AuthPassword}}
	key := AccountKey(&p)
	for _, tt := range []struct {
		name           string
		change         func(*db.Provider)
		same, sameUser bool
	}{
		{"the host's case and its final dot", func(p *db.Provider) { p.Host = "imap.example.com" }, true, true},
		{"TLS, CA, time-outs, mailbox", func(p *db.Provider) {
			p.TLS, p.CAPEM, p.CommandTimeoutMS, p.Mailbox, p.AuthType = db.TLSStartTLS, "x", 7, "b@example.com", db.AuthOAuth2
		}, true, true},
		{"another host", func(p *db.Provider) { p.Host = "mx.example.com" }, false, true},
		{"another port", func(p *db.Provider) { p.Port = 143 }, false, true},
		{"another user name", func(p *db.Provider) { p.Username = "ann" }, false, false},
		{"the mailbox is opened in place of the user name", func(p *db.Provider) {
			p.AuthType, p.OAuthPreset, p.Mailbox = db.AuthOAuth2, db.PresetMicrosoft, "shared@example.com"
		}, false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other := p
			tt.change(&other)
			if got := AccountKey(&other); (got == key) != tt.same || sameUser(got, key) != tt.sameUser {
				t.Errorf("%s and %s: same %v, same user %v", key, got, got == key, sameUser(got, key))
			}
		})
	}
}

// TestMigrationBindsCursorsToTheirAccount holds that a cursor from before accounts
// were kept is that of the settings at the upgrade, whatever they are changed to
// before the next pass.
func TestMigrationBindsCursorsToTheirAccount(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	pool, err := sql.Open("postgres", env.dbURL)
	must(t, err)
	defer pool.Close()
	file, err := migrations.FS.ReadFile("00010_evidence.sql")
	must(t, err)
	var block string
	for _, part := range strings.Split(string(file), "-- +goose StatementBegin")[1:] {
		if part, _, _ = strings.Cut(part, "-- +goose StatementEnd"); strings.Contains(part, "sha256") {
			block = part
		}
	}
	for _, p := range []*db.Provider{
		env.provider(nil, "ann", "p", func(p *db.Provider) { p.Host, p.Port, p.TLS = "IMAP.Example.com.", 993, db.TLSImplicit }),
		env.provider(nil, "bob", "p", func(p *db.Provider) {
			p.Host, p.Port, p.TLS = "outlook.example.com", 993, db.TLSImplicit
			p.AuthType, p.OAuthPreset, p.Mailbox = db.AuthOAuth2, db.PresetMicrosoft, "shared@example.com"
		}),
	} {
		_, err = pool.Exec(`INSERT INTO imap_folder_state (tenant, provider_id, folder, uid_validity) VALUES ($1, $2, 'INBOX', 1)`, p.Tenant, p.ID)
		must(t, err)
		_, err = pool.Exec(block)
		must(t, err)
		states, err := env.store.FolderStates(t.Context(), p.Ref())
		must(t, err)
		if got, want := states["INBOX"].Account, AccountKey(p); got != want {
			t.Errorf("%s: bound to %q, want %q", p.Name, got, want)
		}
	}
}
