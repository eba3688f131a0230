package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"imapsync/db"
	"imapsync/provider"
	mailsync "imapsync/sync"
)

// watchFlags are those of `imapsync run --watch`.
type watchFlags struct {
	on       bool
	interval time.Duration
	poll     time.Duration
	max      int
}

func (w *watchFlags) add(fs *pflag.FlagSet) {
	fs.BoolVar(&w.on, "watch", false, "stay up and pass over a provider whenever mail comes")
	fs.DurationVar(&w.interval, "watch-interval", mailsync.DefaultWatchInterval, "with --watch: poll this often even if the server announces nothing")
	fs.DurationVar(&w.poll, "poll-interval", mailsync.DefaultWatchPoll, "with --watch: as above, for servers without a working IDLE")
	fs.IntVar(&w.max, "max-watched", mailsync.DefaultMaxWatched, "with --watch: providers that this process watches")
}

// maxWatched is how many locks the table of a Postgres server has room for, by
// its defaults and with a margin: each provider takes one.
const maxWatched = 12_000

func (w *watchFlags) check(f *runFlags) error {
	if w.on && (f.repeat > 0 || f.options.Drain || f.deadline > 0) {
		return errors.New("--watch goes with none of --repeat, --drain and --deadline")
	}
	err := errors.Join(atLeast("watch-interval", w.interval, time.Second), atLeast("poll-interval", w.poll, time.Second),
		within("max-watched", w.max, 1, maxWatched))
	if err != nil || w.on {
		return err
	}
	// In the environment they may stand for another run.
	for _, flag := range [...]string{"watch-interval", "poll-interval", "max-watched"} {
		if f.typed[flag] {
			err = errors.Join(err, fmt.Errorf("--%s: goes with --watch: add that, or leave it out", flag))
		}
	}
	return err
}

// watchedBytes is what one connection at rest takes in memory.
const watchedBytes = 192 << 10

// watch runs `imapsync run --watch` until it is told to end.
func (a *app) watch(ctx context.Context, j *provider.Job, f *runFlags, shardIndex, shardCount int) error {
	started := time.Now()
	opts := mailsync.WatchOptions{
		Filter:   db.DueFilter{Tenant: f.tenant, ShardIndex: shardIndex, ShardCount: shardCount},
		Interval: f.watch.interval, Poll: f.watch.poll, MaxAccounts: f.watch.max,
	}
	for _, name := range f.providers {
		p, err := findProvider(ctx, j.Store, name, f.tenant)
		if err != nil {
			return err
		}
		opts.Only = append(opts.Only, db.Ref{Tenant: p.Tenant, ID: p.ID})
	}
	boundMemory(cmp.Or(f.options.MaxInFlightBytes, mailsync.DefaultMaxInFlightBytes) + int64(f.watch.max)*watchedBytes)
	if err := j.OpenPublisher(ctx, f.publish.options()); err != nil {
		return err
	}
	work, cancel := j.Runner.StopWith(ctx, 0)
	defer cancel()
	show := newRunDisplay(a, f.output)
	show.quiet = true
	j.Runner.Log = show.log
	j.Runner.OnProgress, j.Runner.OnResult = show.progress, show.result
	show.log.Info("watch_start", "interval_ms", opts.Interval.Milliseconds(), "poll_ms", opts.Poll.Milliseconds(), "max_watched", opts.MaxAccounts)
	o := a.observer(j.Store)
	o.Tenant, o.State = f.tenant, j.Runner.WatchState
	if f.report.listenHealth != "" {
		ln, err := o.Listen(ctx, f.report.listenHealth)
		if err != nil {
			return configError("--listen-health %s: %w", f.report.listenHealth, err)
		}
		go o.Serve(work, ln)
	}
	reporting, endReports := context.WithCancel(work)
	defer endReports()
	go a.keepReporting(reporting, &f.report, o)
	summary, err := j.Runner.Watch(work, opts)
	show.summary(summary, time.Since(started))
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	return nil
}
