package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
)

func newMigrate(a *app) *cobra.Command {
	var dryRun bool
	up := func(cmd *cobra.Command, _ []string) error {
		if dryRun {
			return a.printMigrations(cmd.Context(), true)
		}
		opts, err := a.dbOptions()
		if err != nil {
			return err
		}
		applied, err := db.Migrate(cmd.Context(), opts, a.log)
		if err != nil {
			return err
		}
		return a.printMigrated(applied, func(m db.Migration) { a.printf("applied %s\n", m.Name) })
	}
	cmd := &cobra.Command{
		Use: "migrate", Short: "Bring the database schema to this version", Args: noArgs, RunE: up,
		Long: "Bring the database schema to this version. `run` never does it: it exits 76 when\nthe schema does not fit. Several may run at once; one works, the others wait.",
	}
	upCmd := &cobra.Command{Use: "up", Short: "Apply what is pending (the default)", Args: noArgs, RunE: up}
	status := &cobra.Command{
		Use: "status", Short: "List the migrations and when each was applied", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.printMigrations(cmd.Context(), false) },
	}
	for _, one := range []*cobra.Command{cmd, upCmd, status} {
		a.outputFlag(one, "text", "json")
		if one != status {
			one.Flags().BoolVar(&dryRun, "dry-run", false, "list what would be applied")
		}
	}
	cmd.AddCommand(upCmd, status)
	return cmd
}

// printMigrations lists the migrations, or those that are pending.
func (a *app) printMigrations(ctx context.Context, pending bool) error {
	opts, err := a.dbOptions()
	if err != nil {
		return err
	}
	list, err := db.MigrationStatus(ctx, opts)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(list, func(m db.Migration) bool { return pending && !m.AppliedAt.IsZero() })
	return a.printMigrated(list, func(m db.Migration) {
		when := "pending"
		if !m.AppliedAt.IsZero() {
			when = m.AppliedAt.Format(time.RFC3339)
		}
		a.printf("%-30s %s\n", m.Name, when)
	})
}

func (a *app) printMigrated(list []db.Migration, show func(db.Migration)) error {
	if a.json() {
		return a.printJSON(append([]db.Migration{}, list...))
	}
	for _, m := range list {
		show(m)
	}
	if len(list) == 0 {
		a.printf("nothing to do: the schema is up to date\n")
	}
	return nil
}

const day = 24 * time.Hour

func newMaintain(a *app) *cobra.Command {
	keep := db.Retention{}
	cmd := &cobra.Command{
		Use: "maintain", Short: "Make partitions ahead and give up old history", Args: noArgs,
		Long: "Make the partitions of the months ahead and give up history that is old enough.\n" +
			"A run does it by itself once a day, with the defaults. It is safe at any time, beside\n" +
			"runs and beside itself. What is in quarantine, or above a cursor, is never given up.",
		Example: "  imapsync maintain\n  imapsync maintain --keep-ledger 2160h",
		PreRunE: func(*cobra.Command, []string) error {
			return usage(zeroOr("keep-runs", keep.Runs, day), zeroOr("keep-ledger", keep.Ledger, db.MinKeepLedger))
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), func(store *db.Store) error {
				m, err := store.Maintain(cmd.Context(), time.Now().UTC(), keep)
				switch {
				case err != nil:
					return err
				case a.json():
					return a.printJSON(m)
				case m.Busy:
					a.printf("another process is at it: nothing was done\n")
					return nil
				}
				a.printf("partitions made: %s; dropped: %s\ngiven up: %d runs, %d rows of the ledger\n",
					cmp.Or(strings.Join(m.Created, ", "), "none"), cmp.Or(strings.Join(m.Dropped, ", "), "none"), m.RunRows, m.LedgerRows)
				return nil
			})
		},
	}
	cmd.Flags().DurationVar(&keep.Runs, "keep-runs", db.KeepRuns, "keep passes for this long (0: for ever)")
	cmd.Flags().DurationVar(&keep.Ledger, "keep-ledger", db.KeepLedger, "keep the ledger for this long (0: for ever)")
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// maintainWhenDue sees to maintenance once a day. That it failed is a log line
// and nothing more.
func (a *app) maintainWhenDue(ctx context.Context, store *db.Store) {
	m, err := store.MaintainWhenDue(ctx, time.Now().UTC())
	if err != nil {
		a.log.Warn("maintain_failed", "error", err.Error())
	} else if m != nil && !m.Busy {
		a.log.Info("maintained", "created", m.Created, "dropped", m.Dropped, "run_rows", m.RunRows, "ledger_rows", m.LedgerRows)
	}
}
