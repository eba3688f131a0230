package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	mailsync "imapsync/sync"
)

// bound gives the commands that talk to servers a bound as a whole, --timeout: what
// each step may take is bounded, and the steps may be many.
func (a *app) bound(root *cobra.Command) {
	for _, b := range []struct {
		most     time.Duration
		commands [][]string
	}{
		{24 * time.Hour, [][]string{{"backfill"}}},
		{time.Hour, [][]string{{"reconcile"}, {"verify"}, {"quarantine", "export"}}},
		{15 * time.Minute, [][]string{{"doctor"}, {"provider", "test"}, {"provider", "folders"}}},
	} {
		for _, path := range b.commands {
			if cmd, _, err := root.Find(path); err == nil {
				endAfter(cmd, b.most)
			}
		}
	}
}

// endAfter ends a command after --timeout: what it was not asked to break off in the
// middle is finished first, and it says where it stopped.
func endAfter(cmd *cobra.Command, most time.Duration) {
	var limit time.Duration
	cmd.Flags().DurationVar(&limit, "timeout", most, "stop after this time, say how far it came and exit 75 (0: no bound)")
	run := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := usage(zeroOr("timeout", limit, time.Second)); err != nil {
			return err
		}
		if limit == 0 {
			return run(cmd, args)
		}
		over := fmt.Errorf("%w: --timeout %s is over", mailsync.ErrStopped, limit)
		ctx, cancel := context.WithTimeoutCause(cmd.Context(), limit, over)
		defer cancel()
		cmd.SetContext(ctx)
		err := run(cmd, args)
		if _, told := errors.AsType[*exitError](err); err == nil || told || !errors.Is(context.Cause(ctx), mailsync.ErrStopped) {
			return err
		}
		if !errors.Is(err, mailsync.ErrStopped) {
			err = fmt.Errorf("%w: %w", over, err)
		}
		return &exitError{exitTempfail, err}
	}
}
