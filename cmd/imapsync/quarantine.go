package main

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/provider"
)

func newQuarantine(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use: "quarantine", Short: "Messages that could not be handled",
		Long: "A message that fails is put aside, and the folder goes on. In state retry it is tried again\n" +
			"by itself, later and later; after 5 failures of its own it goes out by its headers, is dead\n" +
			"and waits for a person." + exitCodesPointer,
	}, newQuarantineList(a), newQuarantineShow(a), newQuarantineExport(a),
		newQuarantineState(a, "retry", db.QuarantineRetry, "Try a message again at the next run, with all its attempts"),
		newQuarantineState(a, "release", db.QuarantineReleased, "Publish only the headers of a message at the next run"),
		newQuarantineState(a, "discard", db.QuarantineDiscarded, "Give a message up: it counts as skipped"))
}

func newQuarantineList(a *app) *cobra.Command {
	var named string
	var f db.QuarantineFilter
	cmd := a.onStore(&cobra.Command{
		Use: "list", Short: "List quarantined messages, the newest first", Args: noArgs,
		Example: "  imapsync quarantine list --provider support --state dead",
		PreRunE: func(*cobra.Command, []string) error {
			switch f.State {
			case "", db.QuarantineRetry, db.QuarantineDead, db.QuarantineReleased, db.QuarantineDiscarded:
				return usage(atLeast("limit", f.Limit, 1))
			}
			return usageError("--state %q: use retry, dead, released or discarded", f.State)
		},
	}, func(ctx context.Context, store *db.Store, _ []string) error {
		only, err := a.only(ctx, store, named)
		if err != nil {
			return err
		}
		f.Tenant, f.ProviderID = only.Tenant, only.ID
		list, err := store.ListQuarantine(ctx, f)
		if err != nil {
			return err
		}
		return printList(a, list, "nothing is in quarantine"+led(" in state ", f.State),
			"ID\tSTATE\tFOLDER\tUID\tATTEMPTS\tNEXT\tSENDER\tSUBJECT\tREASON", func(q db.Quarantine) []any {
				return []any{q.ID, q.State, provider.OneLine(q.Folder), q.UID, q.Attempts, momentOr(q.NextAttemptAt, "-"),
					provider.OneLine(q.Sender), provider.OneLine(q.Subject), q.ErrorCode}
			})
	})
	fs := cmd.Flags()
	fs.StringVar(&named, "provider", "", "only of this provider, by name or id")
	fs.StringVar(&f.State, "state", "", "only in this state: retry, dead, released or discarded")
	fs.IntVar(&f.Limit, "limit", 100, "at most so many")
	return cmd
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
	cmd := a.onMessage(&cobra.Command{Use: "show ID", Short: "Show all that is known of a quarantined message, as JSON"},
		func(_ context.Context, _ *provider.Service, q *db.Quarantine) error { return a.printJSON(q) })
	a.outputFlag(cmd, "json")
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
