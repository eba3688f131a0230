package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imapsync/db"
	"imapsync/internal/observe"
	"imapsync/provider"
	mailsync "imapsync/sync"
)

type runFlags struct {
	publishFlags

	providers []string
	filter    db.DueFilter
	shard     string
	failOn    string
	deadline  time.Duration
	repeat    time.Duration
	span      time.Duration // --for
	job       mailsync.Options
	maxOld    int
	typed     map[string]bool // on the command line, not from the environment

	watch                       bool
	interval, poll              time.Duration
	maxWatched                  int
	textfile, beatURL, healthAt string // who is told how it went, and where
}

func newRun(a *app) *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Read new mail of every provider that is due and publish it",
		Long: "Read new mail once, of every provider that is active, not paused and due, or of those\n" +
			"named with --provider whether due or not. A provider that failed is due again after a\n" +
			"while: --all does not wait for that. SIGTERM finishes the chunk in hand, commits it and\n" +
			"ends within 10 s, and that is a good end. Killing it any other way loses and doubles nothing.\n\n" +
			"The key, the schema, whether Postgres takes writes and whether NATS takes events are looked\n" +
			"at before the first provider; what is wrong there is charged to none of them.\n\n" + exitCodesHelp,
		Example: "  imapsync run\n  imapsync run --provider support --drain\n  imapsync run --shard 0/4 --deadline 50s\n" +
			"  imapsync run --repeat 15s --for 55s\n  imapsync run --watch",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			sick, err := a.run(ctx, f)
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				err = nil // told to stop before anything was begun
			}
			if sick != nil {
				a.log.Warn("heartbeat_fails", "error", sick.Error())
			}
			a.beat(ctx, f.beatURL, err == nil && sick == nil)
			return err
		},
	}
	f.add(cmd.Flags())
	f.typed = typedFlags(cmd)
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (f *runFlags) add(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.providers, "provider", nil, "take only this provider, by name or id (repeatable)")
	fs.BoolVar(&f.filter.All, "all", false, "take all providers, also those that failed and are left alone for a while (with --repeat: in the first round)")
	fs.StringVar(&f.filter.Tenant, "tenant", "", "take only the providers of this tenant")
	fs.BoolVar(&f.job.Drain, "drain", false, "go on until nothing is left, max_emails_per_sync at a time")
	fs.IntVar(&f.job.Workers, "workers", mailsync.DefaultWorkers, "providers at a time")
	fs.StringVar(&f.shard, "shard", "", "take part i of n of the providers, e.g. 0/4")
	fs.DurationVar(&f.deadline, "deadline", 0, "begin nothing new after this time (0: no deadline)")
	fs.DurationVar(&f.repeat, "repeat", 0, "pass again this long after the last pass began, connections kept (default: once)")
	fs.DurationVar(&f.span, "for", 0, "with --repeat: begin nothing new after this time")
	fs.BoolVar(&f.watch, "watch", false, "stay up and pass over a provider whenever mail comes")
	fs.DurationVar(&f.interval, "watch-interval", mailsync.DefaultWatchInterval, "with --watch: poll this often even if the server announces nothing")
	fs.DurationVar(&f.poll, "poll-interval", mailsync.DefaultWatchPoll, "with --watch: as above, for servers without a working IDLE")
	fs.IntVar(&f.maxWatched, "max-watched", mailsync.DefaultMaxWatched, "with --watch: providers that this process watches")
	fs.StringVar(&f.textfile, "metrics-textfile", "", "write metrics to this file at the end, for node_exporter")
	fs.StringVar(&f.beatURL, "heartbeat-url", "", "GET this URL when the run went well, URL/fail when it did not, or every provider there is fails")
	fs.StringVar(&f.healthAt, "listen-health", "", "with --watch: serve /healthz, /readyz and /metrics on this address")
	fs.StringVar(&f.failOn, "fail-on", "all", "all: exit 75 when every provider failed; any: exit 1 when one failed")
	fs.DurationVar(&f.job.HealSpan, "heal-span", mailsync.DefaultHealSpan, "publish again what the stream lost, if all of it came within this time (0: nothing)")
	fs.IntVar(&f.job.HealEvents, "heal-events", mailsync.DefaultHealEvents, "and if it is no more than this; else the run says what is missing (0: nothing)")
	f.publishFlags.add(fs)
	fs.IntVar(&f.maxOld, "max-old-mail", mailsync.DefaultMaxOldUnknown,
		"in a folder that was numbered anew: publish this much old mail that nobody knows, hold the rest")
	fs.IntVar(&f.job.MaxHeaders, "max-headers", mailsync.DefaultMaxHeaders, "headers read in a pass over a folder that is numbered anew at each visit")
	fs.Int64Var(&f.job.MaxInFlightBytes, "max-in-flight-bytes", mailsync.DefaultMaxInFlightBytes, "raw mail held in memory, all providers together")
	fs.DurationVar(&f.timeouts.Pass, "pass-timeout", 0, "one pass over a provider (0: the provider's, else 15m)")
}

