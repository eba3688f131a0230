package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/provider"
	"imapsync/secret"
	mailsync "imapsync/sync"
)

const maxErrorRunes = 60

func newProviderList(a *app) *cobra.Command {
	return a.onStore(&cobra.Command{
		Use: "list", Short: "List the mailboxes", Long: "List the mailboxes of all tenants, or of one." + exitCodesPointer,
		Args: noArgs,
	}, func(ctx context.Context, store *db.Store, _ []string) error {
		list, err := store.ListProviders(ctx, a.tenant)
		if err == nil && len(list) == 0 && !a.json() {
			a.notef(noProvider)
			return nil
		}
		if err != nil {
			return err
		}
		var views []provider.View
		for _, p := range list {
			views = append(views, provider.View{Provider: p})
		}
		now := time.Now()
		return printList(a, views, "", "NAME\tID\tMAILBOX\tHOST\tSTATUS\tPAUSED\tLAST SYNC\tLAST ERROR", func(p provider.View) []any {
			paused := "-"
			if p.PausedAt != nil {
				paused = cmp.Or(p.PauseReason, "yes")
			}
			message := []rune(provider.OneLine(cmp.Or(p.LastError, p.ErrorMessage)))
			if len(message) > maxErrorRunes {
				message = append(message[:maxErrorRunes], '…')
			}
			return []any{p.Name, p.ID, p.Mailbox, p.Host, p.Status, paused, ago(p.LastSyncAt, now), string(message)}
		})
	})
}

func newProviderShow(a *app) *cobra.Command {
	cmd := a.onProvider(&cobra.Command{
		Use: "show PROVIDER", Short: "Show all settings and the state of a mailbox",
		Long: "Show all settings and the state of a mailbox. A password is never shown. Where its folders\n" +
			"stand is for `imapsync status`." + exitCodesPointer,
		Example: "  imapsync provider show support -o json",
	}, func(_ context.Context, _ *provider.Service, p *db.Provider, _ string) error {
		if a.json() {
			return a.printJSON(provider.View{Provider: p})
		}
		return a.printProvider(p)
	})
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) printProvider(p *db.Provider) error {
	t := newTable(a.stdout)
	settings := func(ofOAuth bool) {
		for _, s := range provider.Settings() {
			switch {
			case s.OAuth != ofOAuth || s.NoFlag || s.Name == "port":
			case s.Name == "name":
				t.row("name", p.Name)
				t.row("id", p.ID)
				t.row("tenant", p.Tenant)
			case s.Name == "host":
				t.row("server", net.JoinHostPort(p.Host, strconv.Itoa(p.Port)))
			default:
				t.row(flagOf(s.Name), s.Shown(&p.Settings))
			}
		}
	}
	settings(false)
	paused := "no"
	if p.PausedAt != nil {
		paused = fmt.Sprintf("since %s (%s)", moment(p.PausedAt), cmp.Or(p.PauseReason, "no reason given"))
	}
	lastError := strings.TrimPrefix(p.LastErrorCode+": "+provider.OneLine(cmp.Or(storedError(p), p.ErrorMessage)), ": ")
	for _, r := range [][]any{
		{"", ""}, {"status", p.Status}, {"active", p.Active}, {"paused", paused},
		{"created", moment(&p.CreatedAt)}, {"last sync", moment(p.LastSyncAt)}, {"last attempt", moment(p.LastAttemptAt)},
		{"last success", moment(p.LastSuccessAt)}, {"next attempt", momentOr(p.NextAttemptAt, "with the next run")},
		{"failures in a row", p.ConsecutiveFailures}, {"login failures in a row", p.AuthFailures},
		{"last error", cmp.Or(lastError, "none")},
		{"published", p.Published}, {"duplicates", p.Duplicates}, {"quarantined", p.Quarantined},
	} {
		t.row(r...)
	}
	if p.AuthType == db.AuthOAuth2 {
		t.row("", "")
		settings(true)
		t.row("authorised", moment(p.AuthorisedAt))
		t.row("token expires", moment(p.TokenExpiresAt))
	}
	return t.Flush()
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
	return a.onStore(&cobra.Command{
		Use: "test [PROVIDER]", Short: "Test the connection of one mailbox, or of all",
		Long: "Connect, log in, list capabilities and folders, and open the folders that are read. Nothing\n" +
			"is changed, on the server or here.\n\n" +
			"Exit codes: 0 all is well · 75 it may pass by itself (network, a busy server) · 78 a setting\n" +
			"or the password is wrong · others as in `imapsync --help`",
		Example: "  imapsync provider test support",
		Args:    oneProviderOrAll,
	}, func(ctx context.Context, store *db.Store, args []string) error {
		list, err := findProviders(ctx, store, args, a.tenant)
		if err != nil {
			return err
		}
		return a.testProviders(ctx, a.service(store), list)
	})
}

