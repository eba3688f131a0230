package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/provider"
	mailsync "imapsync/sync"
)

func newReconcile(a *app) *cobra.Command {
	var read readFlags
	cmd := a.onProvider(&cobra.Command{
		Use: "reconcile PROVIDER", Short: "Compare the server's messages with the ledger, folder by folder",
		Long: "Compare what the server has with what the ledger says became of it. Missing are messages\n" +
			"that the cursor has passed and nobody knows: there must be none, and the exit code is 1 when\n" +
			"there is one. Messages that the server counts (EXISTS) and does not show may be missing too:\n" +
			"they are told, and the exit code is 1, unless the count has been wrong for a day. It reads only." + exitCodesPointer,
		Example: "  imapsync reconcile support",
		PreRunE: func(*cobra.Command, []string) error { return usage(read.check()...) },
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, named string) error {
		j, err := mailboxes.NewJob(ctx, mailsync.Options{MaxInFlightBytes: mailsync.DefaultMaxInFlightBytes, Timeouts: read.timeouts})
		if err != nil {
			return err
		}
		reports := []mailsync.FolderReport{}
		missing, unseen := 0, int64(0)
		err = j.Runner.Reconcile(ctx, p, func(r mailsync.FolderReport) {
			reports = append(reports, r)
			if missing += len(r.Missing); !r.UnseenOwn {
				unseen += r.Unseen
			}
			if !a.json() {
				a.printf("%s\n", provider.ReportText(r))
			}
		})
		if a.json() {
			if jsonErr := a.printJSON(reports); jsonErr != nil {
				return jsonErr
			}
		} else if err == nil {
			a.printf("%d missing%s\n", missing, provider.Counted(provider.Count{N: int(unseen), Word: "not shown"}))
		}
		if err != nil {
			return mailError(p, err)
		}
		if missing > 0 {
			return &exitError{exitFailed, fmt.Errorf("%d messages are missing: `imapsync backfill %s --since DATE` publishes them", missing, shellQuote(named))}
		}
		if unseen > 0 {
			return &exitError{exitFailed, fmt.Errorf("the server counts %d messages that it does not show: they may be missing; look again later with `imapsync reconcile %s`",
				unseen, shellQuote(named))}
		}
		return nil
	})
	read.add(cmd.Flags())
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// mailError gives an error about one mailbox its exit code.
func mailError(p *db.Provider, err error) error {
	if _, known := knownExit(err); known {
		return err
	}
	return &exitError{exitCode(err), inWords(p, err)}
}

func newBackfill(a *app) *cobra.Command {
	var since, until string
	var publish publishFlags
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
			return usage(publish.check(atLeast("rate", b.Rate, 0))...)
		},
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, _ string) error {
		return a.publishing(ctx, mailboxes, &publish, func(work context.Context, j *provider.Job) error {
			return a.backfill(work, j, p, b)
		})
	})
	fs := cmd.Flags()
	fs.StringVar(&since, "since", "", "from this day on: "+sinceForms+" (required)")
	fs.StringVar(&until, "until", "", "up to and including this day")
	fs.StringSliceVar(&b.Folders, "folder", nil, "only this folder (repeatable; default: the provider's)")
	fs.BoolVar(&b.DryRun, "dry-run", false, "count only")
	fs.IntVar(&b.Rate, "rate", 0, "messages a second (0: as fast as it goes)")
	publish.add(fs)
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// publishing has work done by a job that may publish, and that ends in order
// when ctx does.
func (a *app) publishing(ctx context.Context, mailboxes *provider.Service, f *publishFlags, work func(ctx context.Context, j *provider.Job) error) error {
	j, err := mailboxes.NewJob(ctx, mailsync.Options{MaxInFlightBytes: mailsync.DefaultMaxInFlightBytes, MaxMessageBytes: f.message, Timeouts: f.timeouts})
	if err != nil {
		return err
	}
	defer j.Close()
	if err := j.OpenPublisher(ctx, f.options); err != nil {
		return err
	}
	ctx, cancel := j.Runner.StopWith(ctx, 0)
	defer cancel()
	return work(ctx, j)
}

type backfillReport struct {
	Folders []mailsync.BackfillCount `json:"folders"`
	Counts  db.Counts                `json:"counts"` // what became of the messages; nothing with --dry-run
}