func (f *runFlags) options() mailsync.Options {
	o := f.job
	if o.MaxOldUnknown = f.maxOld; f.maxOld == 0 {
		o.MaxOldUnknown = -1
	}
	o.MaxMessageBytes, o.Timeouts, o.Named = f.message, f.timeouts, len(f.providers) > 0
	if o.HealSpan == 0 || o.HealEvents == 0 {
		o.HealSpan, o.HealEvents = -1, -1
	}
	return o
}

func (f *runFlags) check() error {
	var problems []error
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if slices.Contains(f.providers, "") {
		wrong("--provider: empty: give a name or an id, or leave the flag out for all that are due")
	}
	if tenant := f.filter.Tenant; tenant != "" {
		if id, err := uuid.Parse(tenant); err != nil {
			wrong("--tenant %q: not a UUID", tenant)
		} else {
			f.filter.Tenant = id.String()
		}
	}
	if f.filter.All && (f.watch || len(f.providers) > 0) {
		wrong("--all goes with neither --provider nor --watch: those take their providers due or not")
	}
	if f.failOn != "all" && f.failOn != "any" {
		wrong("--fail-on %q: use all or any", f.failOn)
	}
	repeat, span := f.orLeftOut("repeat", f.repeat, time.Second), f.orLeftOut("for", f.span, tick)
	problems = append(problems, atLeast("max-old-mail", f.maxOld, 0), atLeast("max-headers", f.job.MaxHeaders, 2*mailsync.LeastHeaders))
	problems = append(problems, atLeast("workers", f.job.Workers, 1), atLeast("heal-span", f.job.HealSpan, 0), atLeast("heal-events", f.job.HealEvents, 0), zeroOr("deadline", f.deadline, tick), repeat, span)
	if repeat == nil && span == nil && (f.span > 0) != (f.repeat > 0) {
		wrong("--repeat and --for go together, e.g. --repeat 15s --for 55s; to stay up use --watch")
	}
	problems = append(problems, f.checkWatch()...)
	if f.beatURL != "" {
		if _, err := observe.HeartbeatURL(f.beatURL); err != nil {
			wrong("--heartbeat-url: %w", err)
		}
	}
	if f.healthAt != "" && !f.watch && f.typed["listen-health"] { // in the environment it may stand for another run
		wrong("--listen-health goes with --watch; for runs that end there is `imapsync exporter`")
	}
	problems = append(problems, f.publishFlags.check(atLeast("max-in-flight-bytes", f.job.MaxInFlightBytes, 1))...)
	problems = append(problems, zeroOr("pass-timeout", f.timeouts.Pass, provider.MinTimeout))
	if f.shard != "" {
		index, count, ok := strings.Cut(f.shard, "/")
		i, errI := strconv.Atoi(index)
		n, errN := strconv.Atoi(count)
		if !ok || errI != nil || errN != nil || n < 1 || i < 0 || i >= n {
			wrong("--shard %q: use i/n with 0 <= i < n, e.g. 0/4", f.shard)
		}
		f.filter.ShardIndex, f.filter.ShardCount = i, n
	}
	return usage(problems...)
}

// orLeftOut is atLeast for a flag that asks for something when it is given: zero
// on the command line asks for nothing.
func (f *runFlags) orLeftOut(flag string, value, least time.Duration) error {
	if value == 0 && !f.typed[flag] || value >= least {
		return nil
	}
	return fmt.Errorf("--%s %v: at least %v, or leave it out", flag, value, least)
}