func (a *app) testProviders(ctx context.Context, mailboxes *provider.Service, list []*db.Provider) error {
	results := []testResult{}
	var failed []error
	code := exitOK
	for i, p := range list {
		check, err := mailboxes.Check(ctx, p, nil)
		if ctx.Err() != nil {
			return stopped(ctx, fmt.Sprintf("after %d of %d mailboxes", i, len(list)))
		}
		err = testedError(err, "")
		r := testResult{Tenant: p.Tenant, ID: p.ID, Name: p.Name, Host: p.Host, OK: err == nil, Check: check}
		if err != nil {
			if errors.Is(err, db.ErrUnreachable) {
				return err
			}
			class, word := mailsync.Classify(err)
			r.ErrorClass, r.ErrorCode, r.Error = string(class), word, provider.OneLine(err.Error())
			failed = append(failed, fmt.Errorf("%s: %w", p.Name, err))
			code = max(code, exitCode(err)) // configuration before what may pass by itself
		}
		results = append(results, r)
		if r.OK && !a.json() { // what failed is told at the end, with its exit code
			var read []string
			for _, f := range check.Folders {
				if f.Configured {
					read = append(read, f.Name)
				}
			}
			a.printf("%s: ok: %s as %s, %d folders, reads %q\n  capabilities: %s\n", p.Name,
				net.JoinHostPort(p.Host, strconv.Itoa(p.Port)), p.Username, len(check.Folders), read, check.Capabilities)
		}
	}
	if a.json() {
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

func newProviderFolders(a *app) *cobra.Command {
	cmd := a.onProvider(&cobra.Command{
		Use: "folders PROVIDER", Short: "List the folders of a mailbox, and which are read",
		Long: "List the folders on the server with their number of messages and special use, and which of\n" +
			"them are read. A folder that is configured and missing is an error.\n\n" +
			"A wildcard (--folder '*') leaves out folders with a special use, such as sent, trash and junk:\n" +
			"\"by name only\" stands beside them. To read one, name it." + exitCodesPointer,
		Example: "  imapsync provider folders support",
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, _ string) error {
		check, err := mailboxes.Check(ctx, p, nil)
		if ctx.Err() != nil {
			return stopped(ctx, "before the folders were listed")
		}
		switch {
		case check == nil:
		case a.json():
			if err := a.printJSON(check.Folders); err != nil {
				return err
			}
		default:
			if err := printFolders(a.stdout, check.Folders); err != nil {
				return err
			}
		}
		if check != nil && check.Cut != nil {
			a.log.Warn("folders_cut", "error", check.Cut.Error())
		}
		return testedError(err, "")
	})
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func printFolders(to io.Writer, folders []provider.Folder) error {
	t := newTable(to, "FOLDER", "MESSAGES", "SPECIAL USE", "READ")
	for _, f := range folders {
		var messages any = f.Messages
		if f.Messages < 0 {
			messages = "-"
		}
		read := "no"
		switch {
		case f.Configured:
			read = "yes"
		case f.Problem != "":
			read = "no: " + f.Problem
		case f.SpecialUse != "" && f.Selectable:
			read = "by name only"
		}
		t.row(f.Name, messages, cmp.Or(f.SpecialUse, "-"), read)
	}
	return t.Flush()
}

// testedError makes one line of why a connection did not pass its test: where,
// what, the fix, and what is undone. Other errors stay as they are.
func testedError(err error, undone string) error {
	failed, ok := errors.AsType[*provider.TestError](err)
	switch {
	case !ok:
		return err
	case failed.Reached:
		class, code := mailsync.Classify(failed)
		err = &exitError{exitOf(class), &fault.Error{Class: class, Code: code, Err: inWords(failed.Provider, failed, "test")}}
	case errors.Is(failed, secret.ErrAbsent):
		err = &exitError{exitConfig, inWords(failed.Provider, failed, "test")}
	default:
		err = inWords(failed.Provider, failed.Err)
	}
	if undone != "" {
		err = withMore(err, undone)
	}
	return err
}

// withMore adds to an error what it means for the command.
func withMore(err error, more string) error {
	return &exitError{exitCode(err), fmt.Errorf("%w; %s", err, more)}
}
