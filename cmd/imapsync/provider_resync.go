package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/provider"
)

func newProviderResync(a *app) *cobra.Command {
	var since string
	var folders []string
	var accept bool
	cmd := a.onProvider(&cobra.Command{
		Use: "resync PROVIDER", Short: "Go through folders again for mail that was missed",
		Long: "Begin a new cursor in the provider's folders: the next run goes through all unread mail and\n" +
			"all mail since a day, by headers first. What was published before is known and left out, so\n" +
			"nothing is doubled. It also lets folders go on that were paused because the server had\n" +
			"numbered them anew." + exitCodesPointer,
		Example: "  imapsync provider resync support\n  imapsync provider resync support --folder INBOX --since 7d",
		PreRunE: func(*cobra.Command, []string) error {
			_, _, err := dateRange(since, "", time.Now())
			return err
		},
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, _ string) error {
		from, _, err := dateRange(since, "", time.Now())
		if err != nil {
			return err
		}
		n, err := mailboxes.Resync(ctx, p, folders, from, accept, actor())
		if err != nil {
			return resyncError(p, err)
		}
		a.notef("%s: the next run goes through %d folders again, from %s on", p.Name, n, from.Format(time.DateOnly))
		return nil
	})
	fs := cmd.Flags()
	fs.StringSliceVar(&folders, "folder", nil, "only this folder (repeatable; default: all that were read before)")
	fs.StringVar(&since, "since", "7d", "from this day on: "+sinceForms)
	fs.BoolVar(&accept, "accept", false, "publish unknown messages however many they are")
	return cmd
}

// resyncError says what to do about folders that were not set back.
func resyncError(p *db.Provider, err error) error {
	if errors.Is(err, provider.ErrBusy) {
		return withMore(err, "try again when it has ended")
	}
	if e, ok := fault.Of(err); ok && e.Code == "never_read" {
		return &exitError{exitUsage, inWords(p, err)}
	}
	return err
}
