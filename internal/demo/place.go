package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"imapsync/internal/devenv"
)

// place is where the demo happens: the servers, a directory for what a person
// would have in theirs, and the binary.
type place struct {
	dir         string
	binary      string
	databaseURL string
	passwords   map[string]string // by mailbox
	postgres    *devenv.Postgres
	nats        *devenv.NATS
	dovecot     *devenv.Dovecot
}

// open starts the servers and builds the binary, all at once. What it started
// is ended by close, whatever the error.
func open(ctx context.Context, out *printer) (*place, error) {
	dir, err := os.MkdirTemp("", "imapsync-demo-")
	if err != nil {
		return nil, err
	}
	p := &place{dir: dir, binary: filepath.Join(dir, "bin", "imapsync"), passwords: map[string]string{support: rand.Text(), sales: rand.Text()}}
	var group errgroup.Group
	timed := func(name string, start func() error) {
		began := time.Now()
		group.Go(func() error {
			if err := start(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			out.line("   %s %s", cell(name, 24), out.dim(seconds(time.Since(began))))
			return nil
		})
	}
	timed("PostgreSQL", func() (err error) {
		if p.postgres, err = devenv.StartPostgres(ctx); err == nil {
			p.databaseURL, err = p.postgres.CreateDatabase(ctx, "imapsync", "")
		}
		return err
	})
	timed("NATS with JetStream", func() (err error) {
		p.nats, err = devenv.StartNATS(ctx)
		return err
	})
	timed("Dovecot", func() (err error) {
		p.dovecot, err = devenv.StartDovecot(ctx)
		return err
	})
	timed("go build ./cmd/imapsync", func() error { return p.build(ctx) })
	if err := group.Wait(); err != nil {
		return nil, errors.Join(interrupted(ctx, err), p.close())
	}
	if err := p.furnish(); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// furnish makes the users, and the files that the commands name.
func (p *place) furnish() error {
	ca, err := os.ReadFile(p.dovecot.CAFile)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.dir, "ca.pem"), ca, 0o600); err != nil {
		return err
	}
	folders := map[string]string{support: customers, sales: orders}
	for user, password := range p.passwords {
		if err := p.dovecot.AddUser(user, password, folders[user]); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(p.dir, user+".password"), []byte(password+"\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// close ends the servers and removes every file.
func (p *place) close() error {
	var errs []error
	if p.dovecot != nil {
		errs = append(errs, p.dovecot.Close())
	}
	if p.nats != nil {
		errs = append(errs, p.nats.Close())
	}
	if p.postgres != nil {
		errs = append(errs, p.postgres.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(p.dir))...)
}

// interrupted puts the end of ctx in the place of the errors that follow from
// it.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }
