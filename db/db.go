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
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// Options say where the store is.
type Options struct {
	URL      string // postgres:// URL or key=value string
	LockURL  string // direct connection for advisory locks; URL when empty
	MaxConns int    // connections for statements; default 4
}

// Store runs the statements. It is safe for concurrent use.
type Store struct {
	pool *sqlx.DB
	opts Options
}

// Open connects and pings. The error is ErrConfig for a URL that cannot be
// used and ErrUnreachable when nobody answers; it never carries the password.
func Open(ctx context.Context, opts Options) (*Store, error) {
	pool, err := openPool(opts.URL, maxSilence)
	if err != nil {
		return nil, fmt.Errorf("database url: %w", err)
	}
	conns := cmp.Or(opts.MaxConns, 4)
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	pool.SetConnMaxLifetime(30 * time.Minute)
	if err := pool.PingContext(ctx); err != nil {
		pool.Close()
		return nil, wrap(ctx, err)
	}
	return &Store{pool: sqlx.NewDb(pool, "postgres"), opts: opts}, nil
}

// Close closes the connections.
func (s *Store) Close() error { return s.pool.Close() }

// boundTx has the server end a transaction whose client has fallen silent: a
// process that is stopped, or a node that is gone, would hold the rows it has
// locked, and with them the provider, for hours. What is local passes a pooler. The
// driver begins with READ WRITE: where the database is to take no writes, that stands.
const boundTx = `SELECT set_config('idle_in_transaction_session_timeout', '10s', true),
	set_config('transaction_read_only', current_setting('default_transaction_read_only'), true)`

// txn is a transaction that keeps the first error of its statements and sends none
// after it: they stand one below the other, and whoever has sent them returns err.
type txn struct {
	*sqlx.Tx
	err error
}

// exec runs a statement and returns how many rows it changed; what names it in the
// error.
func (tx *txn) exec(ctx context.Context, what, statement string, args ...any) (rows int64) {
	if tx.err != nil {
		return 0
	}
	res, err := tx.ExecContext(ctx, statement, args...)
	if err == nil {
		rows, err = res.RowsAffected()
	}
	tx.failed(what, err)
	return rows
}

// named is exec with the fields of row as parameters.
func (tx *txn) named(ctx context.Context, what, statement string, row any) {
	if tx.err == nil {
		_, err := tx.NamedExecContext(ctx, statement, row)
		tx.failed(what, err)
	}
}

// failed keeps an error unless there is one already.
func (tx *txn) failed(what string, err error) {
	if err != nil && tx.err == nil {
		tx.err = fmt.Errorf("%s: %w", what, err)
	}
}

// inTx runs fn in a transaction and commits it.
func (s *Store) inTx(ctx context.Context, fn func(tx *txn) error) error {
	tx, err := s.pool.BeginTxx(ctx, nil)
	if pe, ok := errors.AsType[*pq.Error](err); ok && pe.Code == "0A000" { // READ WRITE, on a standby
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	if err != nil {
		return wrap(ctx, err)
	}
	if _, err = tx.ExecContext(ctx, boundTx); err == nil {
		err = fn(&txn{Tx: tx})
	}
	if err != nil {
		_ = tx.Rollback() // the error of fn is the one that says something
		return wrap(ctx, err)
	}
	return wrap(ctx, tx.Commit())
}

// selectAll runs a query of any number of rows; what names it in the error.
func selectAll[T any](ctx context.Context, s *Store, what, query string, args ...any) ([]T, error) {
	var rows []T
	if err := s.pool.SelectContext(ctx, &rows, query, args...); err != nil {
		return nil, fmt.Errorf("%s: %w", what, wrap(ctx, err))
	}
	return rows, nil
}

// selectOne runs a query of one row; the error is sql.ErrNoRows when it finds none.
func selectOne[T any](ctx context.Context, s *Store, what, query string, args ...any) (row T, err error) {
	if err = s.pool.GetContext(ctx, &row, query, args...); err != nil {
		err = fmt.Errorf("%s: %w", what, wrap(ctx, err))
	}
	return row, err
}
