package db

import (
	"context"
	"database/sql"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lib/pq"
)

const (
	connectTimeout = 5 * time.Second
	maxSilence     = 30 * time.Second // of the server
)

func openPool(dsn string, silence time.Duration) (*sql.DB, error) {
	cfg, err := pq.NewConfig(dsn)
	if err != nil {
		// The driver quotes the string it cannot read, password and all.
		return nil, fmt.Errorf("%w: not a postgres:// URL or key=value string that can be read", ErrConfig)
	}
	// Without it the driver prepares and executes in two flights, and behind a
	// transaction pooler the second may reach another client's session.
	cfg.BinaryParameters = true
	cfg.ConnectTimeout = connectTimeout
	if cfg.ApplicationName == "" {
		cfg.ApplicationName = "imapsync"
	}
	connector, err := pq.NewConnectorConfig(cfg)
	if err != nil {
		return nil, fmt.Errorf("%w: the settings contradict each other", ErrConfig)
	}
	connector.Dialer(dialer{&net.Dialer{Timeout: connectTimeout, KeepAlive: 15 * time.Second}, silence})
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
	*net.Dialer
	silence time.Duration
}

// DialTimeout is of the driver's interface, and not used where DialContext is there.
func (d dialer) DialTimeout(network, address string, _ time.Duration) (net.Conn, error) {
	return d.DialContext(context.Background(), network, address)
}

func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.Dialer.DialContext(ctx, network, address)
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

// CheckWrites returns an error of ErrReadOnly unless the server takes what a pass
// writes. It changes nothing: there is no such provider.
func (s *Store) CheckWrites(ctx context.Context) error {
	_, err := s.pool.ExecContext(ctx, `
		UPDATE imap_sync_state SET run_epoch = run_epoch
		WHERE tenant = '00000000-0000-0000-0000-000000000000' AND provider_id = '00000000-0000-0000-0000-000000000000'`)
	if err != nil {
		return fmt.Errorf("try to write: %w", wrap(ctx, err))
	}
	return nil
}

// detectPooler reports whether two connections of ours can meet in one server
// session, as they do behind a pooler in transaction mode.
func detectPooler(ctx context.Context, url string) (bool, error) {
	pool, err := openPool(url, maxSilence)
	if err != nil {
		return false, err
	}
	defer pool.Close()
	var pids [2]int
	var conns [2]*sql.Conn
	for i := range conns {
		if conns[i], err = pool.Conn(ctx); err != nil {
			return false, wrap(ctx, err)
		}
		defer conns[i].Close()
	}
	for try := range 5 {
		before := pids
		for i, conn := range conns {
			if err := conn.QueryRowContext(ctx, "SELECT pg_backend_pid()").Scan(&pids[i]); err != nil {
				return false, wrap(ctx, err)
			}
		}
		if pids[0] == pids[1] || try > 0 && pids != before {
			return true, nil
		}
	}
	return false, nil
}

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
		return h, fmt.Errorf("ask the server: %w", wrap(ctx, err))
	}
	took := time.Since(before)
	h.Version, h.TooOld, h.ReadOnly = row.Version, row.Number < minPostgres, row.ReadOnly
	h.ClockSkew = row.Now.Sub(before.Add(took / 2))
	if h.Pooled, err = detectPooler(ctx, s.opts.URL); err != nil {
		return h, fmt.Errorf("look for a pooler: %w", err)
	}
	h.LockPooled = h.Pooled
	if h.LockURL {
		if h.LockPooled, err = detectPooler(ctx, s.opts.LockURL); err != nil {
			return h, fmt.Errorf("lock connection: %w", err)
		}
	}
	return h, nil
}
