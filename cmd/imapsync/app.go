package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/provider"
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
	tenant, output  string // of the commands that have these flags

	stays bool // the process stays up: what it is connected to may go away and come back

	log *slog.Logger
}

func (a *app) globalFlags(fs *pflag.FlagSet) {
	fs.StringVar(&a.databaseURL, "database-url", "", "Postgres: postgres://user:password@host:5432/database (env DATABASE_URL)")
	fs.StringVar(&a.lockDatabaseURL, "lock-database-url", "", "a direct connection when --database-url goes through a pooler (env LOCK_DATABASE_URL)")
	fs.StringVar(&a.natsURL, "nats-url", nats.DefaultURL, "NATS with JetStream (env NATS_URL)")
	fs.StringVar(&a.natsCreds, "nats-creds", "", "NATS credentials file (env NATS_CREDS)")
	fs.StringVar(&a.secretKeyFile, "secret-key-file", "", "key file that seals stored credentials (env IMAPSYNC_SECRET_KEY_FILE)")
	fs.StringVar(&a.logFormat, "log-format", "", "json or text; text on a terminal, else json")
	fs.StringVar(&a.logLevel, "log-level", "info", "debug, info, warn or error")
}

// prepare runs before every command: environment, logger, the flags that many have.
func (a *app) prepare(cmd *cobra.Command, _ []string) error {
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
	if f := cmd.Flags().Lookup("output"); f != nil && f.Changed && !slices.Contains(f.Annotations["formats"], a.output) {
		return usageError("-o %q: use %s", a.output, f.Usage)
	}
	if a.tenant != "" {
		id, err := uuid.Parse(a.tenant)
		if err != nil {
			return usageError("--tenant: %q is not a UUID", a.tenant)
		}
		a.tenant = id.String()
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

const natsPatience = 5 * time.Second

// openNATS connects to the broker. The caller closes the connection.
func (a *app) openNATS(ctx context.Context) (*nats.Conn, error) {
	return publish.Connect(ctx, publish.ConnectOptions{URL: a.natsURL, CredsFile: a.natsCreds, Name: "imapsync", Timeout: natsPatience, Forever: a.stays, Logger: a.log})
}

// box seals and opens stored credentials. Its key is read when it is needed.
func (a *app) box() *secret.Box { return secret.NewLazyBox(a.keyRing) }

func (a *app) keyRing() (*secret.KeyRing, error) {
	if a.secretKeyFile == "" {
		return nil, &exitError{exitConfig, fault.Newf(fault.Ours, "secret", "no key for stored credentials").With("reason", "no_key")}
	}
	ring, err := secret.ReadKeyFile(a.secretKeyFile)
	if err != nil {
		return nil, &exitError{exitConfig, fault.Newf(fault.Ours, "secret", "IMAPSYNC_SECRET_KEY_FILE: %w", err).With("reason", "key_file")}
	}
	return ring, nil
}

// onStore completes a command about what is stored: work gets the store, and
// --tenant and -o say of whom and how.
func (a *app) onStore(cmd *cobra.Command, work func(ctx context.Context, store *db.Store, args []string) error, formats ...string) *cobra.Command {
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withStore(cmd.Context(), func(store *db.Store) error { return work(cmd.Context(), store, args) })
	}
	a.tenantFlag(cmd)
	a.outputFlag(cmd, append([]string{"text", "json"}, formats...)...)
	return cmd
}

// onProvider completes a command about one mailbox: work gets the one that a
// person means, and what names it in a command to come: as they did, but by its
// id where the name may be another tenant's too.
func (a *app) onProvider(cmd *cobra.Command, work func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, named string) error) *cobra.Command {
	cmd.Args = oneProvider
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		return a.withStore(ctx, func(store *db.Store) error {
			p, err := findProvider(ctx, store, args[0], a.tenant)
			if err != nil {
				return err
			}
			named := args[0]
			if a.tenant != "" {
				named = p.ID
			}
			return work(ctx, a.service(store), p, named)
		})
	}
	a.tenantFlag(cmd)
	return cmd
}

const noProvider = "no provider yet: `imapsync provider add --help`"

func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		return usageError("unknown command %q: see `%s --help`", args[0], cmd.CommandPath())
	}
	return usageError("%s takes no argument, got %q", cmd.CommandPath(), args[0])
}

func oneProvider(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usageError("%s takes one PROVIDER, its name or id: `imapsync provider list` shows what there is", cmd.CommandPath())
	}
	return nil
}

