package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"imapsync/db"
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
		_, err = newHeartbeat(r.heartbeatURL)
	}
	// In the environment it may stand for another run.
	if r.listenHealth != "" && !f.watch.on && f.typed["listen-health"] {
		err = errors.Join(err, errors.New("--listen-health goes with --watch; for runs that end there is `imapsync exporter`"))
	}
	return err
}

// writeTextfile writes --metrics-textfile. That it failed is a log line and
// nothing more.
func (a *app) writeTextfile(ctx context.Context, r *reportFlags, store *db.Store) {
	if r.textfile == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), scrapePatience)
	defer cancel()
	o := &observer{app: a, store: store}
	if err := o.writeTextfile(ctx, r.textfile); err != nil {
		a.log.Warn("metrics_textfile_failed", "file", r.textfile, "error", err.Error())
	}
}

// beat pings --heartbeat-url. That it failed is a log line and nothing more.
func (a *app) beat(ctx context.Context, r *reportFlags, ok bool) {
	if r.heartbeatURL == "" {
		return
	}
	h, err := newHeartbeat(r.heartbeatURL)
	if err == nil {
		err = h.beat(ctx, ok)
	}
	if err != nil {
		a.log.Warn("heartbeat_failed", "error", err.Error())
	}
}

// reportEvery is how often a watching process reports.
const reportEvery = time.Minute

// keepReporting reports, and sees to maintenance, until ctx ends. A watch fails when it has not looked at
// the database for a while.
func (a *app) keepReporting(ctx context.Context, r *reportFlags, o *observer) {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.maintainWhenDue(ctx, o.store)
			a.writeTextfile(ctx, r, o.store)
			a.beat(ctx, r, time.Since(o.state().RoundAt) < reportEvery)
		}
	}
}
