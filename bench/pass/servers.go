package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/devenv"
	"imapsync/secret"
)

const password = "geheim"

// servers are what the product runs against, private to this process, and the
// product itself.
type servers struct {
	dovecot  *devenv.Dovecot
	postgres *devenv.Postgres
	nats     *devenv.NATS
	dir      string
	binary   string
	keyFile  string
	box      *secret.Box
	made     int // databases and users
	options  options
	profiled int // profiles written

	scratches []string // directories outside dir
}

func startServers(ctx context.Context, o options, dovecot ...devenv.DovecotOption) (_ *servers, err error) {
	s := &servers{options: o}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "imapsync-bench-*"); err != nil {
		return nil, err
	}
	if err := s.build(ctx); err != nil {
		return nil, err
	}
	key, err := secret.GenerateKey()
	if err != nil {
		return nil, err
	}
	s.keyFile = filepath.Join(s.dir, "key")
	if err := os.WriteFile(s.keyFile, []byte(key.Reveal()), 0o600); err != nil {
		return nil, err
	}
	ring, err := secret.ReadKeyFile(s.keyFile)
	if err != nil {
		return nil, err
	}
	s.box = secret.NewBox(ring)
	// Dovecot's own client limit for one mailbox, and its wish to look at every
	// file for changes, would be what is measured.
	if s.dovecot, err = devenv.StartDovecot(ctx, dovecot...); err != nil {
		return nil, err
	}
	if s.postgres, err = devenv.StartPostgres(ctx); err != nil {
		return nil, err
	}
	if s.nats, err = devenv.StartNATS(ctx); err != nil {
		return nil, err
	}
	return s, s.postgres.Template(ctx, "pass", func(ctx context.Context, url string) error {
		_, err := db.Migrate(ctx, db.Options{URL: url}, slog.New(slog.DiscardHandler))
		return err
	})
}

func (s *servers) close() {
	var errs []error
	if s.nats != nil {
		errs = append(errs, s.nats.Close())
	}
	if s.postgres != nil {
		errs = append(errs, s.postgres.Close())
	}
	if s.dovecot != nil {
		errs = append(errs, s.dovecot.Close())
	}
	for _, dir := range append(s.scratches, s.dir) {
		errs = append(errs, os.RemoveAll(dir))
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "end:", err)
	}
}

// build makes the product as it is shipped, or one that writes profiles.
func (s *servers) build(ctx context.Context) error {
	s.binary = filepath.Join(s.dir, "imapsync")
	args := []string{"build", "-trimpath", "-o", s.binary}
	if s.options.profile != "" {
		overlay, err := profilingOverlay(s.dir)
		if err != nil {
			return err
		}
		args = append(args, "-overlay", overlay)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/imapsync")...)
	cmd.Dir = ".." // the product's module
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// database makes a migrated database.
func (s *servers) database(ctx context.Context) (name, url string, err error) {
	s.made++
	name = fmt.Sprintf("pass%d", s.made)
	url, err = s.postgres.CreateDatabase(ctx, name, "pass")
	return name, url, err
}

// user makes a mailbox on Dovecot.
func (s *servers) user(folders ...string) (string, error) {
	s.made++
	name := fmt.Sprintf("u%d", s.made)
	return name, s.dovecot.AddUser(name, password, folders...)
}

// emptyBroker removes every stream, blobs included.
func (s *servers) emptyBroker(ctx context.Context) error {
	return s.broker(func(js jetstream.JetStream) error {
		for _, name := range []string{event.StreamName, "OBJ_imap-mail"} {
			if err := js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
				return err
			}
		}
		return nil
	})
}

// published checks that the stream holds want events.
func (s *servers) published(ctx context.Context, want int) error {
	return s.broker(func(js jetstream.JetStream) error {
		stream, err := js.Stream(ctx, event.StreamName)
		if err != nil {
			return err
		}
		if n := stream.CachedInfo().State.Msgs; n != uint64(want) {
			return fmt.Errorf("the stream holds %d events, want %d", n, want)
		}
		return nil
	})
}

func (s *servers) broker(use func(jetstream.JetStream) error) error {
	nc, err := nats.Connect(s.nats.URL())
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	return use(js)
}
