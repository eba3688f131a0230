package main

import (
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
	"imapsync/provider"
	mailsync "imapsync/sync"
)

// runFlags are the flags of `imapsync run`.
type runFlags struct {
	providers []string
	tenant    string
	shard     string
	failOn    string
	deadline  time.Duration
	repeat    time.Duration
	span      time.Duration // --for
	watch     watchFlags
	report    reportFlags
	output    string
	options   mailsync.Options
	publish   publishFlags
	timeouts  timeoutFlags
	typed     map[string]bool // on the command line, not from the environment
}

func newRun(a *app) *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Read new mail of every provider that is due and publish it",
		Long: "Read new mail once, of every provider that is active, not paused and due, or of those\n" +
			"named with --provider whether due or not. SIGTERM finishes the chunk in hand, commits it\n" +
			"and ends within 10 s. Killing it any other way loses and doubles nothing.\n\n" + exitCodesHelp,
		Example: "  imapsync run\n  imapsync run --provider support --drain\n  imapsync run --shard 0/4 --deadline 50s\n" +
			"  imapsync run --repeat 15s --for 55s\n  imapsync run --watch",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := a.run(cmd.Context(), f)
			a.beat(cmd.Context(), &f.report, err == nil)
			return err
		},
	}
	f.add(cmd.Flags())
	f.typed = typedFlags(cmd)
	outputFlag(cmd, &f.output)
	return cmd
}

// add makes the flags.
func (f *runFlags) add(fs *pflag.FlagSet) {
	fs.StringSliceVar(&f.providers, "provider", nil, "take only this provider, by name or id (repeatable)")
	fs.StringVar(&f.tenant, "tenant", "", "take only the providers of this tenant")
	fs.BoolVar(&f.options.Drain, "drain", false, "go on until nothing is left, max_emails_per_sync at a time")
	fs.IntVar(&f.options.Workers, "workers", mailsync.DefaultWorkers, "providers at a time")
	fs.StringVar(&f.shard, "shard", "", "take part i of n of the providers, e.g. 0/4")
	fs.DurationVar(&f.deadline, "deadline", 0, "begin nothing new after this time (0: no deadline)")
	fs.DurationVar(&f.repeat, "repeat", 0, "pass again this long after the last pass began, connections kept (default: once)")
	fs.DurationVar(&f.span, "for", 0, "with --repeat: begin nothing new after this time")
	f.watch.add(fs)
	f.report.add(fs)
	fs.StringVar(&f.failOn, "fail-on", "all", "all: exit 75 when every provider failed; any: exit 1 when one failed")
	f.publish.add(fs)
	fs.Int64Var(&f.options.MaxInFlightBytes, "max-in-flight-bytes", mailsync.DefaultMaxInFlightBytes, "raw mail held in memory, all providers together")
	f.timeouts.add(fs)
	fs.DurationVar(&f.timeouts.Pass, "pass-timeout", 0, "one pass over a provider (0: the provider's, else 15m)")
}

func (f *runFlags) check() (shardIndex, shardCount int, err error) {
	var problems []error
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	if slices.Contains(f.providers, "") {
		wrong("--provider: empty: give a name or an id, or leave the flag out for all that are due")
	}
	if f.tenant != "" {
		if id, err := uuid.Parse(f.tenant); err != nil {
			wrong("--tenant %q: not a UUID", f.tenant)
		} else {
			f.tenant = id.String()
		}
	}
	if f.failOn != "all" && f.failOn != "any" {
		wrong("--fail-on %q: use all or any", f.failOn)
	}
	repeat, span := f.orLeftOut("repeat", f.repeat, time.Second), f.orLeftOut("for", f.span, tick)
	problems = append(problems, atLeast("workers", f.options.Workers, 1), zeroOr("deadline", f.deadline, tick), repeat, span)
	if repeat == nil && span == nil && (f.span > 0) != (f.repeat > 0) {
		wrong("--repeat and --for go together, e.g. --repeat 15s --for 55s; to stay up use --watch")
	}
	problems = append(problems, f.watch.check(f), f.report.check(f))
	problems = append(problems, f.publish.check()...)
	problems = append(problems, atLeast("max-in-flight-bytes", f.options.MaxInFlightBytes, 1))
	problems = append(append(problems, f.timeouts.check()...), zeroOr("pass-timeout", f.timeouts.Pass, provider.MinTimeout))
	if f.shard != "" {
		index, count, ok := strings.Cut(f.shard, "/")
		i, errI := strconv.Atoi(index)
		n, errN := strconv.Atoi(count)
		if !ok || errI != nil || errN != nil || n < 1 || i < 0 || i >= n {
			wrong("--shard %q: use i/n with 0 <= i < n, e.g. 0/4", f.shard)
		}
		shardIndex, shardCount = i, n
	}
	return shardIndex, shardCount, usage(problems...)
}

