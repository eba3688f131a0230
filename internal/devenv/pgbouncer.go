package devenv

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// PgBouncer is a connection pooler in transaction mode: each transaction of a
// client may run in another session of the server.
type PgBouncer struct {
	url     *url.URL
	scratch *scratch
	proc    *process
}

// StartPgBouncer starts a pooler in front of the server that postgresURL names,
// for all its databases, as the user of that URL. ctx bounds the start only.
// The error is a [*MissingError] when PgBouncer is not installed.
func StartPgBouncer(ctx context.Context, postgresURL string) (_ *PgBouncer, err error) {
	defer wrap(&err, "pgbouncer")
	bin, err := findProgram("pgbouncer", "pgbouncer")
	if err != nil {
		return nil, err
	}
	as, err := unprivileged("postgres", "nobody")
	if err != nil {
		return nil, err
	}
	target, err := url.Parse(postgresURL)
	if err != nil || target.Hostname() == "" {
		return nil, errors.New("not a URL of the form postgres://user:password@host:port/database")
	}
	dir, err := newScratch("pgbouncer")
	if err != nil {
		return nil, err
	}
	pooled := *target
	b := &PgBouncer{url: &pooled, scratch: dir}
	for range 5 {
		if err = b.start(ctx, bin, as, target); err == nil {
			return b, nil
		}
		if !strings.Contains(err.Error(), "in use") {
			break
		}
	}
	return nil, errors.Join(err, b.Close())
}

func (b *PgBouncer) start(ctx context.Context, bin string, as account, target *url.URL) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	targetPort := target.Port()
	if targetPort == "" {
		targetPort = "5432"
	}
	password, _ := target.User.Password()
	users := fmt.Sprintf("%s %s\n", quote(target.User.Username()), quote(password))
	ini := fmt.Sprintf(`[databases]
* = host=%s port=%s

[pgbouncer]
listen_addr = %s
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
max_client_conn = 1000
default_pool_size = 20
server_tls_sslmode = prefer
ignore_startup_parameters = extra_float_digits
`, target.Hostname(), targetPort, loopback, port, b.scratch.file("users.txt"))
	for name, text := range map[string]string{"users.txt": users, "pgbouncer.ini": ini} {
		path := b.scratch.file(name)
		if err := errors.Join(os.WriteFile(path, []byte(text), 0o600), as.own(path)); err != nil {
			return err
		}
	}
	b.url.Host = net.JoinHostPort(loopback, strconv.Itoa(port))
	q := b.url.Query()
	q.Set("sslmode", "disable") // on this side
	b.url.RawQuery = q.Encode()

	log := b.scratch.file("log")
	if b.proc, err = b.scratch.spawn(as, syscall.SIGTERM, log, bin, b.scratch.file("pgbouncer.ini")); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return b.proc.awaitReady(ctx.Done(), log, func() error {
		conn, err := sql.Open("postgres", b.URL())
		if err != nil {
			return err
		}
		_, err = conn.ExecContext(ctx, "SELECT 1")
		return errors.Join(err, conn.Close())
	})
}

// quote writes a value of PgBouncer's auth_file.
func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// URL returns the given URL with the pooler in place of the server.
func (b *PgBouncer) URL() string { return b.url.String() }

// Log returns the last lines of the pooler's log.
func (b *PgBouncer) Log() string { return tail(b.scratch.file("log"), 60) }

// Close ends the pooler.
func (b *PgBouncer) Close() error { return errors.Join(b.proc.kill(), b.scratch.close()) }
