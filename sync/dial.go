package sync

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strconv"
	"time"

	"imapsync/db"
)

// dial connects to the provider's server and secures the connection as its
// settings say. There is no way from a failed handshake to plaintext.
func dial(ctx context.Context, p *db.Provider, timeouts Timeouts, lim wireLimits) (net.Conn, *wire, error) {
	nd := net.Dialer{Timeout: timeouts.Connect, KeepAlive: 15 * time.Second}
	conn, err := nd.DialContext(ctx, "tcp", net.JoinHostPort(p.Host, strconv.Itoa(p.Port)))
	if err != nil {
		return nil, nil, orEnd(ctx, dialError(err))
	}
	w, err := secure(ctx, conn, p, timeouts, lim)
	if err != nil {
		conn.Close()
		return nil, nil, orEnd(ctx, err)
	}
	return conn, w, nil
}

func secure(ctx context.Context, conn net.Conn, p *db.Provider, timeouts Timeouts, lim wireLimits) (*wire, error) {
	if p.TLS == db.TLSNone {
		return newWire(conn, lim), nil
	}
	cfg, err := tlsConfig(p)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeouts.Connect,
		transient("tls", errors.New("tls: the server took too long to agree on encryption")))
	defer cancel()
	if p.TLS == db.TLSStartTLS {
		stop := context.AfterFunc(ctx, func() { conn.Close() })
		err := startTLS(conn)
		stop()
		if err != nil {
			return nil, orEnd(ctx, err)
		}
	}
	tc := tls.Client(conn, cfg)
	if err := tc.HandshakeContext(ctx); err != nil {
		return nil, orEnd(ctx, tlsError(cfg.ServerName, err))
	}
	w := newWire(tc, lim)
	if p.TLS == db.TLSStartTLS {
		w.Greet() // the greeting came in the clear; its capabilities are forgotten
	}
	return w, nil
}

// orEnd prefers the reason a context ended to the error that its end caused.
func orEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func tlsConfig(p *db.Provider) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: p.TLSServerName, MinVersion: tls.VersionTLS12}
	if cfg.ServerName == "" {
		cfg.ServerName = p.Host
	}
	if p.CAPEM != "" {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(p.CAPEM)) {
			return nil, config("ca_file", errors.New("tls: the CA given with --ca-file holds no PEM certificate"))
		}
	}
	return cfg, nil
}
