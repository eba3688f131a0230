package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/publish"
	"imapsync/secret"
)

// app is what the commands share: streams, global settings, the logger.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer

	databaseURL     string
	lockDatabaseURL string
	natsURL         string
	natsCreds       string
	logFormat       string
	logLevel        string
	secretKeyFile   string

	stays bool // the process stays up: what it is connected to may go away and come back

	log *slog.Logger
	ctx context.Context //nolint:containedctx // for log lines written by callbacks
}

// context is the command's, for log lines.
func (a *app) context() context.Context { return a.ctx }

// debug reports whether --log-level asks for everything.
func (a *app) debug() bool { return strings.EqualFold(a.logLevel, "debug") }

func (a *app) globalFlags(fs *pflag.FlagSet) {
	fs.StringVar(&a.databaseURL, "database-url", "", "Postgres: postgres://user:password@host:5432/database (env DATABASE_URL)")
	fs.StringVar(&a.lockDatabaseURL, "lock-database-url", "", "a direct connection when --database-url goes through a pooler (env LOCK_DATABASE_URL)")
	fs.StringVar(&a.natsURL, "nats-url", nats.DefaultURL, "NATS with JetStream (env NATS_URL)")
	fs.StringVar(&a.natsCreds, "nats-creds", "", "NATS credentials file (env NATS_CREDS)")
	fs.StringVar(&a.secretKeyFile, "secret-key-file", "", "key file that seals stored credentials (env IMAPSYNC_SECRET_KEY_FILE)")
	fs.StringVar(&a.logFormat, "log-format", "", "json or text; text on a terminal, else json")
	fs.StringVar(&a.logLevel, "log-level", "info", "debug, info, warn or error")
}

// prepare runs before every command: environment, then the logger.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
	a.ctx = cmd.Context()
	if err := fromEnvironment(cmd.Flags()); err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(a.logLevel)); err != nil {
		return usageError("--log-level %q: use debug, info, warn or error", a.logLevel)
	}
	opts := &slog.HandlerOptions{Level: level}
	switch format := a.logFormat; {
	case format == "text", format == "" && isTerminal(a.stderr):
		a.log = slog.New(slog.NewTextHandler(a.stderr, opts))
	case format == "json", format == "":
		a.log = slog.New(slog.NewJSONHandler(a.stderr, opts))
	default:
		return usageError("--log-format %q: use json or text", format)
	}
	return nil
}

// environmentName is the variable that stands for a flag.
func environmentName(flag string) string {
	name := strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
	switch name {
	case "DATABASE_URL", "LOCK_DATABASE_URL", "NATS_URL", "NATS_CREDS":
		return name
	}
	return "IMAPSYNC_" + name
}

// fromEnvironment sets the flags that were not given from their variables.
func fromEnvironment(fs *pflag.FlagSet) error {
	var err error
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Changed || f.Name == "help" || err != nil {
			return
		}
		name := environmentName(f.Name)
		value, ok := os.LookupEnv(name)
		if !ok || value == "" {
			return
		}
		if setErr := fs.Set(f.Name, value); setErr != nil {
			// The value is not shown: it may be a URL with a password.
			err = configError("environment variable %s: not a valid value for --%s (%s)", name, f.Name, f.Value.Type())
		}
	})
	return err
}

// isTerminal reports whether w is a terminal.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (a *app) dbOptions() (db.Options, error) {
	if a.databaseURL == "" {
		return db.Options{}, configError("no database: set DATABASE_URL or --database-url, e.g. postgres://imapsync@localhost:5432/imapsync")
	}
	return db.Options{URL: a.databaseURL, LockURL: a.lockDatabaseURL}, nil
}

// openStore connects to Postgres and makes sure of the schema. The caller
// closes the store.
func (a *app) openStore(ctx context.Context) (*db.Store, error) {
	opts, err := a.dbOptions()
	if err != nil {
		return nil, err
	}
	store, err := db.Open(ctx, opts)
	if err != nil {
		return nil, err
	}
	if err := store.CheckSchema(ctx); err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return store, nil
}

// natsPatience is how long connecting to NATS may take.
const natsPatience = 5 * time.Second

// openNATS connects to the broker. The caller closes the connection.
func (a *app) openNATS(ctx context.Context) (*nats.Conn, error) {
	return publish.Connect(ctx, publish.ConnectOptions{URL: a.natsURL, CredsFile: a.natsCreds, Name: "imapsync", Timeout: natsPatience, Forever: a.stays, Logger: a.log})
}

// box seals and opens stored credentials. Its key is read when it is needed.
func (a *app) box() *secret.Box { return secret.NewLazyBox(a.keyRing) }

func (a *app) keyRing() (*secret.KeyRing, error) {
	if a.secretKeyFile == "" {
		return nil, &exitError{exitConfig, fault.Newf(fault.Config, "secret", "no key for stored credentials").With("reason", "no_key")}
	}
	ring, err := secret.ReadKeyFile(a.secretKeyFile)
	if err != nil {
		return nil, &exitError{exitConfig, fault.Newf(fault.Config, "secret", "IMAPSYNC_SECRET_KEY_FILE: %w", err).With("reason", "key_file")}
	}
	return ring, nil
}

// printf writes to standard output; a reader that went away is no error of ours.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.stdout, format, args...) }
