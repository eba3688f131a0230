package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/fault"
	"imapsync/provider"
)

func newQuarantine(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "quarantine", Short: "Messages that could not be handled", Args: noArgs, RunE: helpOnly,
		Long: "A message that fails is put aside, and the folder goes on. In state retry it is tried again\n" +
			"by itself, later and later; after 5 attempts it is dead and waits for a person." + exitCodesPointer,
	}
	cmd.AddCommand(newQuarantineList(a), newQuarantineShow(a), newQuarantineExport(a),
		newQuarantineState(a, "retry", db.QuarantineRetry, "Try a message again at the next run, with all its attempts"),
		newQuarantineState(a, "release", db.QuarantineReleased, "Publish only the headers of a message at the next run"),
		newQuarantineState(a, "discard", db.QuarantineDiscarded, "Give a message up: it counts as skipped"))
	return cmd
}

func newQuarantineList(a *app) *cobra.Command {
	var name, tenant, state, output string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List quarantined messages, the newest first", Args: noArgs,
		Example: "  imapsync quarantine list --provider support --state dead",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			f := db.QuarantineFilter{Tenant: tenant, State: state, Limit: limit}
			switch state {
			case "", db.QuarantineRetry, db.QuarantineDead, db.QuarantineReleased, db.QuarantineDiscarded:
			default:
				return usageError("--state %q: use retry, dead, released or discarded", state)
			}
			if err := usage(atLeast("limit", limit, 1)); err != nil {
				return err
			}
			store, err := a.openStore(ctx)
			if err != nil {
				return err
			}
			defer store.Close()
			if name != "" {
				p, err := findProvider(ctx, store, name, tenant)
				if err != nil {
					return err
				}
				f.Tenant, f.ProviderID = p.Tenant, p.ID
			}
			list, err := store.ListQuarantine(ctx, f)
			if err != nil {
				return err
			}
			if output == "json" {
				return a.printJSON(append([]db.Quarantine{}, list...))
			}
			if len(list) == 0 {
				a.printf("nothing is in quarantine%s\n", withState(state))
				return nil
			}
			w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "ID\tSTATE\tFOLDER\tUID\tATTEMPTS\tNEXT\tSENDER\tSUBJECT\tREASON")
			for _, q := range list {
				next := "-"
				if q.NextAttemptAt != nil {
					next = q.NextAttemptAt.UTC().Format(time.RFC3339)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", q.ID, q.State, provider.OneLine(q.Folder), q.UID, q.Attempts, next,
					provider.OneLine(q.Sender), provider.OneLine(q.Subject), q.ErrorCode)
			}
			return w.Flush()
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&name, "provider", "", "only of this provider, by name or id")
	fs.StringVar(&state, "state", "", "only in this state: retry, dead, released or discarded")
	fs.IntVar(&limit, "limit", 100, "at most so many")
	tenantFlag(cmd, &tenant)
	outputFlag(cmd, &output)
	return cmd
}

// withState says which state was asked for.
func withState(state string) string {
	if state == "" {
		return ""
	}
	return " in state " + state
}

// onMessage completes a command about one quarantined message.
func (a *app) onMessage(cmd *cobra.Command, work func(ctx context.Context, mailboxes *provider.Service, q *db.Quarantine) error) *cobra.Command {
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageError("%s takes one ID: `imapsync quarantine list` shows them", cmd.CommandPath())
		}
		if _, err := uuid.Parse(args[0]); err != nil {
			return usageError("quarantine id %q is not a UUID: `imapsync quarantine list` shows them", args[0])
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withStore(cmd.Context(), func(store *db.Store) error {
			q, err := store.FindQuarantine(cmd.Context(), uuid.MustParse(args[0]).String(), "")
			if errors.Is(err, db.ErrNotFound) {
				return usageError("%w: `imapsync quarantine list` shows what there is", err)
			}
			if err != nil {
				return err
			}
			return work(cmd.Context(), a.service(store), q)
		})
	}
	return cmd
}

func newQuarantineShow(a *app) *cobra.Command {
	var output string
	cmd := a.onMessage(&cobra.Command{Use: "show ID", Short: "Show all that is known of a quarantined message, as JSON"},
		func(_ context.Context, _ *provider.Service, q *db.Quarantine) error { return a.printJSON(q) })
	formatFlag(cmd, &output, "json")
	return cmd
}

func newQuarantineState(a *app, verb, state, short string) *cobra.Command {
	return a.onMessage(&cobra.Command{Use: verb + " ID", Short: short}, func(ctx context.Context, mailboxes *provider.Service, q *db.Quarantine) error {
		err := mailboxes.SetQuarantine(ctx, q, state, actor())
		if e, ok := fault.Of(err); ok && e.Code == "message_renumbered" {
			return usageError("%w: %s", err, find(nil, err).Say)
		}
		if err == nil {
			a.notef("%s: %s", q.ID, state)
		}
		return err
	})
}

func newQuarantineExport(a *app) *cobra.Command {
	return a.onMessage(&cobra.Command{
		Use: "export ID", Short: "Write the raw mail to standard output",
		Long: "Write the raw mail to standard output: from the object store when it was kept there, else\n" +
			"from the mail server." + exitCodesPointer,
		Example: "  imapsync quarantine export 7f3c… > poison.eml",
	}, func(ctx context.Context, mailboxes *provider.Service, q *db.Quarantine) error {
		r, err := mailboxes.OpenRaw(ctx, q)
		if _, ok := errors.AsType[*provider.ReadError](err); ok {
			return &exitError{exitTempfail, err}
		}
		return a.copyOut(r, err)
	})
}

// writeBlob streams a blob.
func (a *app) writeBlob(ctx context.Context, key string) error {
	r, err := a.service(nil).OpenBlob(ctx, key)
	if errors.Is(err, event.ErrBlob) {
		err = usageError("%w: KEY is blob.key of an event, whole", err)
	}
	return a.copyOut(r, err)
}

// copyOut writes what could be opened to standard output.
func (a *app) copyOut(r io.ReadCloser, err error) error {
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(a.stdout, r); err != nil {
		return &exitError{exitFailed, err}
	}
	return nil
}
