package devenv

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/lib/pq"
)

// Postgres is a PostgreSQL server: one of our own, or (see [OpenPostgres]) a
// given one, which can be used but not stopped.
type Postgres struct {
	url *url.URL // superuser, database postgres

	scratch  *scratch // nil when given
	account  account
	bin      string
	settings []string
	proc     *process

	mu        sync.Mutex
	templates map[string]error // made by Template, by name
}

// PostgresOption changes how a server is started.
type PostgresOption func(*Postgres)

// PostgresSetting adds a line of postgresql.conf, such as "log_statement=all".
func PostgresSetting(setting string) PostgresOption {
	return func(p *Postgres) { p.settings = append(p.settings, setting) }
}

// OpenPostgres uses the server at a URL whose user may create databases.
func OpenPostgres(rawURL string) (*Postgres, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("not a URL of the form postgres://user:password@host:port/database")
	}
	return &Postgres{url: u, templates: map[string]error{}}, nil
}

// StartPostgres makes a new server and starts it; ctx bounds the start only.
// It answers on TCP and on a Unix socket in [Postgres.SocketDir], to a random
// password. A commit survives Kill, not a crash of the machine (fsync=off).
// The error is a [*MissingError] when PostgreSQL is not installed.
func StartPostgres(ctx context.Context, opts ...PostgresOption) (_ *Postgres, err error) {
	defer wrap(&err, "postgresql")
	bin, err := postgresBin(ctx)
	if err != nil {
		return nil, err
	}
	as, err := unprivileged("postgres", "nobody")
	if err != nil {
		return nil, err
	}
	dir, err := newScratch("pg")
	if err != nil {
		return nil, err
	}
	p := newPostgres(dir, as, bin, rand.Text())
	for _, opt := range opts {
		opt(p)
	}
	if err := p.initdb(ctx); err != nil {
		return nil, errors.Join(err, dir.close())
	}
	return p.startSomewhere(ctx)
}

// newPostgres is a server in a directory, with what holds for all of them.
func newPostgres(dir *scratch, as account, bin, password string) *Postgres {
	return &Postgres{
		scratch:   dir,
		account:   as,
		bin:       bin,
		templates: map[string]error{},
		url: &url.URL{
			Scheme: "postgres", User: url.UserPassword("postgres", password),
			Path: "/postgres", RawQuery: "sslmode=disable",
		},
		settings: []string{
			"listen_addresses=" + loopback,
			"unix_socket_directories=" + dir.file("run"),
			"max_connections=300",
			"max_locks_per_transaction=128",
			// No fsync: only the machine's crash could tell. Commits are still
			// written before they are answered, so killing loses none of them.
			"fsync=off",
			"wal_level=minimal", "max_wal_senders=0",
			// Nothing outside our directory, which is all the guard removes.
			"dynamic_shared_memory_type=mmap",
			"log_line_prefix=%m [%p] %d %a ",
			"timezone=UTC", "log_timezone=UTC",
		},
	}
}

// startSomewhere starts the server on a free port, or closes it.
func (p *Postgres) startSomewhere(ctx context.Context) (_ *Postgres, err error) {
	for range 5 {
		var port int
		if port, err = freePort(); err != nil {
			break
		}
		p.url.Host = net.JoinHostPort(loopback, strconv.Itoa(port))
		if err = p.Start(ctx); err == nil {
			return p, nil
		}
		if !strings.Contains(err.Error(), "in use") {
			break
		}
	}
	return nil, errors.Join(err, p.Close())
}

// postgresBin returns the directory of the newest installed server programs.
func postgresBin(ctx context.Context) (string, error) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin") // Debian keeps them out of $PATH
	if err != nil {
		return "", err
	}
	slices.SortFunc(dirs, func(a, b string) int { return postgresMajor(b) - postgresMajor(a) })
	dirs = append(dirs, filepath.SplitList(os.Getenv("PATH"))...)
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
			continue
		}
		// A program of that name need not be the server.
		out, err := exec.CommandContext(ctx, filepath.Join(dir, "postgres"), "--version").Output()
		if err == nil && strings.HasPrefix(string(out), "postgres (PostgreSQL)") {
			return dir, nil
		}
	}
	return "", &MissingError{Program: "postgres", Package: "postgresql"}
}

// postgresMajor returns 15 of /usr/lib/postgresql/15/bin.
func postgresMajor(dir string) int {
	major, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
	if err != nil {
		return 0
	}
	return major
}

