package db

import (
	"context"
	"fmt"
	"time"
)

// minPostgres is the oldest server whose SQL this is, as server_version_num.
const minPostgres = 130000

// Health is what there is to know about the server and the ways to it.
type Health struct {
	Version    string        // of the server
	TooOld     bool          // older than 13
	ClockSkew  time.Duration // of the server before this machine, to half the round trip
	Pooled     bool          // the way of statements goes through a pooler that shares sessions
	LockURL    bool          // locks have a way of their own
	LockPooled bool          // the way of the locks goes through such a pooler
	ReadOnly   bool          // it is a standby, or takes no writes
}

// Health looks at the server and the ways to it, and changes nothing.
func (s *Store) Health(ctx context.Context) (Health, error) {
	h := Health{LockURL: s.opts.LockURL != ""}
	var row struct {
		Number   int       `db:"number"`
		Version  string    `db:"version"`
		Now      time.Time `db:"now"`
		ReadOnly bool      `db:"read_only"`
	}
	before := time.Now() // the two real clocks are compared: neither is the caller's
	err := s.pool.GetContext(ctx, &row, `
		SELECT current_setting('server_version_num')::int AS number, current_setting('server_version') AS version,
			clock_timestamp() AS now, current_setting('transaction_read_only')::bool AS read_only`)
	if err != nil {
		return h, fmt.Errorf("ask the server: %w", wrap(err))
	}
	took := time.Since(before)
	h.Version, h.TooOld, h.ReadOnly = row.Version, row.Number < minPostgres, row.ReadOnly
	h.ClockSkew = row.Now.Sub(before.Add(took / 2))
	if h.Pooled, err = detectPooler(ctx, s.opts.URL, s.opts); err != nil {
		return h, fmt.Errorf("look for a pooler: %w", err)
	}
	h.LockPooled = h.Pooled
	if h.LockURL {
		if h.LockPooled, err = detectPooler(ctx, s.opts.LockURL, s.opts); err != nil {
			return h, fmt.Errorf("lock connection: %w", err)
		}
	}
	return h, nil
}
