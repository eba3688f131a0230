package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/provider"
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
		if err != nil && cmd.Context().Err() != nil {
			return stopped(cmd.Context(), fmt.Sprintf("after %d migrations were applied: run it again to go on", len(applied)))
		}
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

func newMaintain(a *app) *cobra.Command {
	keep := db.Retention{}
	cmd := &cobra.Command{
		Use: "maintain", Short: "Make partitions ahead and give up old history", Args: noArgs,
		Long: "Make the partitions of the months ahead and give up history that is old enough.\n" +
			"A run does it by itself once a day, with the defaults. It is safe at any time, beside\n" +
			"runs and beside itself. What is in quarantine, or above a cursor, is never given up.",
		Example: "  imapsync maintain\n  imapsync maintain --keep-ledger 2160h",
		PreRunE: func(*cobra.Command, []string) error {
			return usage(zeroOr("keep-runs", keep.Runs, provider.Day), zeroOr("keep-ledger", keep.Ledger, db.MinKeepLedger))
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), func(store *db.Store) error {
				m, err := store.Maintain(cmd.Context(), time.Now().UTC(), keep)
				switch {
				case err != nil && cmd.Context().Err() != nil:
					return stopped(cmd.Context(), fmt.Sprintf("after %d partitions were made and %d dropped, and %d rows of the ledger given up: run it again to go on",
						len(m.Created), len(m.Dropped), m.LedgerRows))
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

func newRuns(a *app) *cobra.Command {
	var f db.RunFilter
	var since string
	cmd := a.onStore(&cobra.Command{
		Use: "runs [PROVIDER]", Short: "List the passes that brought mail or failed, the newest first",
		Example: "  imapsync runs\n  imapsync runs support --failed --since 24h\n  imapsync runs --since 30d",
		Args:    oneProviderOrAll,
		PreRunE: func(*cobra.Command, []string) (err error) {
			f.Since, err = sinceTime("since", since, time.Now())
			return usage(atLeast("limit", f.Limit, 1), err)
		},
	}, func(ctx context.Context, store *db.Store, args []string) error {
		only, err := a.only(ctx, store, strings.Join(args, ""))
		if err != nil {
			return err
		}
		f.Tenant, f.ProviderID = only.Tenant, only.ID
		list, err := store.ListRuns(ctx, f)
		if err != nil {
			return err
		}
		none := "no pass brought mail or failed in that time"
		if f.Failed {
			none = "no pass failed in that time"
		}
		return printList(a, list, none,
			"STARTED\tPROVIDER\tOUTCOME\tTOOK\tPUBLISHED\tQUARANTINED\tBYTES\tHOST\tERROR", func(r db.Run) []any {
				return []any{moment(&r.StartedAt), r.Provider, r.Outcome, r.EndedAt.Sub(r.StartedAt).Round(time.Millisecond),
					r.Published, r.Quarantined, provider.ByteSize(r.Bytes), r.Host, provider.OneLine(r.Error)}
			})
	})
	cmd.Flags().BoolVar(&f.Failed, "failed", false, "only those that failed")
	cmd.Flags().StringVar(&since, "since", "7d", "only those from then on: "+sinceForms)
	cmd.Flags().IntVar(&f.Limit, "limit", 50, "at most so many")
	return cmd
}

func newAudit(a *app) *cobra.Command {
	var named string
	var limit int
	cmd := a.onStore(&cobra.Command{
		Use: "audit", Short: "Show who did what to which mailbox, and when",
		Long: "Show who created, changed, paused, resumed, authorised, resynced or removed a mailbox, and who\n" +
			"decided about mail in the quarantine; the newest first. The actor is a user of the operating\n" +
			"system or of the web page, or imapsync itself. Of a change the fields are named, never the\n" +
			"values of secrets." + exitCodesPointer,
		Example: "  imapsync audit --limit 20\n  imapsync audit --provider support -o json",
		Args:    noArgs,
		PreRunE: func(*cobra.Command, []string) error { return usage(atLeast("limit", limit, 1)) },
	}, func(ctx context.Context, store *db.Store, _ []string) error {
		only := db.Ref{Tenant: a.tenant}
		if id, err := uuid.Parse(named); err == nil {
			only.ID = id.String() // of one that may have been removed
		} else if only, err = a.only(ctx, store, named); err != nil {
			return err
		}
		list, err := store.AuditLog(ctx, a.tenant, only.ID, limit)
		if err != nil {
			return err
		}
		providers, err := store.ListProviders(ctx, "")
		if err != nil {
			return err
		}
		names := map[string]string{}
		for _, p := range providers {
			names[p.ID] = p.Name
		}
		return printList(a, list, "nothing is on record", "TIME\tACTOR\tACTION\tPROVIDER\tDETAIL", func(e db.Audit) []any {
			var detail []string
			for _, key := range slices.Sorted(maps.Keys(e.Detail)) {
				detail = append(detail, key+"="+provider.OneLine(e.Detail[key]))
			}
			return []any{moment(&e.At), e.Actor, e.Action, cmp.Or(names[e.ProviderID], e.ProviderID, "-"), strings.Join(detail, ", ")}
		})
	})
	cmd.Flags().StringVar(&named, "provider", "", "only what was done to this mailbox: its name, or its id, also of one that was removed")
	cmd.Flags().IntVar(&limit, "limit", 50, "how many entries")
	return cmd
}
