// Package observe tells those who watch over imapsync where it stands: Prometheus,
// node_exporter, a dead-man's switch, and what starts and restarts a process. Its
// figures are those of the database, which outlive the runs that made them.
package observe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"imapsync/db"
	mailsync "imapsync/sync"
)

// Observer answers those who watch over imapsync: Prometheus, and what starts
// and restarts a watching process.
type Observer struct {
	Store   *db.Store
	Log     *slog.Logger
	Version string
	Tenant  string
	State   func() mailsync.WatchState  // nil but in a watching process
	Ready   func(context.Context) error // why no pass can be made now; nil but in a watching process

	began time.Time
}

// patience bounds a question to Postgres.
const patience = 8 * time.Second

func (o *Observer) collect(ctx context.Context) (*Families, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	providers, err := o.Store.ListProviders(ctx, o.Tenant)
	if err != nil {
		return nil, err
	}
	list, err := Status(ctx, o.Store, providers, o.Tenant)
	if err != nil {
		return nil, err
	}
	m := Metrics(list, o.Version, time.Now())
	if o.State != nil {
		m.watch(o.State())
	}
	return m, nil
}

func (o *Observer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		m, err := o.collect(r.Context())
		if err != nil {
			o.Log.Error("scrape_failed", "error", err.Error())
			http.Error(w, "Postgres did not answer; the log has the reason", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = m.Write(w) // the scraper went away
	})
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, o.alive()) })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) { answer(w, o.ready(r.Context())) })
	return mux
}

// maxRound is how old the last look at the database may be. Postgres may be
// away for a while without a restart being of any help.
const maxRound = 5 * time.Minute

// alive tells whether a restart would help: it would if the supervisor stood
// still. Failing mailboxes, or a Postgres that is away, are no reason.
func (o *Observer) alive() error {
	if o.State == nil {
		return nil
	}
	if age := time.Since(cmp.Or(o.State().TriedAt, o.began)); age > maxRound {
		return fmt.Errorf("the supervisor loop has been stuck for %s", age.Round(time.Second))
	}
	return nil
}

// ready tells whether the process does what it is there for.
func (o *Observer) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if o.State != nil && o.State().RoundAt.IsZero() {
		return errors.New("the providers have not been looked up yet")
	}
	if err := o.Store.CheckSchema(ctx); err != nil {
		o.Log.Warn("not_ready", "error", err.Error())
		return errors.New("postgres: see the log")
	}
	if o.Ready == nil {
		return nil
	}
	if err := cmp.Or(o.State().Waits, o.Ready(ctx)); err != nil {
		o.Log.Warn("not_ready", "error", err.Error())
		return errors.New("nothing can be published: see the log")
	}
	return nil
}

func answer(w http.ResponseWriter, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	fmt.Fprintln(w, "ok")
}

// Listen opens the address to answer on.
func (o *Observer) Listen(ctx context.Context, address string) (net.Listener, error) {
	o.began = time.Now()
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err == nil {
		o.Log.Info("listen", "address", ln.Addr().String())
	}
	return ln, err
}

// Serve answers until ctx ends.
func (o *Observer) Serve(ctx context.Context, ln net.Listener) {
	srv := &http.Server{
		Handler: o.handler(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 16 << 10,
	}
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx) // the process ends; who still asks is cut off
	})
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		o.Log.Error("listen_failed", "error", err.Error())
	}
}

// Textfile writes the metrics for node_exporter, though ctx may have ended. That
// it failed is a log line and nothing more. Without a path nobody reads them.
func (o *Observer) Textfile(ctx context.Context, path string) {
	if path == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	if err := o.writeTextfile(ctx, path); err != nil {
		o.Log.Warn("metrics_textfile_failed", "file", path, "error", err.Error())
	}
}

// writeTextfile writes a file whole or not at all.
func (o *Observer) writeTextfile(ctx context.Context, path string) (err error) {
	m, err := o.collect(ctx)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".imapsync-*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the error that brought us here says more
		}
	}()
	err = m.Write(f)
	err = errors.Join(err, f.Chmod(0o644), f.Close()) // node_exporter runs as another user
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

const heartbeatPatience = 5 * time.Second

// HeartbeatURL reads the URL of a dead-man's switch, which no error shows.
func HeartbeatURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("use an http:// or https:// URL") // not shown: it is a secret
	}
	return u, nil
}

// Beat tells a dead-man's switch that a run came to its end, though ctx may have
// ended: URL when it went well, URL/fail when it did not. Its URL is a secret:
// whoever knows it can keep the switch quiet.
func Beat(ctx context.Context, raw, version string, ok bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeatPatience)
	defer cancel()
	u, err := HeartbeatURL(raw)
	if err != nil {
		return err
	}
	if !ok {
		u.Path = strings.TrimSuffix(u.Path, "/") + "/fail"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	req.Header.Set("User-Agent", "imapsync/"+version)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if ue, isURL := errors.AsType[*url.Error](err); isURL {
			err = ue.Err // without the URL
		}
		return fmt.Errorf("%s: %w", u.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: answered %s", u.Host, resp.Status)
	}
	return nil
}