func (p *Postgres) initdb(ctx context.Context) error {
	for _, dir := range []string{"data", "run"} {
		path := p.scratch.file(dir)
		if err := errors.Join(os.Mkdir(path, 0o700), p.account.own(path)); err != nil {
			return err
		}
	}
	password, _ := p.url.User.Password()
	pwfile := p.scratch.file("password")
	if err := errors.Join(os.WriteFile(pwfile, []byte(password), 0o600), p.account.own(pwfile)); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"),
		"--pgdata", p.scratch.file("data"), "--username", "postgres", "--pwfile", pwfile,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	cmd.Dir = p.scratch.path
	cmd.SysProcAttr = sysProcAttr(p.account, syscall.SIGKILL)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w:\n%s", err, indent(string(out)))
	}
	return nil
}

// Start starts the server again, on its port and its data, and waits until it
// answers, within patience.
func (p *Postgres) Start(ctx context.Context) error {
	if p.scratch == nil {
		return errGiven
	}
	if p.proc.running() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	argv := []string{filepath.Join(p.bin, "postgres"), "-D", p.scratch.file("data"), "-p", p.url.Port()}
	for _, setting := range p.settings {
		argv = append(argv, "-c", setting)
	}
	proc, err := p.scratch.spawn(p.account, syscall.SIGQUIT, p.logFile(), argv...)
	if err != nil {
		return err
	}
	p.proc = proc
	return proc.awaitReady(ctx.Done(), p.logFile(), func() error { return p.exec(ctx, "SELECT 1") })
}

// Stop ends the server in order: sessions are ended, everything is written.
func (p *Postgres) Stop() error {
	if p.scratch == nil {
		return errGiven
	}
	return p.proc.stop(syscall.SIGINT)
}

// Kill ends all processes of the server by kill -9. Start recovers it.
func (p *Postgres) Kill() error {
	if p.scratch == nil {
		return errGiven
	}
	return p.proc.kill()
}

// Close ends the server and removes its data. A given server stays.
func (p *Postgres) Close() error {
	if p.scratch == nil {
		return nil
	}
	return errors.Join(p.proc.stop(syscall.SIGQUIT), p.scratch.close())
}

// URL returns the superuser's URL of the database "postgres".
func (p *Postgres) URL() string { return p.url.String() }

// SocketDir returns the directory of the Unix socket, empty for a given server.
func (p *Postgres) SocketDir() string {
	if p.scratch == nil {
		return ""
	}
	return p.scratch.file("run")
}

// DatabaseURL returns the URL of the database of that name.
func (p *Postgres) DatabaseURL(name string) string {
	u := *p.url
	u.Path = "/" + name
	return u.String()
}

// Log returns the last lines of the server's log.
func (p *Postgres) Log() string {
	if p.scratch == nil {
		return "(a given server: its log is not ours)"
	}
	return tail(p.logFile(), 60)
}

func (p *Postgres) logFile() string { return p.scratch.file("log") }

// CreateDatabase makes a database and returns its URL. template names the one
// to copy, made by [Postgres.Template]; empty means an empty database.
func (p *Postgres) CreateDatabase(ctx context.Context, name, template string) (string, error) {
	if template == "" {
		template = "template0"
	}
	stmt := "CREATE DATABASE " + pq.QuoteIdentifier(name) + " TEMPLATE " + pq.QuoteIdentifier(template)
	if err := p.exec(ctx, stmt); err != nil {
		return "", fmt.Errorf("create database %s: %w", name, err)
	}
	return p.DatabaseURL(name), nil
}

// DropDatabase ends the sessions of a database and removes it.
func (p *Postgres) DropDatabase(ctx context.Context, name string) error {
	if err := p.exec(ctx, "DROP DATABASE IF EXISTS "+pq.QuoteIdentifier(name)+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop database %s: %w", name, err)
	}
	return nil
}

// Template makes a database to be copied by [Postgres.CreateDatabase], once,
// and lets migrate fill it.
func (p *Postgres) Template(ctx context.Context, name string, migrate func(ctx context.Context, url string) error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err, made := p.templates[name]; made {
		return err
	}
	databaseURL, err := p.CreateDatabase(ctx, name, "")
	if err == nil {
		if err = migrate(ctx, databaseURL); err != nil {
			err = fmt.Errorf("migrate the template database: %w", err)
		}
	}
	p.templates[name] = err
	return err
}

func (p *Postgres) exec(ctx context.Context, stmt string) error {
	conn, err := sql.Open("postgres", p.URL())
	if err != nil {
		return err
	}
	_, err = conn.ExecContext(ctx, stmt)
	return errors.Join(err, conn.Close())
}

// errGiven answers a request to stop a server that is not ours.
var errGiven = errors.New("the server was given by its URL, it is not ours to start or stop")

// wrap puts the server's name before an error.
func wrap(err *error, server string) {
	if *err != nil {
		*err = fmt.Errorf("%s: %w", server, *err)
	}
}
