package main

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
)

const day = 24 * time.Hour

// How long history is kept unless it is said otherwise. The stream forgets an
// event after 14 days, and then the ledger alone tells that unread mail of a
// folder that was numbered anew has been published: hence a year.
const (
	keepRuns   = 90 * day
	keepLedger = 365 * day
	// minKeepLedger is the age of the stream and a margin.
	minKeepLedger = 30 * day
)

func newMaintain(a *app) *cobra.Command {
	keep := db.Retention{}
	var output string
	cmd := &cobra.Command{
		Use: "maintain", Short: "Make partitions ahead and give up old history", Args: noArgs,
		Long: "Make the partitions of the months ahead and give up history that is old enough.\n" +
			"A run does it by itself once a day, with the defaults. It is safe at any time, beside\n" +
			"runs and beside itself. What is in quarantine, or above a cursor, is never given up.",
		Example: "  imapsync maintain\n  imapsync maintain --keep-ledger 2160h",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := usage(zeroOr("keep-runs", keep.Runs, day), zeroOr("keep-ledger", keep.Ledger, minKeepLedger)); err != nil {
				return err
			}
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			m, err := store.Maintain(cmd.Context(), time.Now().UTC(), keep)
			if err != nil {
				return err
			}
			if output == "json" {
				return a.printJSON(m)
			}
			if m.Busy {
				a.printf("another process is at it: nothing was done\n")
				return nil
			}
			a.printf("partitions made: %s; dropped: %s\ngiven up: %d runs, %d rows of the ledger\n",
				names(m.Created), names(m.Dropped), m.RunRows, m.LedgerRows)
			return nil
		},
	}
	cmd.Flags().DurationVar(&keep.Runs, "keep-runs", keepRuns, "keep passes for this long (0: for ever)")
	cmd.Flags().DurationVar(&keep.Ledger, "keep-ledger", keepLedger, "keep the ledger for this long (0: for ever)")
	outputFlag(cmd, &output)
	return cmd
}

func names(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// maintainWhenDue sees to maintenance once a day. That it failed is a log line
// and nothing more.
func (a *app) maintainWhenDue(ctx context.Context, store *db.Store) {
	now := time.Now().UTC()
	due, err := store.MaintenanceDue(ctx, now.Add(-day))
	if err == nil && due {
		var m db.Maintenance
		if m, err = store.Maintain(ctx, now, db.Retention{Runs: keepRuns, Ledger: keepLedger}); err == nil && !m.Busy {
			a.log.Info("maintained", "created", m.Created, "dropped", m.Dropped, "run_rows", m.RunRows, "ledger_rows", m.LedgerRows)
		}
	}
	if err != nil {
		a.log.Warn("maintain_failed", "error", err.Error())
	}
}
