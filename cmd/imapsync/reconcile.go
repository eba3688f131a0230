package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/provider"
	mailsync "imapsync/sync"
)

func newReconcile(a *app) *cobra.Command {
	var output string
	var timeouts timeoutFlags
	cmd := a.onProvider(&cobra.Command{
		Use: "reconcile PROVIDER", Short: "Compare the server's messages with the ledger, folder by folder",
		Long: "Compare what the server has with what the ledger says became of it. Missing are messages\n" +
			"that the cursor has passed and nobody knows: there must be none, and the exit code is 1 when\n" +
			"there is one. It reads only." + exitCodesPointer,
		Example: "  imapsync reconcile support",
		PreRunE: func(*cobra.Command, []string) error { return usage(timeouts.check()...) },
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, _ string) error {
		return a.reconcile(ctx, mailboxes.Store, p, timeouts.Timeouts, output)
	})
	timeouts.add(cmd.Flags())
	outputFlag(cmd, &output)
	return cmd
}

func (a *app) reconcile(ctx context.Context, store *db.Store, p *db.Provider, timeouts mailsync.Timeouts, output string) error {
	j, err := a.newJob(ctx, store, mailsync.Options{Timeouts: timeouts})
	if err != nil {
		return err
	}
	reports := []mailsync.FolderReport{}
	missing := 0
	err = j.Runner.Reconcile(ctx, p, func(r mailsync.FolderReport) {
		reports = append(reports, r)
		missing += len(r.Missing)
		if output == "text" {
			a.printf("%s\n", provider.ReportText(r))
		}
	})
	if output == "json" {
		if jsonErr := a.printJSON(reports); jsonErr != nil {
			return jsonErr
		}
	} else if err == nil {
		a.printf("%d missing\n", missing)
	}
	if err != nil {
		return mailError(p, err)
	}
	if missing > 0 {
		return &exitError{exitFailed, fmt.Errorf("%d messages are missing: `imapsync backfill %s --since DATE` publishes them", missing, shellQuote(p.Name))}
	}
	return nil
}

// mailError gives an error about one mailbox its exit code.
func mailError(p *db.Provider, err error) error {
	if _, ok := errors.AsType[*exitError](err); ok || exitCode(err) != exitBug {
		return err
	}
	switch class, _ := mailsync.Classify(err); class {
	case fault.Auth, fault.Config:
		return &exitError{exitConfig, inWords(p, err)}
	default:
		return &exitError{exitTempfail, inWords(p, err)}
	}
}
