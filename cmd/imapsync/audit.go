package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/provider"
)

func newAudit(a *app) *cobra.Command {
	var provider, tenant, output string
	var limit int
	cmd := &cobra.Command{
		Use: "audit", Short: "Show who did what to which mailbox, and when",
		Long: "Show who created, changed, paused, resumed, authorised, resynced or removed a mailbox, and who\n" +
			"decided about mail in the quarantine; the newest first. The actor is a user of the operating\n" +
			"system or of the web page, or imapsync itself. Of a change the fields are named, never the\n" +
			"values of secrets." + exitCodesPointer,
		Example: "  imapsync audit --limit 20\n  imapsync audit --provider support -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if err := usage(atLeast("limit", limit, 1)); err != nil {
				return err
			}
			return a.withStore(ctx, func(store *db.Store) error {
				id, err := auditedProvider(ctx, store, provider, tenant)
				if err != nil {
					return err
				}
				list, err := store.AuditLog(ctx, tenant, id, limit)
				if err != nil {
					return err
				}
				if output == "json" {
					return a.printJSON(append([]db.Audit{}, list...))
				}
				if len(list) == 0 {
					a.printf("nothing is on record\n")
					return nil
				}
				return a.printAudit(ctx, store, list)
			})
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&provider, "provider", "", "only what was done to this mailbox: its name, or its id, also of one that was removed")
	fs.IntVar(&limit, "limit", 50, "how many entries")
	tenantFlag(cmd, &tenant)
	outputFlag(cmd, &output)
	return cmd
}

// auditedProvider finds the id of a provider, which may have been removed.
func auditedProvider(ctx context.Context, store *db.Store, nameOrID, tenant string) (string, error) {
	if id, err := uuid.Parse(nameOrID); err == nil || nameOrID == "" {
		if nameOrID == "" {
			return "", nil
		}
		return id.String(), nil
	}
	p, err := findProvider(ctx, store, nameOrID, tenant)
	if err != nil {
		return "", err
	}
	return p.ID, nil
}

func (a *app) printAudit(ctx context.Context, store *db.Store, list []db.Audit) error {
	providers, err := store.ListProviders(ctx, "")
	if err != nil {
		return err
	}
	names := map[string]string{}
	for _, p := range providers {
		names[p.ID] = p.Name
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIME\tACTOR\tACTION\tPROVIDER\tDETAIL")
	for _, e := range list {
		var detail []string
		for _, key := range slices.Sorted(maps.Keys(e.Detail)) {
			detail = append(detail, key+"="+provider.OneLine(e.Detail[key]))
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", e.At.UTC().Format(time.RFC3339), e.Actor, e.Action,
			cmp.Or(names[e.ProviderID], e.ProviderID, "-"), strings.Join(detail, ", "))
	}
	w.Flush()
	return nil
}
