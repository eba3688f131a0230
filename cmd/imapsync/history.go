package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/provider"
)

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
		return printList(a, list, "no pass brought mail or failed in that time",
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