func oneProviderOrAll(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError("%s takes at most one PROVIDER, got %d", cmd.CommandPath(), len(args))
	}
	return nil
}

func group(cmd *cobra.Command, subcommands ...*cobra.Command) *cobra.Command {
	cmd.Args = noArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(subcommands...)
	return cmd
}

// withStore connects to Postgres and makes sure of the schema, for work.
func (a *app) withStore(ctx context.Context, work func(store *db.Store) error) error {
	opts, err := a.dbOptions()
	if err != nil {
		return err
	}
	store, err := db.Open(ctx, opts)
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.CheckSchema(ctx); err != nil {
		return err
	}
	return work(store)
}

// service does to mailboxes what commands ask for. Without a store it tells what
// can be told without.
func (a *app) service(store *db.Store) *provider.Service {
	return &provider.Service{Store: store, Box: a.box(), LookupEnv: os.LookupEnv, Log: a.log, Version: version(), Connect: a.openNATS}
}

func findProviders(ctx context.Context, store *db.Store, names []string, tenant string) ([]*db.Provider, error) {
	if len(names) == 0 {
		return store.ListProviders(ctx, tenant)
	}
	var list []*db.Provider
	for _, name := range names {
		p, err := findProvider(ctx, store, name, tenant)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

func findProvider(ctx context.Context, store *db.Store, nameOrID, tenant string) (*db.Provider, error) {
	p, err := store.FindProvider(ctx, nameOrID, tenant)
	switch {
	case errors.Is(err, db.ErrAmbiguous):
		return nil, usageError("%w: `imapsync provider list` shows them", err)
	case errors.Is(err, db.ErrNotFound):
		return nil, usageError("%w: `imapsync provider list` shows what there is", err)
	}
	return p, err
}

// only is the provider that a list is narrowed to, or the tenant alone.
func (a *app) only(ctx context.Context, store *db.Store, nameOrID string) (db.Ref, error) {
	if nameOrID == "" {
		return db.Ref{Tenant: a.tenant}, nil
	}
	p, err := findProvider(ctx, store, nameOrID, a.tenant)
	if err != nil {
		return db.Ref{}, err
	}
	return p.Ref(), nil
}

// actor is the operating system's user.
func actor() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

// printf writes to standard output; a reader that went away is no error of ours.
func (a *app) printf(format string, args ...any) { fmt.Fprintf(a.stdout, format, args...) }

// notef tells a person something that is not the output.
func (a *app) notef(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }

func (a *app) json() bool { return a.output == "json" }

func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func (a *app) printJSONLine(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// printList writes what was found: as JSON, or as a table of what row says of
// each, or none when there is nothing.
func printList[T any](a *app, found []T, none, head string, row func(T) []any) error {
	switch {
	case a.json():
		return a.printJSON(append([]T{}, found...))
	case len(found) == 0:
		a.printf("%s\n", none)
		return nil
	}
	t := newTable(a.stdout, head)
	for _, one := range found {
		t.row(row(one)...)
	}
	return t.Flush()
}

// table writes rows in columns, and between them notes, which take part in none.
type table struct {
	*tabwriter.Writer
	to    io.Writer
	rows  *strings.Builder
	notes map[int]string // by how many rows stand above
	n     int
}

func newTable(to io.Writer, head ...any) *table {
	t := &table{to: to, rows: &strings.Builder{}, notes: map[int]string{}}
	t.Writer = tabwriter.NewWriter(t.rows, 0, 0, 2, ' ', 0)
	if len(head) > 0 {
		t.row(head...)
	}
	return t
}

// row writes a row; a cell may hold several, between tabs.
func (t *table) row(cells ...any) {
	for i, cell := range cells {
		if i > 0 {
			fmt.Fprint(t, "\t")
		}
		fmt.Fprint(t, cell)
	}
	fmt.Fprintln(t)
	t.n++
}

// note writes a line under the last row: a row of one cell would part the columns of
// the rows above it from those below.
func (t *table) note(line string) { t.notes[t.n] += line + "\n" }

// Flush writes all of it.
func (t *table) Flush() error {
	if err := t.Writer.Flush(); err != nil {
		return err
	}
	n := 0
	for row := range strings.Lines(t.rows.String()) {
		n++
		if _, err := io.WriteString(t.to, row+t.notes[n]); err != nil {
			return err
		}
	}
	return nil
}

// moment writes a time, in UTC.
func moment(t *time.Time) string { return momentOr(t, "never") }

func momentOr(t *time.Time, none string) string {
	if t == nil {
		return none
	}
	return t.UTC().Format(time.RFC3339)
}