func (a *app) backfill(ctx context.Context, j *provider.Job, p *db.Provider, b mailsync.Backfill) error {
	report := backfillReport{Folders: []mailsync.BackfillCount{}}
	b.OnCount = func(c mailsync.BackfillCount) {
		if report.Folders = append(report.Folders, c); !a.json() {
			a.printf("%s: %d found, %d known, %d to read\n", c.Folder, c.Found, c.Known, c.ToRead)
		}
	}
	res := j.Runner.Backfill(ctx, p, b)
	if res.Busy {
		return provider.Busy(p)
	}
	if report.Counts = res.Counts; a.json() {
		if err := a.printJSON(report); err != nil {
			return err
		}
	} else if !b.DryRun {
		a.printf("%s\n", provider.CountsText(res.Counts))
	}
	if res.Err != nil {
		return mailError(p, res.Err)
	}
	return nil
}

func newVerify(a *app) *cobra.Command {
	var providers []string
	var from string
	var since time.Time
	var republish, makeStream bool
	var publish publishFlags
	cmd := a.onStore(&cobra.Command{
		Use: "verify", Short: "Check that what the ledger calls published is on the stream",
		Long: "Check that every message the ledger calls published is on the stream, and its attachments and\n" +
			"raw mail in the bucket, as after a broker lost data. --republish reads what is lost again from\n" +
			"the mail server and publishes it under the same identity. A stream or a bucket that is gone is\n" +
			"made anew by --make-stream alone. Exit code 1 when something is lost and was not republished." + exitCodesPointer,
		Example: "  imapsync verify --since 48h\n  imapsync verify --provider support --republish\n  imapsync verify --make-stream --since 14d --republish",
		Args:    noArgs,
		PreRunE: func(*cobra.Command, []string) (err error) {
			since, err = sinceTime("since", from, time.Now())
			return usage(publish.check(err)...)
		},
	}, func(ctx context.Context, store *db.Store, _ []string) error {
		list, err := findProviders(ctx, store, providers, a.tenant)
		if err != nil {
			return err
		}
		if makeStream {
			publish.options.Make.May = func(context.Context, string) error { return nil }
		}
		return a.publishing(ctx, a.service(store), &publish, func(work context.Context, j *provider.Job) error {
			return a.verify(work, j, list, since, republish)
		})
	})
	fs := cmd.Flags()
	fs.StringSliceVar(&providers, "provider", nil, "only this provider, by name or id (repeatable)")
	fs.StringVar(&from, "since", "48h", "look at what was published from then on: "+sinceForms+"; no further back than the stream keeps events")
	fs.BoolVar(&republish, "republish", false, "read what is lost from the mail server and publish it again")
	fs.BoolVar(&makeStream, "make-stream", false, "make the stream, or the bucket, that was there and is gone")
	publish.add(fs)
	return cmd
}

func (a *app) verify(ctx context.Context, j *provider.Job, list []*db.Provider, since time.Time, republish bool) error {
	reports := []*provider.Verification{}
	var failed []error
	lost := 0
	for i, p := range list {
		if j.Runner.Stopping() {
			failed = append(failed, fmt.Errorf("%w after %d of %d mailboxes", mailsync.ErrStopped, i, len(list)))
			break
		}
		rep, err := j.Verify(ctx, p, since, republish, actor())
		if err != nil {
			failed = append(failed, inWords(p, err))
		}
		if rep == nil {
			continue
		}
		reports = append(reports, rep)
		lost += rep.Left()
		if !a.json() {
			a.printf("%s: %d published, %d lost, %d republished, %d gone from the mail server%s\n",
				rep.Provider, rep.Published, rep.Lost, rep.Republished, rep.Gone,
				provider.Counted(provider.Count{N: rep.BlobsLost, Word: "without their attachments or raw mail"}, provider.Count{N: rep.Moved, Word: "at another place"}))
			for _, key := range rep.GoneKeys {
				a.printf("  gone: %s\n", key)
			}
		}
	}
	if a.json() {
		if err := a.printJSON(reports); err != nil {
			return err
		}
	} else if len(list) == 0 {
		a.printf("%s\n", noProvider)
	}
	if err := errors.Join(failed...); err != nil {
		return mailError(nil, err)
	}
	if lost > 0 {
		what := fmt.Errorf("%d messages are not on the stream, or not with all they had", lost)
		if !republish {
			what = fmt.Errorf("%w: the same command with --republish publishes them again", what)
		}
		return &exitError{exitFailed, what}
	}
	return nil
}
