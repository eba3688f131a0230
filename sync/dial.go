package sync

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strconv"
	"time"

	"imapsync/db"
)

// dial connects to the provider's server and secures the connection as its
// settings say. There is no way from a failed handshake to plaintext.
func dial(ctx context.Context, p *db.Provider, timeouts Timeouts, lim wireLimits, known *tlsConfigs) (net.Conn, *wire, error) {
	nd := net.Dialer{Timeout: timeouts.Connect, KeepAlive: 15 * time.Second}
	conn, err := nd.DialContext(ctx, "tcp", net.JoinHostPort(p.Host, strconv.Itoa(p.Port)))
	if err != nil {
		return nil, nil, orEnd(ctx, dialError(err))
	}
	w, err := secure(ctx, conn, p, timeouts, lim, known)
	if err != nil {
		conn.Close()
		return nil, nil, orEnd(ctx, err)
	}
	return conn, w, nil
}

func secure(ctx context.Context, conn net.Conn, p *db.Provider, timeouts Timeouts, lim wireLimits, known *tlsConfigs) (*wire, error) {
	if p.TLS == db.TLSNone {
		return newWire(conn, lim), nil
	}
	cfg, err := known.of(p)
	if err != nil {
		return nil, err
	}
	if p.TLS == db.TLSStartTLS {
		if err := startTLSWithin(ctx, conn, timeouts.Connect); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeouts.Connect, transient("tls_timeout",
		fmt.Errorf("tls: %s did not agree on encryption within %s: %s", cfg.ServerName, timeouts.Connect, portHint)))
	defer cancel()
	tc := tls.Client(conn, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, orEnd(ctx, tlsError(p.TLS, cfg.ServerName, err))
	}
	w := newWire(tc, lim)
	if p.TLS == db.TLSStartTLS {
		w.Greet() // the greeting came in the clear; its capabilities are forgotten
	}
	return w, nil
}

// startTLSWithin is startTLS with a bound.
func startTLSWithin(ctx context.Context, conn net.Conn, patience time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, transient("starttls_timeout",
		fmt.Errorf("starttls: no answer within %s: if the server speaks TLS from the start on this port, use --tls implicit", patience)))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := startTLS(conn); err != nil {
		return orEnd(ctx, err)
	}
	return nil
}

// orEnd prefers the reason a context ended to the error that its end caused.
func orEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}
