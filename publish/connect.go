package publish

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"imapsync/event"
)

// ConnectOptions says where NATS is.
type ConnectOptions struct {
	URL       string        // one server or several, parted by commas
	CredsFile string        // NATS_CREDS: a .creds file; "" for none
	CAFile    string        // PEM; "" for the system's roots
	Name      string        // how the connection is called on the server; "imapsync"
	Timeout   time.Duration // for one server to answer; 5 s
	Logger    *slog.Logger  // disconnects and reconnects; nil for none
	Forever   bool          // try again for ever to reconnect: for a process that stays
}

// Connect connects within Timeout (and ctx), or fails: a job that runs every
// minute is better told at once. A connection that is lost later is tried
// again twice a second for half a minute; then it is closed, and what waits on
// it fails with ErrUnreachable. Errors wrap ErrUnreachable or ErrConfig and
// name the servers without the credentials a URL may hold.
func Connect(ctx context.Context, o ConnectOptions) (*nats.Conn, error) {
	servers, err := Servers(o.URL)
	if err != nil {
		return nil, err
	}
	opts := []nats.Option{
		nats.Name(cmp.Or(o.Name, "imapsync")),
		nats.Timeout(o.timeout(ctx)),
		nats.RetryOnFailedConnect(false),
		nats.MaxReconnects(60),
		nats.ReconnectWait(500 * time.Millisecond),
		nats.ReconnectBufSize(-1), // a publish fails at once and is repeated, rather than pile up unseen
		nats.PingInterval(20 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DrainTimeout(5 * time.Second),
	}
	if o.Forever {
		opts = append(opts, nats.MaxReconnects(-1), nats.ReconnectWait(2*time.Second))
	}
	if o.CredsFile != "" {
		if err := checkCreds(o.CredsFile); err != nil {
			return nil, fmt.Errorf("%w: credentials: %w", event.ErrConfig, err)
		}
		opts = append(opts, nats.UserCredentials(o.CredsFile))
	}
	if o.CAFile != "" {
		if err := readable(o.CAFile); err != nil {
			return nil, fmt.Errorf("%w: ca file: %w", event.ErrConfig, err)
		}
		opts = append(opts, nats.RootCAs(o.CAFile))
	}
	opts = append(opts, logOptions(o.Logger)...)

	type result struct {
		nc  *nats.Conn
		err error
	}
	done := make(chan result, 1)
	go func() { // nats.Connect takes no context
		nc, err := nats.Connect(o.URL, opts...)
		done <- result{nc, err}
	}()
	select {
	case r := <-done:
		if r.err != nil {
			return nil, fmt.Errorf("%s: %w", servers, connectError(r.err))
		}
		return r.nc, nil
	case <-ctx.Done():
		go func() {
			if r := <-done; r.nc != nil {
				r.nc.Close()
			}
		}()
		return nil, fmt.Errorf("%s: %w: %w", servers, event.ErrUnreachable, context.Cause(ctx))
	}
}

func (o ConnectOptions) timeout(ctx context.Context) time.Duration {
	limit := o.Timeout
	if limit <= 0 {
		limit = 5 * time.Second
	}
	if deadline, ok := ctx.Deadline(); ok {
		limit = max(min(limit, time.Until(deadline)), time.Millisecond)
	}
	return limit
}

func connectError(err error) error {
	if _, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("%w: the URL cannot be read", event.ErrConfig) // its text holds the URL
	}
	for _, config := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrNoUserCB, nats.ErrUserButNoSigCB, nats.ErrNkeysNotSupported, nats.ErrSecureConnRequired,
		nats.ErrSecureConnWanted, nats.ErrBadHeaderMsg,
	} {
		if errors.Is(err, config) {
			return fmt.Errorf("%w: %w", event.ErrConfig, err)
		}
	}
	if errors.Is(err, nats.ErrNoServers) { // what nats.go makes of a refused connection
		err = syscall.ECONNREFUSED
	}
	return fmt.Errorf("%w: %w", event.ErrUnreachable, err)
}

// defaultPort is that of nats.go; "" for a scheme it does not take.
func defaultPort(scheme string) string {
	switch scheme {
	case "nats", "tls":
		return "4222"
	case "ws":
		return "80"
	case "wss":
		return "443"
	}
	return ""
}

// Servers returns the servers of a URL list without user, password or token;
// ErrConfig when it cannot be read.
func Servers(list string) (string, error) {
	var servers []string
	for one := range strings.SplitSeq(list, ",") {
		one = strings.TrimSpace(one)
		if one == "" {
			continue
		}
		if !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil || u.Hostname() == "" {
			return "", fmt.Errorf("%w: the URL cannot be read: want nats://host:4222", event.ErrConfig)
		}
		port := cmp.Or(u.Port(), defaultPort(u.Scheme))
		if defaultPort(u.Scheme) == "" {
			return "", fmt.Errorf("%w: the URL has the scheme %q: want nats, tls, ws or wss", event.ErrConfig, u.Scheme)
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", fmt.Errorf("%w: the URL has a port that is not between 1 and 65535", event.ErrConfig) // or half a password
		}
		servers = append(servers, u.Scheme+"://"+net.JoinHostPort(u.Hostname(), port))
	}
	if len(servers) == 0 {
		return "", fmt.Errorf("%w: no URL given: want nats://host:4222", event.ErrConfig)
	}
	return strings.Join(servers, ","), nil
}

func readable(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return f.Close()
}

// checkCreds tells a bad file before the server is asked: nats.go's own error
// looks like that of a connection.
func checkCreds(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	defer clear(data)
	if token, err := nkeys.ParseDecoratedJWT(data); err != nil || token == "" {
		return fmt.Errorf("%s: no user JWT in it: want a .creds file", path)
	}
	pair, err := nkeys.ParseDecoratedUserNKey(data)
	if err != nil {
		return fmt.Errorf("%s: no user seed in it: want a .creds file", path)
	}
	pair.Wipe()
	return nil
}

// logOptions also keeps nats.go from writing to standard error by itself.
func logOptions(log *slog.Logger) []nats.Option {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return []nats.Option{
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("nats_error", "error", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("nats_disconnect", "error", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			log.Info("nats_reconnect", "server", nc.ConnectedUrlRedacted())
		}),
	}
}
