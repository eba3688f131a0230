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
