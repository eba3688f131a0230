package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/provider"
)

func newRuns(a *app) *cobra.Command {
	var f db.RunFilter
	var since, output string
	cmd := &cobra.Command{
		Use: "runs [PROVIDER]", Short: "List the passes that brought mail or failed, the newest first",
		Example: "  imapsync runs\n  imapsync runs support --failed --since 24h\n  imapsync runs --since 30d",
		Args:    oneProviderOrAll,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			var err error
			f.Since, err = sinceTime("since", since, time.Now())
			if err := usage(atLeast("limit", f.Limit, 1), err); err != nil {
				return err
			}
			return a.withStore(ctx, func(store *db.Store) error {
				if len(args) == 1 {
					p, err := findProvider(ctx, store, args[0], f.Tenant)
					if err != nil {
						return err
					}
					f.Tenant, f.ProviderID = p.Tenant, p.ID
				}
				list, err := store.ListRuns(ctx, f)
				if err != nil {
					return err
				}
				if output == "json" {
					return a.printJSON(append([]db.Run{}, list...))
				}
				return a.printRuns(list)
			})
		},
	}
	tenantFlag(cmd, &f.Tenant)
	cmd.Flags().BoolVar(&f.Failed, "failed", false, "only those that failed")
	cmd.Flags().StringVar(&since, "since", "7d", "only those from then on: "+sinceForms)
	cmd.Flags().IntVar(&f.Limit, "limit", 50, "at most so many")
	outputFlag(cmd, &output)
	return cmd
}

func (a *app) printRuns(list []db.Run) error {
	if len(list) == 0 {
		a.printf("no pass brought mail or failed in that time\n")
		return nil
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "STARTED\tPROVIDER\tOUTCOME\tTOOK\tPUBLISHED\tQUARANTINED\tBYTES\tHOST\tERROR")
	for _, r := range list {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\n", r.StartedAt.UTC().Format(time.RFC3339), r.Provider, r.Outcome,
			r.EndedAt.Sub(r.StartedAt).Round(time.Millisecond), r.Published, r.Quarantined, provider.ByteSize(r.Bytes), r.Host, provider.OneLine(r.Error))
	}
	return w.Flush()
}
