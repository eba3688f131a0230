package db

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/lib/pq"
)

// prepareFrom is how often a statement is sent as it stands on a connection
// before it is prepared there: preparing takes a round trip of its own.
const prepareFrom = 4

// oftenRun reports whether a statement is one of those that are run for every
// chunk of messages. None leaves a choice to the planner that would be wrong
// later: a plan that is kept outlives the size that the tables had.
func oftenRun(query string) bool {
	switch query {
	case knownMessages, holdFence, insertRows, putFolder, addCounts, mirrorCursor:
		return true
	}
	return false
}

// preparing has the server parse and plan the statements that are run often once
// a connection, not once a chunk. It must not stand before a transaction pooler,
// which would hand the next statement to a session that does not know it.
type preparing struct{ driver.Connector }

// Connect implements [driver.Connector].
func (p preparing) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := p.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	if inner, ok := conn.(fullConn); ok {
		return &preparingConn{fullConn: inner, often: map[string]*oftenStmt{}}, nil
	}
	return conn, nil
}

// fullConn is what a connection of the driver can do.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

type fullStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type preparingConn struct {
	fullConn
	often map[string]*oftenStmt
	stale bool // a statement was prepared for tables that have changed, or is gone
}

// IsValid implements [driver.Validator].
func (c *preparingConn) IsValid() bool { return !c.stale && c.fullConn.IsValid() }

// fresh has a connection whose prepared statements are of no use any more be
// the last time in use: a migration changes tables while a watcher runs.
func (c *preparingConn) fresh(err error) error {
	if pe, ok := errors.AsType[*pq.Error](err); ok && (pe.Code == "0A000" || pe.Code == "26000") {
		c.stale = true
	}
	return err
}

type oftenStmt struct {
	runs     int
	prepared fullStmt // nil until it is worth it
}

// ExecContext implements [driver.ExecerContext].
func (c *preparingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	st, err := c.statement(ctx, query)
	switch {
	case err != nil:
		return nil, err
	case st == nil:
		return c.fullConn.ExecContext(ctx, query, args)
	}
	res, err := st.ExecContext(ctx, args)
	return res, c.fresh(err)
}

// QueryContext implements [driver.QueryerContext].
func (c *preparingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	st, err := c.statement(ctx, query)
	switch {
	case err != nil:
		return nil, err
	case st == nil:
		return c.fullConn.QueryContext(ctx, query, args)
	}
	rows, err := st.QueryContext(ctx, args)
	return rows, c.fresh(err)
}

// statement gives the prepared statement of a query, or nil when there is none.
func (c *preparingConn) statement(ctx context.Context, query string) (fullStmt, error) {
	if !oftenRun(query) {
		return nil, nil
	}
	st := c.often[query]
	if st == nil {
		st = &oftenStmt{}
		c.often[query] = st
	}
	if st.runs++; st.runs <= prepareFrom || st.prepared != nil {
		return st.prepared, nil
	}
	made, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	st.prepared, _ = made.(fullStmt)
	return st.prepared, nil
}
