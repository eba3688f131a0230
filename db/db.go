// Package db is the Postgres store: every SQL statement of the project stands
// here, beside the locks that keep two runs off one mailbox.
//
// Invariants: every statement names its tenant; a cursor never moves except in
// the transaction that writes the ledger rows it moves over, and only behind
// the fence of the run that holds the lock; nothing here alters the tables
// shared with a settings UI beyond their own columns.
package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Errors that callers tell apart; everything else is a fault of the statement.
var (
	ErrUnreachable = errors.New("postgres is unreachable")
	ErrConfig      = errors.New("postgres configuration")
	ErrSchema      = errors.New("schema does not fit this binary")
	ErrFenced      = errors.New("another run has taken over this provider")
	ErrNotFound    = errors.New("not found")
	ErrAmbiguous   = errors.New("name is not unique")
	ErrExists      = errors.New("exists already")
	ErrPooler      = errors.New("a connection pooler shares server sessions between clients")
)

// Options say where the store is.
type Options struct {
	URL     string // postgres:// URL or key=value string
	LockURL string // direct connection for advisory locks; URL when empty

	MaxConns       int           // connections for statements; default 4
	ConnectTimeout time.Duration // default 5 s
	IOTimeout      time.Duration // longest silence of the server; default 30 s
}

func (o Options) withDefaults() Options {
	if o.MaxConns <= 0 {
		o.MaxConns = 4
	}
	if o.ConnectTimeout <= 0 {
		o.ConnectTimeout = 5 * time.Second
	}
	if o.IOTimeout <= 0 {
		o.IOTimeout = 30 * time.Second
	}
	return o
}

// Store runs the statements. It is safe for concurrent use.
type Store struct {
	pool *sqlx.DB
	opts Options
}

// Open connects and pings. The error is ErrConfig for a URL that cannot be
// used and ErrUnreachable when nobody answers; it never carries the password.
func Open(ctx context.Context, opts Options) (*Store, error) {
	opts = opts.withDefaults()
	pool, err := openPool(opts.URL, opts)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	pool.SetMaxOpenConns(opts.MaxConns)
	pool.SetMaxIdleConns(opts.MaxConns)
	pool.SetConnMaxLifetime(30 * time.Minute)
	if err := pool.PingContext(ctx); err != nil {
		pool.Close()
		return nil, wrap(err)
	}
	return &Store{pool: sqlx.NewDb(pool, "postgres"), opts: opts}, nil
}

// Close closes the connections.
func (s *Store) Close() error { return s.pool.Close() }

func openPool(dsn string, opts Options) (*sql.DB, error) {
	cfg, err := pq.NewConfig(dsn)
	if err != nil {
		// The driver quotes the string it cannot read, password and all.
		return nil, fmt.Errorf("%w: not a postgres:// URL or key=value string that can be read", ErrConfig)
	}
	// Without it the driver prepares and executes in two flights, and behind a
	// transaction pooler the second may reach another client's session.
	cfg.BinaryParameters = true
	cfg.ConnectTimeout = opts.ConnectTimeout
	if cfg.ApplicationName == "" {
		cfg.ApplicationName = "imapsync"
	}
	connector, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrConfig, "the settings contradict each other")
	}
	connector.Dialer(dialer{timeout: opts.ConnectTimeout, silence: opts.IOTimeout})
	return sql.OpenDB(connector), nil
}

// Servers are the addresses that a URL leads to, without its credentials; ""
// when it cannot be read.
func Servers(dsn string) string {
	cfg, err := pq.NewConfig(dsn)
	if err != nil {
		return ""
	}
	hosts := append([]pq.ConfigMultihost{{Host: cfg.Host, Hostaddr: cfg.Hostaddr, Port: cfg.Port}}, cfg.Multi...)
	var list []string
	for _, h := range hosts {
		host := h.Host
		if h.Hostaddr.IsValid() {
			host = h.Hostaddr.String()
		}
		list = append(list, net.JoinHostPort(host, strconv.Itoa(int(h.Port))))
	}
	return strings.Join(list, ",")
}

// dialer makes connections that fail when the server is silent for too long:
// the driver's own context deadlines do not bound a read.
type dialer struct {
	timeout time.Duration
	silence time.Duration
}

func (d dialer) Dial(network, address string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d dialer) DialTimeout(network, address string, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return d.DialContext(ctx, network, address)
}

func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	nd := net.Dialer{Timeout: d.timeout, KeepAlive: 15 * time.Second}
	conn, err := nd.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &deadlineConn{Conn: conn, silence: d.silence}, nil
}

// deadlineConn gives every read and write its own deadline. The driver's
// SetDeadline is honoured while it connects and replaced afterwards.
type deadlineConn struct {
	net.Conn
	silence time.Duration
	fixed   atomic.Bool // a deadline set from outside is in force
}

func (c *deadlineConn) SetDeadline(t time.Time) error {
	c.fixed.Store(!t.IsZero())
	return c.Conn.SetDeadline(t)
}

func (c *deadlineConn) Read(p []byte) (int, error) {
	if !c.fixed.Load() {
		if err := c.SetReadDeadline(time.Now().Add(c.silence)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

func (c *deadlineConn) Write(p []byte) (int, error) {
	if !c.fixed.Load() {
		if err := c.SetWriteDeadline(time.Now().Add(c.silence)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// wrap gives a driver error the class that the exit code depends on.
func wrap(err error) error {
	if err == nil || errors.Is(err, ErrUnreachable) || errors.Is(err, ErrConfig) {
		return err
	}
	if pe, ok := errors.AsType[*pq.Error](err); ok {
		code := string(pe.Code)
		switch {
		case strings.HasPrefix(code, "28"), code == "3D000":
			return fmt.Errorf("%w: %w", ErrConfig, err)
		case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "57P"), strings.HasPrefix(code, "53"), code == "25P03": // boundTx
			return fmt.Errorf("%w: %w", ErrUnreachable, err)
		}
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if _, ok := errors.AsType[net.Error](err); ok || isConnError(err) {
		return fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	return err
}

func isConnError(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		strings.Contains(err.Error(), "SSL is not enabled on the server")
}

// boundTx has the server end a transaction whose client has fallen silent: a
// process that is stopped, or a node that is gone, would hold the rows it has
// locked, and with them the provider, for hours. SET LOCAL passes a pooler.
const boundTx = "SET LOCAL idle_in_transaction_session_timeout = '10s'"

// inTx runs fn in a transaction and commits it.
func (s *Store) inTx(ctx context.Context, fn func(tx *sqlx.Tx) error) error {
	tx, err := s.pool.BeginTxx(ctx, nil)
	if err != nil {
		return wrap(err)
	}
	if _, err = tx.ExecContext(ctx, boundTx); err == nil {
		err = fn(tx)
	}
	if err != nil {
		_ = tx.Rollback() // the error of fn is the one that says something
		return wrap(err)
	}
	return wrap(tx.Commit())
}
