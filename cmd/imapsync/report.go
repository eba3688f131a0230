package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imapsync/db"
	"imapsync/internal/observe"
)

// reportFlags say who is told how a run went.
type reportFlags struct {
	textfile     string
	heartbeatURL string
	listenHealth string
}

func (r *reportFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&r.textfile, "metrics-textfile", "", "write metrics to this file at the end, for node_exporter")
	fs.StringVar(&r.heartbeatURL, "heartbeat-url", "", "GET this URL when the run went well, URL/fail when it did not")
	fs.StringVar(&r.listenHealth, "listen-health", "", "with --watch: serve /healthz, /readyz and /metrics on this address")
}

func (r *reportFlags) check(f *runFlags) error {
	var err error
	if r.heartbeatURL != "" {
		if _, err = observe.NewHeartbeat(r.heartbeatURL, version()); err != nil {
			err = fmt.Errorf("--heartbeat-url: %w", err)
		}
	}
	// In the environment it may stand for another run.
	if r.listenHealth != "" && !f.watch.on && f.typed["listen-health"] {
		err = errors.Join(err, errors.New("--listen-health goes with --watch; for runs that end there is `imapsync exporter`"))
	}
	return err
}

// observer tells those who watch where things stand.
func (a *app) observer(store *db.Store) *observe.Observer {
	return &observe.Observer{Store: store, Log: a.log, Version: version()}
}

// writeTextfile writes --metrics-textfile.
func (a *app) writeTextfile(ctx context.Context, r *reportFlags, store *db.Store) {
	if r.textfile != "" {
		a.observer(store).Textfile(ctx, r.textfile)
	}
}

// beat pings --heartbeat-url. That it failed is a log line and nothing more.
func (a *app) beat(ctx context.Context, r *reportFlags, ok bool) {
	if r.heartbeatURL == "" {
		return
	}
	h, err := observe.NewHeartbeat(r.heartbeatURL, version())
	if err == nil {
		err = h.Beat(ctx, ok)
	}
	if err != nil {
		a.log.Warn("heartbeat_failed", "error", err.Error())
	}
}

// reportEvery is how often a watching process reports.
const reportEvery = time.Minute

// keepReporting reports, and sees to maintenance, until ctx ends. A watch fails when it has not looked at
// the database for a while.
func (a *app) keepReporting(ctx context.Context, r *reportFlags, o *observe.Observer) {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.maintainWhenDue(ctx, o.Store)
			a.writeTextfile(ctx, r, o.Store)
			a.beat(ctx, r, time.Since(o.State().RoundAt) < reportEvery)
		}
	}
}

func newExporter(a *app) *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use: "exporter", Short: "Serve metrics for Prometheus, read from Postgres", Args: noArgs,
		Long: "Serve metrics for Prometheus on /metrics, read from Postgres at every scrape: they\n" +
			"outlive the runs that made them. It has no authentication and shows mailbox\n" +
			"addresses: leave it on a private address.",
		Example: "  imapsync exporter --listen 127.0.0.1:9464",
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.stays = true
			return a.withStore(cmd.Context(), func(store *db.Store) error {
				o := a.observer(store)
				o.Tenant = a.tenant
				ln, err := o.Listen(cmd.Context(), listen)
				if err != nil {
					return configError("--listen %s: %w", listen, err)
				}
				o.Serve(cmd.Context(), ln)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9464", "address to listen on")
	a.tenantFlag(cmd)
	return cmd
}
