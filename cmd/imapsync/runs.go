package main

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
)

func newRuns(a *app) *cobra.Command {
	var f db.RunFilter
	var since time.Duration
	var output string
	cmd := &cobra.Command{
		Use: "runs [PROVIDER]", Short: "List the passes that brought mail or failed, the newest first",
		Example: "  imapsync runs\n  imapsync runs support --failed --since 24h",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError("runs takes at most one PROVIDER, got %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.Limit < 1 || since <= 0 {
				return usageError("--limit and --since: above 0")
			}
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			if len(args) == 1 {
				p, err := store.FindProvider(cmd.Context(), args[0], f.Tenant)
				if err != nil {
					return findError(err)
				}
				f.Tenant, f.ProviderID = p.Tenant, p.ID
			}
			f.Since = time.Now().UTC().Add(-since)
			list, err := store.ListRuns(cmd.Context(), f)
			if err != nil {
				return err
			}
			if output == "json" {
				return a.printJSON(list)
			}
			return a.printRuns(list)
		},
	}
	cmd.Flags().StringVar(&f.Tenant, "tenant", "", "only of this tenant")
	cmd.Flags().BoolVar(&f.Failed, "failed", false, "only those that failed")
	cmd.Flags().DurationVar(&since, "since", 7*day, "only those of this time")
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
			r.EndedAt.Sub(r.StartedAt).Round(time.Millisecond), r.Published, r.Quarantined, byteSize(r.Bytes), r.Host, oneLine(r.Error))
	}
	return w.Flush()
}