// run runs. That it ended well is not all that a dead-man's switch wants to know: sick
// is why that is not to be told so.
func (a *app) run(ctx context.Context, f *runFlags) (sick, err error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	a.stays = f.watch
	err = a.withStore(ctx, func(store *db.Store) error {
		j, err := a.service(store).NewJob(ctx, f.options())
		if err != nil {
			return err
		}
		defer j.Close()
		started := time.Now()
		refs, err := a.runRefs(ctx, store, f)
		if err != nil {
			return err
		}
		if err := j.OpenPublisher(ctx, f.publishFlags.options); err != nil {
			return err
		}
		if err := j.Runner.Publisher.HasRoom(); err != nil {
			return err
		}
		a.maintainWhenDue(ctx, store)
		end := max(f.deadline, f.span) // 0: never
		if f.deadline > 0 && f.span > 0 {
			end = min(f.deadline, f.span)
		}
		work, cancel := j.Runner.StopWith(ctx, end)
		defer cancel()
		show := newRunDisplay(a)
		show.quiet = f.repeat > 0 || f.watch
		j.Runner.Log = show.log
		j.Runner.OnProgress, j.Runner.OnResult = show.progress, show.result
		var summary mailsync.Summary
		switch {
		case f.watch:
			return a.watch(work, j, f, refs, show)
		case f.repeat > 0:
			f.filter.All = false // from the second round on
			summary, err = j.Runner.Repeat(work, f.repeat, refs, func(ctx context.Context) ([]db.Ref, error) { return a.runRefs(ctx, store, f) })
		default:
			summary, err = j.Runner.Run(work, refs)
		}
		show.summary(summary, time.Since(started))
		a.observer(store).Textfile(ctx, f.textfile)
		sick = a.sick(ctx, store, f, refs)
		return runError(f, summary, err, show.lastError, ctx.Err() != nil)
	})
	return sick, err
}

// sick returns an error when every provider there is, due or not, fails: a run that
// has nothing to do because of that did not go well. Nobody asks without a heartbeat.
func (a *app) sick(ctx context.Context, store *db.Store, f *runFlags, refs []db.Ref) error {
	if f.beatURL == "" {
		return nil
	}
	if len(f.providers) == 0 {
		refs = nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeatPatience)
	defer cancel()
	failing, all, err := store.Failing(ctx, f.filter, refs)
	if err == nil && all > 0 && failing == all {
		err = fmt.Errorf("every provider fails: %d of %d", failing, all)
	}
	return err
}

// runRefs are the providers of a run: those named, or those that are due. A
// watch looks by itself for those that nobody named.
func (a *app) runRefs(ctx context.Context, store *db.Store, f *runFlags) ([]db.Ref, error) {
	if len(f.providers) == 0 {
		if f.watch {
			return nil, nil
		}
		due := f.filter
		due.Now = time.Now().UTC()
		return store.ProvidersDue(ctx, due)
	}
	named, err := findProviders(ctx, store, f.providers, f.filter.Tenant)
	if err != nil {
		return nil, err
	}
	var refs []db.Ref
	var idle []error
	for _, p := range named {
		if err := provider.Idle(p); err != nil && !f.watch {
			idle = append(idle, inWords(p, err))
			continue
		}
		refs = append(refs, p.Ref())
	}
	if len(refs) == 0 {
		return nil, &exitError{exitTempfail, errors.Join(idle...)}
	}
	for _, err := range idle {
		a.log.Warn("provider_left_out", "error", err.Error())
	}
	return refs, nil
}

// runError is how a run ends. One that was told to stop has ended well.
func runError(f *runFlags, s mailsync.Summary, err, last error, stopped bool) error {
	if bug := bugError(s, last); bug != nil {
		return bug
	}
	done := s.OK + s.Partial
	switch {
	case err != nil:
		return err
	case f.failOn == "any" && s.Failed+s.Partial > 0:
		return &exitError{exitFailed, fmt.Errorf("%d of %d providers failed", s.Failed+s.Partial, s.Providers)}
	case s.Providers == 0 || done > 0 || stopped:
		return nil
	case s.Unfinished == s.Providers && mailsync.Stopped(last):
		if s.Counts.Total() > 0 {
			return nil // the deadline came in the middle
		}
		return &exitError{exitTempfail, provider.ErrStopped}
	case s.Failed == s.Providers && s.Providers == 1:
		doctor := "imapsync doctor"
		if len(f.providers) == 1 {
			doctor += " " + shellQuote(f.providers[0])
		}
		if f.filter.Tenant != "" {
			doctor += " --tenant " + f.filter.Tenant
		}
		return &exitError{exitTempfail, fmt.Errorf("%w: `%s` says what to do", last, doctor)}
	case s.Unfinished == s.Providers:
		return &exitError{exitTempfail, last}
	case s.Failed+s.Unfinished == s.Providers:
		return &exitError{exitTempfail, fmt.Errorf("every provider failed, the last with: %w", last)}
	case s.Failed == 0 && s.Busy > 0 && len(f.providers) == 1:
		return last
	case s.Failed == 0 && s.Deferred == s.Providers:
		return &exitError{exitTempfail, provider.ErrDeferred}
	case s.Skipped == s.Providers:
		return &exitError{exitTempfail, provider.ErrStopped}
	}
	return nil
}

