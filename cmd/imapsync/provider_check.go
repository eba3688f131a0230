package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/provider"
	"imapsync/secret"
	mailsync "imapsync/sync"
)

// checkError makes one line of what went wrong: where, what, and the fix.
func checkError(failed *provider.TestError) error {
	if !failed.Reached {
		if errors.Is(failed, secret.ErrAbsent) {
			return &exitError{exitConfig, inWords(failed.Provider, failed, "test")}
		}
		return inWords(failed.Provider, failed.Err)
	}
	class, code := mailsync.Classify(failed)
	exit := exitTempfail
	switch class {
	case fault.Config, fault.Auth:
		exit = exitConfig
	case fault.Bug:
		exit = exitBug
	case fault.Transient, fault.Message:
	}
	return &exitError{exit, &fault.Error{Class: class, Code: code, Err: inWords(failed.Provider, failed, "test")}}
}

// testedError is checkError for an error that may be of something else; then
// undone, what it means for the command, is not said.
func testedError(err error, undone string) error {
	failed, ok := errors.AsType[*provider.TestError](err)
	if !ok {
		return err
	}
	if err = checkError(failed); undone != "" {
		err = withMore(err, undone)
	}
	return err
}

// withMore adds to an error what it means for the command.
func withMore(err error, more string) error {
	return &exitError{exitCode(err), fmt.Errorf("%w; %s", err, more)}
}

// printFolders writes the table of folders.
func printFolders(to io.Writer, folders []provider.Folder) {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "FOLDER\tMESSAGES\tSPECIAL USE\tREAD")
	for _, f := range folders {
		messages, read := strconv.FormatInt(f.Messages, 10), "no"
		if f.Messages < 0 {
			messages = "-"
		}
		if f.Configured {
			read = "yes"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", f.Name, messages, cmp.Or(f.SpecialUse, "-"), read)
	}
	w.Flush()
}

// testResult is one provider of `provider test -o json`.
type testResult struct {
	Tenant     string          `json:"tenant"`
	ID         string          `json:"id"`
	Name       string          `json:"name"`
	Host       string          `json:"host"`
	OK         bool            `json:"ok"`
	ErrorClass string          `json:"errorClass,omitempty"`
	ErrorCode  string          `json:"errorCode,omitempty"`
	Error      string          `json:"error,omitempty"`
	Check      *provider.Check `json:"check,omitempty"`
}

func newProviderTest(a *app) *cobra.Command {
	var tenant, output string
	cmd := &cobra.Command{
		Use: "test [PROVIDER]", Short: "Test the connection of one mailbox, or of all",
		Long: "Connect, log in, list capabilities and folders, and open the folders that are read. Nothing\n" +
			"is changed, on the server or here.\n\n" +
			"Exit codes: 0 all is well · 75 it may pass by itself (network, a busy server) · 78 a setting\n" +
			"or the password is wrong · others as in `imapsync --help`",
		Example: "  imapsync provider test support",
		Args:    oneProviderOrAll,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withStore(ctx, func(store *db.Store) error {
				list, err := findProviders(ctx, store, args, tenant)
				if err != nil {
					return err
				}
				return a.testProviders(ctx, store, list, output)
			})
		},
	}
	tenantFlag(cmd, &tenant)
	outputFlag(cmd, &output)
	return cmd
}

func (a *app) testProviders(ctx context.Context, store *db.Store, list []*db.Provider, output string) error {
	mailboxes := a.service(store)
	results := []testResult{}
	var failed []error
	code := exitOK
	for _, p := range list {
		check, err := mailboxes.Check(ctx, p, provider.CredentialInput{})
		err = testedError(err, "")
		r := testResult{Tenant: p.Tenant, ID: p.ID, Name: p.Name, Host: p.Host, OK: err == nil, Check: check}
		if err != nil {
			if errors.Is(err, db.ErrUnreachable) || ctx.Err() != nil {
				return err
			}
			class, word := mailsync.Classify(err)
			r.ErrorClass, r.ErrorCode, r.Error = string(class), word, provider.OneLine(err.Error())
			failed = append(failed, fmt.Errorf("%s: %w", p.Name, err))
			code = max(code, exitCode(err)) // configuration before what may pass by itself
		}
		results = append(results, r)
		if output != "json" {
			a.printTest(p, r)
		}
	}
	if output == "json" {
		if err := a.printJSON(results); err != nil {
			return err
		}
	}
	if len(list) == 0 {
		a.notef(noProvider)
	}
	if len(failed) > 0 {
		return &exitError{code, errors.Join(failed...)}
	}
	return nil
}

func (a *app) printTest(p *db.Provider, r testResult) {
	if !r.OK {
		return // told at the end, with its exit code
	}
	var read []string
	for _, f := range r.Check.Folders {
		if f.Configured {
			read = append(read, f.Name)
		}
	}
	a.printf("%s: ok: %s as %s, %d folders, reads %q\n  capabilities: %s\n", p.Name,
		net.JoinHostPort(p.Host, strconv.Itoa(p.Port)), p.Username, len(r.Check.Folders), read, r.Check.Capabilities)
}

func newProviderFolders(a *app) *cobra.Command {
	var output string
	cmd := a.onProvider(&cobra.Command{
		Use: "folders PROVIDER", Short: "List the folders of a mailbox, and which are read",
		Long: "List the folders on the server with their number of messages and special use, and which of\n" +
			"them are read. A folder that is configured and missing is an error." + exitCodesPointer,
		Example: "  imapsync provider folders support",
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, _ string) error {
		check, err := mailboxes.Check(ctx, p, provider.CredentialInput{})
		checkErr := testedError(err, "")
		switch {
		case check == nil:
		case output == "json":
			if err := a.printJSON(check.Folders); err != nil {
				return err
			}
		default:
			printFolders(a.stdout, check.Folders)
		}
		return checkErr
	})
	outputFlag(cmd, &output)
	return cmd
}
