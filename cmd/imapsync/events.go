package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/event"
	"imapsync/provider"
)

func newEvents(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "events", Short: "Read the stream of events", Args: noArgs, RunE: helpOnly}
	cmd.AddCommand(newEventsTail(a))
	return cmd
}

func helpOnly(cmd *cobra.Command, _ []string) error { return cmd.Help() }

func newEventsTail(a *app) *cobra.Command {
	var provider, tenant, output string
	var all bool
	var idle time.Duration
	var count int
	cmd := &cobra.Command{
		Use: "tail", Short: "Show events as they arrive, until Ctrl-C",
		Long:    "Show events as they arrive. It reads for itself alone: nothing is acknowledged, and no\nconsumer misses anything by it.",
		Example: "  imapsync events tail --all --idle 1s\n  imapsync events tail --provider support -o json | jq .payload.emailData.subject",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if err := usage(zeroOr("idle", idle, tick), atLeast("count", count, 0)); err != nil {
				return err
			}
			opts := event.SubscribeOptions{Tenant: tenant, NewOnly: !all, Idle: idle}
			if provider != "" {
				ref, err := a.providerRef(ctx, provider, opts.Tenant)
				if err != nil {
					return err
				}
				opts.Tenant, opts.ProviderID = ref.Tenant, ref.ID
			}
			nc, err := a.openNATS(ctx)
			if err != nil {
				return err
			}
			defer nc.Close()
			sub, err := event.Subscribe(ctx, nc, opts)
			if err != nil {
				return err
			}
			shown := 0
			for rec, err := range sub.Events(ctx) {
				if bad, ok := errors.AsType[*event.DecodeError](err); ok {
					a.log.Warn("event_unreadable", "error", bad.Error())
					continue
				}
				if err != nil {
					return endOfTail(ctx, err)
				}
				if err := a.printEvent(rec, output); err != nil {
					return err
				}
				if shown++; shown == count {
					return nil
				}
			}
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&provider, "provider", "", "only of this provider, by name or id")
	fs.BoolVar(&all, "all", false, "begin with what is on the stream already")
	fs.DurationVar(&idle, "idle", 0, "end when nothing came for so long (0: never)")
	fs.IntVar(&count, "count", 0, "end after so many events (0: never)")
	tenantFlag(cmd, &tenant)
	outputFlag(cmd, &output)
	return cmd
}

// endOfTail makes Ctrl-C an ordinary end.
func endOfTail(ctx context.Context, err error) error {
	if ctx.Err() == nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (a *app) printEvent(rec *event.Received, output string) error {
	if output == "json" {
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		return enc.Encode(rec.Event)
	}
	mail := rec.Event.Payload.EmailData
	folder := ""
	if mail.IMAP != nil {
		folder = mail.IMAP.Folder
	}
	a.printf("%s  %-24s  %-30s  %s", rec.Event.Timestamp.UTC().Format(time.RFC3339), provider.OneLine(folder), mail.From.Email, provider.OneLine(mail.Subject))
	if n := len(mail.Attachments); n > 0 {
		a.printf("  [%d attachments]", n)
	}
	a.printf("\n")
	return nil
}

// providerRef finds a provider in the database. An id needs none when the
// tenant is given too.
func (a *app) providerRef(ctx context.Context, nameOrID, tenant string) (db.Ref, error) {
	if id, err := uuid.Parse(nameOrID); err == nil && tenant != "" {
		return db.Ref{Tenant: tenant, ID: id.String()}, nil
	}
	var found db.Ref
	err := a.withProvider(ctx, nameOrID, tenant, func(_ *db.Store, p *db.Provider) error {
		found = ref(p)
		return nil
	})
	return found, err
}

func newBlob(a *app) *cobra.Command {
	cmd := &cobra.Command{Use: "blob", Short: "Read attachments and raw mail", Args: noArgs, RunE: helpOnly}
	cmd.AddCommand(&cobra.Command{
		Use: "get KEY", Short: "Write a blob to standard output",
		Long:    "Write an attachment or a raw mail to standard output. KEY is blob.key of an event. The bytes\nare checked against the SHA-256 in the key: on a mismatch the command fails.",
		Example: "  imapsync blob get 0000…/7f3c…/9f86d0… > invoice.pdf",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("blob get takes one KEY, as in an event's blob.key")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.writeBlob(cmd.Context(), args[0])
		},
	})
	return cmd
}
