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

// verifyReport is what `verify` finds for one provider.
type verifyReport struct {
	Provider    string       `json:"provider"`
	Published   int          `json:"published"` // by the ledger, since the time asked for
	Lost        []db.Message `json:"-"`         // not on the stream
	LostCount   int          `json:"lost"`
	Republished int          `json:"republished"`
	Gone        int          `json:"gone"` // lost, and no longer on the mail server either
}

// verifyFlags are the flags of `imapsync verify`.
type verifyFlags struct {
	since     time.Time
	republish bool
	publish   publishFlags
	timeouts  timeoutFlags
	output    string
}

func newVerify(a *app) *cobra.Command {
	var providers []string
	var tenant, since string
	v := &verifyFlags{}
	cmd := &cobra.Command{
		Use: "verify", Short: "Check that what the ledger calls published is on the stream",
		Long: "Check that every message the ledger calls published is on the stream, as after a broker lost\n" +
			"data. --republish reads what is lost again from the mail server and publishes it under the\n" +
			"same identity. Exit code 1 when something is lost and was not republished." + exitCodesPointer,
		Example: "  imapsync verify --since 48h\n  imapsync verify --provider support --republish",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			var err error
			v.since, err = sinceTime("since", since, time.Now())
			if err := usage(append(append(v.publish.check(), v.timeouts.check()...), err)...); err != nil {
				return err
			}
			return a.withStore(ctx, func(store *db.Store) error {
				list, err := findProviders(ctx, store, providers, tenant)
				if err != nil {
					return err
				}
				return a.verify(ctx, store, list, v)
			})
		},
	}
	fs := cmd.Flags()
	fs.StringSliceVar(&providers, "provider", nil, "only this provider, by name or id (repeatable)")
	fs.StringVar(&since, "since", "48h", "look at what was published from then on: "+sinceForms+"; no further back than the stream keeps events")
	fs.BoolVar(&v.republish, "republish", false, "read what is lost from the mail server and publish it again")
	v.publish.add(fs)
	v.timeouts.add(fs)
	tenantFlag(cmd, &tenant)
	outputFlag(cmd, &v.output)
	return cmd
}

func (a *app) verify(ctx context.Context, store *db.Store, list []*db.Provider, v *verifyFlags) error {
	j, err := a.newJob(ctx, store, mailsync.Options{MaxMessageBytes: v.publish.message, Timeouts: v.timeouts.Timeouts})
	if err != nil {
		return err
	}
	defer j.Close()
	if err := j.OpenPublisher(ctx, v.publish.options()); err != nil {
		return err
	}
	work, cancel := j.Runner.StopWith(ctx, 0)
	defer cancel()
	reports := []*verifyReport{}
	var failed []error
	lost := 0
	for _, p := range list {
		rep, err := verifyOne(work, j, p, v.since, v.republish)
		if err != nil {
			failed = append(failed, inWords(p, err))
		}
		if rep == nil {
			continue
		}
		reports = append(reports, rep)
		lost += rep.LostCount - rep.Republished
		if v.output == "text" {
			a.printf("%s: %d published, %d lost, %d republished, %d gone from the mail server\n",
				rep.Provider, rep.Published, rep.LostCount, rep.Republished, rep.Gone)
		}
	}
	if len(list) == 0 && v.output == "text" {
		a.printf("%s\n", noProvider)
	}
	if v.output == "json" {
		if err := a.printJSON(reports); err != nil {
			return err
		}
	}
	if err := errors.Join(failed...); err != nil {
		return mailError(nil, err)
	}
	if lost > 0 {
		return &exitError{exitFailed, fmt.Errorf("%d messages are not on the stream", lost)}
	}
	return nil
}

// verifyOne compares one provider's ledger with the stream.
func verifyOne(ctx context.Context, j *provider.Job, p *db.Provider, since time.Time, republish bool) (*verifyReport, error) {
	published, err := j.Store.PublishedSince(ctx, ref(p), since)
	if err != nil {
		return nil, err
	}
	rep := &verifyReport{Provider: p.Name, Published: len(published)}
	stored, err := j.Runner.Publisher.StoredKeys(ctx, p.Tenant, p.ID)
	if err != nil {
		return nil, fmt.Errorf("provider %s: read the stream: %w", p, err)
	}
	for _, m := range published {
		if !stored[m.EventKey] {
			rep.Lost = append(rep.Lost, m)
		}
	}
	rep.LostCount = len(rep.Lost)
	if !republish || rep.LostCount == 0 {
		return rep, nil
	}
	found, res := j.Runner.Republish(ctx, p, rep.Lost)
	rep.Republished, rep.Gone = found, rep.LostCount-found
	if res.Busy {
		rep.Gone = 0
		return rep, provider.Busy(p)
	}
	return rep, res.Err
}
