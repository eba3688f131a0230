// Package db is the Postgres store: every SQL statement of the project stands
// here, beside the locks that keep two runs off one mailbox.
//
// Invariants: a statement stands whole where it is run and is sent as it stands,
// never prepared; it names its tenant; what time it is, the caller says. A cursor
// never moves except in the transaction that writes the ledger rows it moves
// over, and only behind the fence of the run that holds the lock. The tables
// shared with a settings UI are never altered. Texts from outside are cleaned
// before they are stored.
package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
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