// orLeftOut is atLeast for a flag that asks for something when it is given: zero
// on the command line asks for nothing.
func (f *runFlags) orLeftOut(flag string, value, least time.Duration) error {
	if value == 0 && !f.typed[flag] || value >= least {
		return nil
	}
	return fmt.Errorf("--%s %v: at least %v, or leave it out", flag, value, least)
}

func (a *app) run(ctx context.Context, f *runFlags) error {
	shardIndex, shardCount, err := f.check()
	if err != nil {
		return err
	}
	a.stays = f.watch.on
	f.options.MaxMessageBytes, f.options.Timeouts = f.publish.message, f.timeouts.Timeouts
	return a.withStore(ctx, func(store *db.Store) error {
		j, err := a.newJob(ctx, store, f.options)
		if err != nil {
			return err
		}
		defer j.Close()
		return a.runJob(ctx, j, f, shardIndex, shardCount)
	})
}

func (a *app) runJob(ctx context.Context, j *provider.Job, f *runFlags, shardIndex, shardCount int) error {
	started := time.Now()
	a.maintainWhenDue(ctx, j.Store)
	if f.watch.on {
		return a.watch(ctx, j, f, shardIndex, shardCount)
	}
	refs, err := a.runRefs(ctx, j.Store, f, shardIndex, shardCount)
	if err != nil {
		return err
	}
	if err := j.OpenPublisher(ctx, f.publish.options()); err != nil {
		return err
	}

	work, cancel := j.Runner.StopWith(ctx, f.end())
	defer cancel()
	show := newRunDisplay(a, f.output)
	show.quiet = f.repeat > 0
	j.Runner.Log = show.log
	j.Runner.OnProgress, j.Runner.OnResult = show.progress, show.result
	var summary mailsync.Summary
	if f.repeat > 0 {
		summary, err = j.Runner.Repeat(work, f.repeat, refs, func(ctx context.Context) ([]db.Ref, error) {
			return a.runRefs(ctx, j.Store, f, shardIndex, shardCount)
		})
	} else {
		summary, err = j.Runner.Run(work, refs)
	}
	show.summary(summary, time.Since(started))
	a.writeTextfile(ctx, &f.report, j.Store)
	return runError(f, summary, err, show.lastError)
}

// end is when nothing new is begun any more, 0 for never.
func (f *runFlags) end() time.Duration {
	if f.deadline > 0 && f.span > 0 {
		return min(f.deadline, f.span)
	}
	return max(f.deadline, f.span)
}

// runRefs are the providers of a run: those named, or those that are due.
func (a *app) runRefs(ctx context.Context, store *db.Store, f *runFlags, shardIndex, shardCount int) ([]db.Ref, error) {
	if len(f.providers) == 0 {
		return store.ProvidersDue(ctx, db.DueFilter{Tenant: f.tenant, Now: time.Now().UTC(), ShardIndex: shardIndex, ShardCount: shardCount})
	}
	var refs []db.Ref
	var idle []error
	for _, name := range f.providers {
		p, err := findProvider(ctx, store, name, f.tenant)
		if err != nil {
			return nil, err
		}
		if err := provider.Idle(p); err != nil {
			idle = append(idle, inWords(p, err))
			continue
		}
		refs = append(refs, ref(p))
	}
	if len(refs) == 0 {
		return nil, &exitError{exitTempfail, errors.Join(idle...)}
	}
	for _, err := range idle {
		a.log.Warn("provider_left_out", "error", err.Error())
	}
	return refs, nil
}

// resultError is why a pass did not do what it was to do; nil when it did, or
// was put off.
func resultError(res mailsync.Result) error {
	switch {
	case res.Busy:
		return provider.Busy(res.Provider)
	case res.Deferred != "":
		return nil
	}
	return inWords(res.Provider, res.Err)
}

// runError decides how the run as a whole ended.
func runError(f *runFlags, s mailsync.Summary, err, last error) error {
	done := s.OK + s.Partial
	switch {
	case err != nil:
		return err
	case f.failOn == "any" && s.Failed+s.Partial > 0:
		return &exitError{exitFailed, fmt.Errorf("%d of %d providers failed", s.Failed+s.Partial, s.Providers)}
	case s.Providers == 0 || done > 0:
		return nil
	case s.Failed == s.Providers && s.Providers == 1:
		doctor := "imapsync doctor"
		if len(f.providers) == 1 {
			doctor += " " + shellQuote(f.providers[0])
		}
		return &exitError{exitTempfail, fmt.Errorf("%w: `%s` says what to do", last, doctor)}
	case s.Failed == s.Providers:
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
