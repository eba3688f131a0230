package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/provider"
	mailsync "imapsync/sync"
)

func newBackfill(a *app) *cobra.Command {
	var since, until, output string
	var publish publishFlags
	var timeouts timeoutFlags
	b := mailsync.Backfill{}
	cmd := a.onProvider(&cobra.Command{
		Use: "backfill PROVIDER --since DATE", Short: "Publish old mail that was never read",
		Long: "Publish mail that the server received between two dates and that was never handled. What was\n" +
			"published before is left out, so nothing is doubled and a backfill that was broken off goes\n" +
			"on where it was when it is run again." + exitCodesPointer,
		Example: "  imapsync backfill support --since 2026-01-01 --until 2026-02-01 --dry-run\n  imapsync backfill support --since 30d --folder Archive --rate 20",
		PreRunE: func(*cobra.Command, []string) (err error) {
			if b.Since, b.Until, err = dateRange(since, until, time.Now()); err != nil {
				return err
			}
			return usage(append(append(publish.check(), timeouts.check()...), atLeast("rate", b.Rate, 0))...)
		},
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, _ string) error {
		return a.backfill(ctx, mailboxes.Store, p, b, &publish, timeouts.Timeouts, output)
	})
	fs := cmd.Flags()
	fs.StringVar(&since, "since", "", "from this day on: "+sinceForms+" (required)")
	fs.StringVar(&until, "until", "", "up to and including this day")
	fs.StringSliceVar(&b.Folders, "folder", nil, "only this folder (repeatable; default: the provider's)")
	fs.BoolVar(&b.DryRun, "dry-run", false, "count only")
	fs.IntVar(&b.Rate, "rate", 0, "messages a second (0: as fast as it goes)")
	publish.add(fs)
	timeouts.add(fs)
	outputFlag(cmd, &output)
	return cmd
}

// backfillReport is what `backfill -o json` prints.
type backfillReport struct {
	Folders []mailsync.BackfillCount `json:"folders"`
	Counts  db.Counts                `json:"counts"` // what became of the messages; nothing with --dry-run
}

func (a *app) backfill(ctx context.Context, store *db.Store, p *db.Provider, b mailsync.Backfill, publish *publishFlags, timeouts mailsync.Timeouts, output string) error {
	j, err := a.newJob(ctx, store, mailsync.Options{MaxMessageBytes: publish.message, Timeouts: timeouts})
	if err != nil {
		return err
	}
	defer j.Close()
	if err := j.OpenPublisher(ctx, publish.options()); err != nil {
		return err
	}
	work, cancel := j.Runner.StopWith(ctx, 0)
	defer cancel()
	report := backfillReport{Folders: []mailsync.BackfillCount{}}
	b.OnCount = func(c mailsync.BackfillCount) {
		if report.Folders = append(report.Folders, c); output == "json" {
			return
		}
		a.printf("%s: %d found, %d known, %d to read\n", c.Folder, c.Found, c.Known, c.ToRead)
	}
	res := j.Runner.Backfill(work, p, b)
	if report.Counts = res.Counts; output == "json" && !res.Busy {
		if err := a.printJSON(report); err != nil {
			return err
		}
	}
	if res.Busy {
		return provider.Busy(p)
	}
	if res.Err != nil {
		return mailError(p, res.Err)
	}
	if !b.DryRun && output != "json" {
		a.printf("%s\n", provider.CountsText(res.Counts))
	}
	return nil
}
