package db

import (
	"context"
	"database/sql"
)

// detectPooler reports whether two connections of ours can meet in one server
// session, as they do behind a pooler in transaction mode.
func detectPooler(ctx context.Context, url string, opts Options) (bool, error) {
	pool, err := openPool(url, opts)
	if err != nil {
		return false, err
	}
	defer pool.Close()
	var pids [2]int
	var conns [2]*sql.Conn
	for i := range conns {
		if conns[i], err = pool.Conn(ctx); err != nil {
			return false, wrap(err)
		}
		defer conns[i].Close()
	}
	for try := range 5 {
		before := pids
		for i, conn := range conns {
			if err := conn.QueryRowContext(ctx, "SELECT pg_backend_pid()").Scan(&pids[i]); err != nil {
				return false, wrap(err)
			}
		}
		if pids[0] == pids[1] || try > 0 && pids != before {
			return true, nil
		}
	}
	return false, nil
}
