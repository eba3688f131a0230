package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
	mailsync "imapsync/sync"
)

func newExporter(a *app) *cobra.Command {
	var listen, tenant string
	cmd := &cobra.Command{
		Use: "exporter", Short: "Serve metrics for Prometheus, read from Postgres", Args: noArgs,
		Long: "Serve metrics for Prometheus on /metrics, read from Postgres at every scrape: they\n" +
			"outlive the runs that made them. It has no authentication and shows mailbox\n" +
			"addresses: leave it on a private address.",
		Example: "  imapsync exporter --listen 127.0.0.1:9464",
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.stays = true
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			s := &observer{app: a, store: store, tenant: tenant}
			ln, err := s.listen(cmd.Context(), "listen", listen)
			if err != nil {
				return err
			}
			s.serve(cmd.Context(), ln)
			return nil
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9464", "address to listen on")
	tenantFlag(cmd, &tenant)
	return cmd
}

// observer answers those who watch over imapsync: Prometheus, and what starts
// and restarts a watching process.
type observer struct {
	app    *app
	store  *db.Store
	tenant string
	state  func() mailsync.WatchState // nil but in a watching process
	began  time.Time
}

// scrapePatience bounds a question to Postgres.
const scrapePatience = 8 * time.Second

func (o *observer) collect(ctx context.Context) (*metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, scrapePatience)
	defer cancel()
	list, err := statusOf(ctx, o.store, nil, o.tenant)
	if err != nil {
		return nil, err
	}
	m := metricsOf(list, time.Now())
	if o.state != nil {
		m.watch(o.state())
	}
	return m, nil
}

func (o *observer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		m, err := o.collect(r.Context())
		if err != nil {
			o.app.log.Error("scrape_failed", "error", err.Error())
			http.Error(w, "Postgres did not answer; the log has the reason", http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
		_ = writeMetrics(w, m) // the scraper went away
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
func (o *observer) alive() error {
	if o.state == nil {
		return nil
	}
	last := o.state().TriedAt
	if last.IsZero() {
		last = o.began
	}
	if age := time.Since(last); age > maxRound {
		return fmt.Errorf("the supervisor loop has been stuck for %s", age.Round(time.Second))
	}
	return nil
}

// ready tells whether the process does what it is there for.
func (o *observer) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, scrapePatience)
	defer cancel()
	if o.state != nil && o.state().RoundAt.IsZero() {
		return errors.New("the providers have not been looked up yet")
	}
	if err := o.store.CheckSchema(ctx); err != nil {
		o.app.log.Warn("not_ready", "error", err.Error())
		return errors.New("postgres: see the log")
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

// listen opens the address to answer on, which a flag gave.
func (o *observer) listen(ctx context.Context, flag, address string) (net.Listener, error) {
	o.began = time.Now()
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, configError("--%s %s: %w", flag, address, err)
	}
	o.app.log.Info("listen", "address", ln.Addr().String())
	return ln, nil
}

// serve answers until ctx ends.
func (o *observer) serve(ctx context.Context, ln net.Listener) {
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
		o.app.log.Error("listen_failed", "error", err.Error())
	}
}

// writeTextfile writes the metrics for node_exporter, whole or not at all.
func (o *observer) writeTextfile(ctx context.Context, path string) (err error) {
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
	err = writeMetrics(f, m)
	err = errors.Join(err, f.Chmod(0o644), f.Close()) // node_exporter runs as another user
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
