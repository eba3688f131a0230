package devenv

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// NATS is a NATS server with JetStream inside this process: one of our own,
// or a given one, which can be used but not stopped.
type NATS struct {
	url     string
	scratch *scratch // nil when given
	options server.Options
	server  *server.Server
}

// NATSOption changes how a server is started.
type NATSOption func(*server.Options)

// NATSMaxPayload sets the largest message the server takes, in bytes; its own
// default is 1 MiB.
func NATSMaxPayload(size int32) NATSOption {
	return func(o *server.Options) { o.MaxPayload = size }
}

// NATSMaxStore sets how much JetStream may keep on disk, in bytes.
func NATSMaxStore(size int64) NATSOption {
	return func(o *server.Options) { o.JetStreamMaxStore = size }
}

// OpenNATS uses the server at a URL.
func OpenNATS(url string) *NATS { return &NATS{url: url} }

// StartNATS starts a server with JetStream in a directory of its own; ctx
// bounds the start only.
func StartNATS(ctx context.Context, opts ...NATSOption) (_ *NATS, err error) {
	defer wrap(&err, "nats-server")
	dir, err := newScratch("nats")
	if err != nil {
		return nil, err
	}
	n := &NATS{scratch: dir}
	n.options = server.Options{
		ServerName: "imapsync",
		Host:       loopback,
		JetStream:  true,
		StoreDir:   dir.file("jetstream"),
		LogFile:    dir.file("log"),
		NoSigs:     true,
	}
	for _, opt := range opts {
		opt(&n.options)
	}
	for range 5 {
		if n.options.Port, err = freePort(); err != nil {
			break
		}
		if err = n.Start(ctx); err == nil {
			return n, nil
		}
	}
	return nil, errors.Join(err, n.Close())
}

// Start starts the server again, on its port and its data, within patience.
func (n *NATS) Start(ctx context.Context) error {
	if n.scratch == nil {
		return errGiven
	}
	if n.server != nil {
		return nil
	}
	limit := patience
	if deadline, ok := ctx.Deadline(); ok {
		limit = min(limit, time.Until(deadline))
	}
	options := n.options // the server completes and keeps what it is given
	srv, err := server.NewServer(&options)
	if err != nil {
		return err
	}
	srv.ConfigureLogger()
	srv.Start()
	if !srv.ReadyForConnections(limit) {
		srv.Shutdown()
		srv.WaitForShutdown()
		return fmt.Errorf("not ready after %v; its log says:\n%s", limit, indent(n.Log()))
	}
	n.server = srv
	n.url = "nats://" + net.JoinHostPort(loopback, strconv.Itoa(n.options.Port))
	return nil
}

// Stop ends the server; its streams stay for the next Start.
func (n *NATS) Stop() error {
	if n.scratch == nil {
		return errGiven
	}
	if n.server != nil {
		n.server.Shutdown()
		n.server.WaitForShutdown()
		n.server = nil
	}
	return nil
}

// Save copies the data of a server that was stopped. What it returns puts the copy in
// the place of the data, also between Stop and Start: as after a power cut that took
// back what was acknowledged, or with a disk from a backup.
func (n *NATS) Save() (putBack func() error, err error) {
	if n.scratch == nil {
		return nil, errGiven
	}
	data, copied := n.options.StoreDir, n.scratch.file("jetstream-"+strconv.FormatInt(time.Now().UnixNano(), 36))
	if err := os.CopyFS(copied, os.DirFS(data)); err != nil {
		return nil, err
	}
	return func() error {
		if err := os.RemoveAll(data); err != nil {
			return err
		}
		return os.CopyFS(data, os.DirFS(copied))
	}, nil
}

// Close ends the server and removes its data. A given server stays.
func (n *NATS) Close() error {
	if n.scratch == nil {
		return nil
	}
	return errors.Join(n.Stop(), n.scratch.close())
}

// URL returns where clients connect to.
func (n *NATS) URL() string { return n.url }

// Log returns the last lines of the server's log.
func (n *NATS) Log() string {
	if n.scratch == nil {
		return "(a given server: its log is not ours)"
	}
	return tail(n.options.LogFile, 60)
}
