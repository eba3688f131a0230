package main

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestEndAfter: a command that does not come to an end is stopped, says so and exits
// 75, whatever it makes of that; one that is done or failed by itself is not touched.
func TestEndAfter(t *testing.T) {
	waits := func(ctx context.Context) error { <-ctx.Done(); return fmt.Errorf("folder 7 of 9: %w", ctx.Err()) }
	for name, c := range map[string]struct {
		timeout string
		run     func(ctx context.Context) error
		code    int
		says    string
	}{
		"hangs":       {"1s", waits, exitTempfail, "folder 7 of 9"},
		"says itself": {"1s", func(ctx context.Context) error { <-ctx.Done(); return stopped(ctx, "after 3 of 9 folders") }, exitTempfail, "after 3 of 9 folders"},
		"done":        {"1h", func(context.Context) error { return nil }, exitOK, ""},
		"failed":      {"1h", func(context.Context) error { return usageError("no such thing") }, exitUsage, "no such thing"},
		"too little":  {"1ms", waits, exitUsage, "--timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := &cobra.Command{Use: "x", RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) }, SilenceErrors: true, SilenceUsage: true}
			endAfter(cmd, 0)
			cmd.SetArgs([]string{"--timeout", c.timeout})
			err := cmd.ExecuteContext(t.Context())
			code := exitOK
			if err != nil {
				code = exitCode(err)
			}
			if code != c.code || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("exit code %d, %v; want %d and %q", code, err, c.code, c.says)
			}
		})
	}
}

// TestCommandsThatTalkToServersHaveABound: each has --timeout, and a default of it.
func TestCommandsThatTalkToServersHaveABound(t *testing.T) {
	root := newRoot(&app{})
	for _, path := range []string{"backfill", "reconcile", "verify", "doctor", "provider test", "provider folders", "quarantine export"} {
		cmd, _, err := root.Find(strings.Fields(path))
		if err != nil || cmd.Flags().Lookup("timeout") == nil || cmd.Flags().Lookup("timeout").DefValue == "0s" {
			t.Errorf("%s has no bound (%v)", path, err)
		}
	}
}
