package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/secret"
)

// account is a mailbox as the product is told of it.
type account struct {
	user    string
	host    string
	port    int
	ca      []byte
	start   string
	folders []string
	budget  int // max_emails_per_sync
	eager   bool
}

// account is one on Dovecot.
func (s *servers) account(user, start string, folders ...string) account {
	return account{user: user, host: s.dovecot.Host, port: s.dovecot.TLSPort, ca: s.dovecot.CA.PEM, start: start, folders: folders, budget: 100_000}
}

// addProviders stores accounts as `imapsync provider add` does.
func (s *servers) addProviders(ctx context.Context, url string, accounts ...account) error {
	store, err := db.Open(ctx, db.Options{URL: url})
	if err != nil {
		return err
	}
	defer store.Close()
	for _, a := range accounts {
		p := &db.Provider{
			Settings: db.Settings{
				Tenant: db.DefaultTenant, ID: uuid.NewString(), Name: a.user, Mailbox: a.user + "@example.com", Active: true,
				AutoProcess: true, Host: a.host, Port: a.port, TLS: db.TLSImplicit, CAPEM: string(a.ca),
				AuthType: db.AuthPassword, EagerLogin: a.eager, Username: a.user, Folders: a.folders, MaxEmailsPerSync: a.budget, Start: a.start,
				CreatedAt: time.Now().UTC(),
			},
			State: db.State{Status: db.StatusConnected},
		}
		sealed, err := store.SealSecret(ctx, s.box, p.Tenant, db.PasswordName(p.ID), secret.New(password), p.CreatedAt)
		if err != nil {
			return err
		}
		audit := db.Audit{Tenant: p.Tenant, ProviderID: p.ID, Action: "provider_created", At: p.CreatedAt}
		if err := store.AddProvider(ctx, p, []db.Secret{sealed}, audit); err != nil {
			return err
		}
	}
	return nil
}

// run is one `imapsync run`, which must publish want messages.
func (s *servers) run(ctx context.Context, url string, want int, args ...string) (sample, error) {
	env := []string{"DATABASE_URL=" + url, "NATS_URL=" + s.nats.URL(), "IMAPSYNC_SECRET_KEY_FILE=" + s.keyFile}
	if s.options.profile != "" {
		s.profiled++
		file := filepath.Join(s.options.profile, fmt.Sprintf("%03d", s.profiled))
		env = append(env, "IMAPSYNC_BENCH_PROFILE="+file)
	}
	got, out, err := process(ctx, env, nil, s.binary, append([]string{"run", "-o", "json"}, args...)...)
	if err != nil {
		return got, err
	}
	if s.options.verbose {
		fmt.Fprintln(os.Stderr, out)
	}
	if !strings.Contains(out, fmt.Sprintf(`"published":%d,`, want)) {
		return got, fmt.Errorf("not %d messages were published:\n%s", want, out[max(0, len(out)-2000):])
	}
	return got, nil
}

// whole is a contender that reads a mailbox from its first mail to its last,
// on an empty database and an empty broker.
func (s *servers) whole(name string, a account, want int, args ...string) contender {
	return contender{name: name, product: true, run: func(ctx context.Context) (sample, error) {
		if err := s.emptyBroker(ctx); err != nil {
			return sample{}, err
		}
		database, url, err := s.database(ctx)
		if err != nil {
			return sample{}, err
		}
		if err := s.addProviders(ctx, url, a); err != nil {
			return sample{}, err
		}
		got, err := s.run(ctx, url, want, args...)
		if err != nil {
			return got, err
		}
		return got, s.postgres.DropDatabase(ctx, database)
	}}
}