// bugError ends a run in which a provider met a bug; the log has each of them, as it
// is to be reported.
func bugError(s mailsync.Summary, last error) error {
	switch {
	case s.Bugs == 0:
		return nil
	case s.Bugs == 1 && s.Providers == 1 && last != nil:
		return &exitError{exitBug, last}
	}
	return &exitError{exitBug, fmt.Errorf("%d providers met a bug: each is in the log, as `bug`, with what to report", s.Bugs)}
}

// mostWatched is how many locks the table of a Postgres server has room for, by
// its defaults and with a margin: each provider takes one.
const mostWatched = 12_000

func (f *runFlags) checkWatch() []error {
	if f.watch && (f.repeat > 0 || f.job.Drain || f.deadline > 0) {
		return []error{errors.New("--watch goes with none of --repeat, --drain and --deadline")}
	}
	problems := []error{atLeast("watch-interval", f.interval, time.Second), atLeast("poll-interval", f.poll, time.Second)}
	if f.maxWatched < 1 || f.maxWatched > mostWatched {
		problems = append(problems, fmt.Errorf("--max-watched %d: 1 to %d", f.maxWatched, mostWatched))
	}
	if f.watch || errors.Join(problems...) != nil {
		return problems
	}
	for _, flag := range [...]string{"watch-interval", "poll-interval", "max-watched"} {
		if f.typed[flag] { // in the environment it may stand for another run
			problems = append(problems, fmt.Errorf("--%s: goes with --watch: add that, or leave it out", flag))
		}
	}
	return problems
}

// watchedBytes is what one connection at rest takes in memory.
const watchedBytes = 192 << 10

// watch passes over providers, those of only or all, until it is told to end.
func (a *app) watch(ctx context.Context, j *provider.Job, f *runFlags, only []db.Ref, show *runDisplay) error {
	started := time.Now()
	provider.BoundMemory(f.job.MaxInFlightBytes + int64(f.maxWatched)*watchedBytes)
	show.log.Info("watch_start", "interval_ms", f.interval.Milliseconds(), "poll_ms", f.poll.Milliseconds(), "max_watched", f.maxWatched)
	o := a.observer(j.Store)
	o.Tenant, o.State, o.Ready = f.filter.Tenant, j.Runner.WatchState, j.Runner.Ready
	if f.healthAt != "" {
		ln, err := o.Listen(ctx, f.healthAt)
		if err != nil {
			return configError("--listen-health %s: %w", f.healthAt, err)
		}
		go o.Serve(ctx, ln)
	}
	reporting, endReports := context.WithCancel(ctx)
	defer endReports()
	go a.keepReporting(reporting, f, o, only)
	summary, err := j.Runner.Watch(ctx, mailsync.WatchOptions{Filter: f.filter, Only: only,
		Interval: f.interval, Poll: f.poll, MaxAccounts: f.maxWatched})
	show.summary(summary, time.Since(started))
	if err != nil {
		return fmt.Errorf("watch: %w", err)
	}
	return bugError(summary, show.lastError)
}

// heartbeatPatience bounds what is asked before a heartbeat.
const heartbeatPatience = 10 * time.Second

// beat pings --heartbeat-url. That it failed is a log line and nothing more.
func (a *app) beat(ctx context.Context, to string, ok bool) {
	if to == "" {
		return
	}
	if err := observe.Beat(ctx, to, version(), ok); err != nil {
		a.log.Warn("heartbeat_failed", "error", err.Error())
	}
}

const reportEvery = time.Minute

// keepReporting reports, and sees to maintenance, until ctx ends.
func (a *app) keepReporting(ctx context.Context, f *runFlags, o *observe.Observer, only []db.Ref) {
	ticker := time.NewTicker(reportEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			a.maintainWhenDue(ctx, o.Store)
			o.Textfile(ctx, f.textfile)
			if f.beatURL == "" {
				continue
			}
			sick := cmp.Or(a.watchSick(ctx, o), a.sick(ctx, o.Store, f, only))
			if sick != nil {
				a.log.Warn("heartbeat_fails", "error", sick.Error())
			}
			a.beat(ctx, f.beatURL, sick == nil)
		}
	}
}

// watchSick returns why a watching process does not do what it is there for.
func (a *app) watchSick(ctx context.Context, o *observe.Observer) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatPatience)
	defer cancel()
	state := o.State()
	if age := time.Since(state.RoundAt); age > reportEvery {
		return fmt.Errorf("the database was last asked who is to be watched %s ago", age.Round(time.Second))
	}
	return cmp.Or(state.Waits, o.Ready(ctx))
}
