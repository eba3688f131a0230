package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/provider"
)

func newProvider(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use: "provider", Short: "Add, show, change and test mailboxes",
		Long: "A provider is one mailbox account. It is named by its id, or by its name when that is unique\n" +
			"(--tenant narrows the search).\n\n" + exitCodesHelp,
	}, newProviderAdd(a), newProviderList(a), newProviderShow(a), newProviderSet(a), newProviderRm(a),
		newProviderAuth(a), newProviderTest(a), newProviderFolders(a), newProviderPause(a), newProviderResume(a), newProviderResync(a))
}

func newProviderPause(a *app) *cobra.Command {
	return a.onProvider(&cobra.Command{
		Use: "pause PROVIDER", Short: "Stop reading a mailbox; mail waits on the server",
		Long:    "Stop reading a mailbox until it is resumed. A pass under way is not ended. Mail that arrives\nmeanwhile waits on the server." + exitCodesPointer,
		Example: "  imapsync provider pause support",
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, named string) error {
		if err := mailboxes.Pause(ctx, p, actor()); err != nil {
			return err
		}
		a.notef("paused %s: `imapsync provider resume %s` goes on", p.Name, shellQuote(named))
		return nil
	})
}

func newProviderResume(a *app) *cobra.Command {
	var noTest, all bool
	cmd := a.onProvider(&cobra.Command{
		Use: "resume PROVIDER | --all", Short: "Go on reading a paused mailbox",
		Long: "Go on reading a mailbox that was paused, by a person or because its login was refused: the\n" +
			"connection is tested first, then failures are forgotten and the provider is due at once.\n\n" +
			"--all does so for every mailbox (with --tenant: of that tenant) that is paused because its\n" +
			"login was refused, or that failed and is left alone for a while, without a test: the next run\n" +
			"finds out. Mailboxes that a person has paused stay paused." + exitCodesPointer,
		Example: "  imapsync provider resume support\n  imapsync provider resume --all",
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, _ string) error {
		if err := mailboxes.Resume(ctx, p, !noTest, actor()); err != nil {
			return testedError(err, "still as it was: --no-test resumes it anyway")
		}
		a.notef("resumed %s: the next run reads it", p.Name)
		return nil
	})
	one := cmd.RunE
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if all && len(args) > 0 {
			return usageError("%s takes one PROVIDER or --all, not both", cmd.CommandPath())
		}
		if all {
			return nil
		}
		return oneProvider(cmd, args)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !all {
			return one(cmd, args)
		}
		ctx := cmd.Context()
		return a.withStore(ctx, func(store *db.Store) error {
			resumed, of, err := a.service(store).ResumeAll(ctx, a.tenant, actor())
			if err != nil {
				return withMore(err, fmt.Sprintf("%d of %d were resumed", resumed, of))
			}
			a.notef("resumed %d mailboxes: the next run reads them", resumed)
			return nil
		})
	}
	cmd.Flags().BoolVar(&noTest, "no-test", false, "do not test the connection first")
	cmd.Flags().BoolVar(&all, "all", false, "resume every mailbox that was held back, but for those that a person has paused")
	return cmd
}

func newProviderRm(a *app) *cobra.Command {
	var yes bool
	cmd := a.onProvider(&cobra.Command{
		Use: "rm PROVIDER", Aliases: []string{"remove"}, Short: "Remove a mailbox and all that is kept about it",
		Long: "Remove a provider with its password, its place in every folder, its ledger and its history.\n" +
			"The mail on the server and the events on the stream stay. Added again it has a new id and\n" +
			"begins anew as --start says, so mail may be published again under the new id." + exitCodesPointer,
		Example: "  imapsync provider rm support --yes",
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, _ string) error {
		if !yes {
			if err := a.confirm(ctx, p); err != nil {
				return err
			}
		}
		if err := mailboxes.Remove(ctx, p, actor()); err != nil {
			return err
		}
		a.notef("removed %s (%s)", p.Name, p.Mailbox)
		return nil
	})
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (a *app) confirm(ctx context.Context, p *db.Provider) error {
	if !isTerminal(a.stdin) {
		return usageError("provider rm: removes %s (%s) and all that is kept about it: confirm with --yes", p.Name, p.Mailbox)
	}
	fmt.Fprintf(a.stderr, "Removes %s (%s) and all that is kept about it. Type its name to confirm: ", p.Name, p.Mailbox)
	line, err := a.readLine(ctx) // nothing typed: not confirmed
	if line = strings.TrimSpace(line); err == nil && line != p.Name {
		return usageError("provider rm: %q is not %q: nothing was removed", line, p.Name)
	}
	return err
}

func newProviderResync(a *app) *cobra.Command {
	var since string
	var from time.Time
	var folders []string
	var accept bool
	cmd := a.onProvider(&cobra.Command{
		Use: "resync PROVIDER", Short: "Go through folders again for mail that was missed",
		Long: "Begin a new cursor in the provider's folders: the next run goes through all mail received\n" +
			"since a day, read or not, by headers first. What was published before is known and left out,\n" +
			"so nothing is doubled. With --accept it publishes the old mail that is held since the server\n" +
			"numbered a folder anew." + exitCodesPointer,
		Example: "  imapsync provider resync support\n  imapsync provider resync support --folder INBOX --since 7d\n" +
			"  imapsync provider resync support --accept",
		PreRunE: func(cmd *cobra.Command, _ []string) (err error) {
			if accept && !cmd.Flags().Changed("since") {
				return nil // all that is held
			}
			from, _, err = dateRange(since, "", time.Now())
			return err
		},
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, _ string) error {
		n, err := mailboxes.Resync(ctx, p, folders, from, accept, actor())
		if errors.Is(err, provider.ErrBusy) {
			return withMore(err, "try again when it has ended")
		}
		if e, ok := fault.Of(err); ok && e.Code == "never_read" {
			return &exitError{exitUsage, inWords(p, err)}
		}
		if err != nil {
			return err
		}
		span := ""
		if !from.IsZero() {
			span = ", from " + from.Format(time.DateOnly) + " on"
		}
		switch {
		case n == 0 && accept:
			a.notef("%s: nothing is held", p.Name)
		case n == 0:
			a.notef("%s: no folder was read yet: the next run begins them", p.Name)
		case n == 1:
			a.notef("%s: the next run goes through 1 folder again%s", p.Name, span)
		default:
			a.notef("%s: the next run goes through %d folders again%s", p.Name, n, span)
		}
		return nil
	})
	fs := cmd.Flags()
	fs.StringSliceVar(&folders, "folder", nil, "only this folder (repeatable; default: all that were read before)")
	fs.StringVar(&since, "since", "7d", "from this day on: "+sinceForms)
	fs.BoolVar(&accept, "accept", false, "publish what is held: unknown messages however old and many they are")
	return cmd
}

func newProviderAdd(a *app) *cobra.Command {
	var f providerFlags
	var tenant, id string
	cmd := &cobra.Command{
		Use: "add", Short: "Add a mailbox",
		Long: "Add a mailbox and print its id. The connection is tested first: when that fails, nothing is\n" +
			"stored. The password comes from a file, from standard input, or from a prompt on the terminal;\n" +
			"it is stored sealed under the key of IMAPSYNC_SECRET_KEY_FILE and never shown again.\n\n" +
			"Time-outs and caps given here hold for this provider alone; they are taken from the command\n" +
			"line only, since the environment's are the run's." + exitCodesPointer,
		Example: "  imapsync provider add --mailbox support@example.com --host imap.example.com\n" +
			"  imapsync provider add --name support --mailbox support@example.com --host imap.example.com \\\n" +
			"      --folder INBOX --folder Support/New --start since:30d --password-file support.pw",
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			p := f.newProvider(tenant, id)
			mailboxes := a.service(nil) // before anything is opened
			// One that is put beside the database by its id needs not be given.
			ask, err := mailboxes.NeedsPassword(ctx, p)
			if err != nil {
				return err
			}
			in := f.credentials(ctx, a, p, f.forNew)
			if ask && f.password == nil && !isTerminal(a.stdin) {
				f.wrong(provider.Password, "missing: give --password-file FILE or --password-stdin, or run it on a terminal to be asked")
			}
			ask = ask || f.password != nil
			if ask || len(in) > 0 {
				if err := mailboxes.CanKeep(); err != nil {
					f.files = append(f.files, err)
				}
			}
			if err := f.err(p); err != nil {
				return err
			}
			// Before anybody is asked to type something.
			return a.withStore(ctx, func(store *db.Store) error {
				mailboxes := a.service(store)
				if in[provider.Password].IsZero() && ask {
					if err := mailboxes.MayStore(ctx, p); err != nil {
						return storeError(err, "")
					}
					if in[provider.Password], err = f.readPassword(ctx, a, p); err != nil {
						return err
					}
				}
				return a.addProvider(ctx, mailboxes, p, in, f.storing())
			})
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&tenant, "tenant", db.DefaultTenant, "whose mailbox it is, a UUID")
	cmd.Flags().StringVar(&id, "id", "", "its id, a UUID: credentials may be put under it beforehand (default: a new one)")
	f.addTest(cmd)
	a.outputFlag(cmd, "text", "json")
	return cmd
}

// newProvider is a provider of the defaults and the flags. What is wrong is
// kept for err.
func (f *providerFlags) newProvider(tenant, id string) *db.Provider {
	fresh := uuid.New()
	if id != "" {
		var err error
		if fresh, err = uuid.Parse(id); err != nil {
			f.wrong("id", "%q is not a UUID", id)
		}
	}
	p := provider.Fresh(tenant, fresh)
	if id, err := uuid.Parse(tenant); err == nil {
		p.Tenant = id.String()
	}
	f.apply(p, f.forNew, true)
	return p
}

const plaintextWarning = "warning: --tls none sends the password and all mail unencrypted"

func (a *app) addProvider(ctx context.Context, mailboxes *provider.Service, p *db.Provider, in provider.CredentialInput, how provider.Storing) error {
	if p.TLS == db.TLSNone {
		a.notef(plaintextWarning)
	}
	check, err := mailboxes.Add(ctx, p, in, how, actor())
	if err != nil {
		return storeError(err, "nothing was stored: --no-test stores it anyway")
	}
	if a.json() {
		return a.printJSON(provider.View{Provider: p, Check: check})
	}
	if check != nil {
		a.notef("connected to %s as %s; it has %d folders:", p.Host, p.Username, len(check.Folders))
		_ = printFolders(a.stderr, check.Folders)
	}
	next := "run --provider"
	if provider.NeedsPerson(p) {
		next = "provider auth"
	}
	a.notef("added %s; next: imapsync %s %s", p.Name, next, p.ID)
	a.printf("%s\n", p.ID)
	return nil
}

// storeError says what is to be done about a mailbox that could not be stored:
// its connection did not pass the test, which is undone, or its name or its
// address is there already.
func storeError(err error, undone string) error {
	if taken, ok := errors.AsType[*db.NameTakenError](err); ok {
		return usageError("--name: %w in this tenant: choose another name, or rename that mailbox: `imapsync provider set %s --name NAME`", taken, taken.ID)
	}
	switch e, _ := fault.Of(err); {
	case e != nil && e.Code == "mailbox_taken":
		return usageError("--mailbox: %w", e)
	case e != nil && e.Code == "account_taken":
		return usageError("--username: %w: --same-account stores it all the same, and its mail is published twice", e)
	}
	return testedError(err, undone)
}

func newProviderSet(a *app) *cobra.Command {
	var f providerFlags
	cmd := &cobra.Command{
		Use: "set PROVIDER", Short: "Change settings of a mailbox",
		Long: "Change the settings given on the command line and leave the others; the environment does not\n" +
			"count here. When what changes concerns the connection, that is tested first, and when the\n" +
			"test fails, nothing is stored. An empty value (--folder '', --ca-file '') goes back to the\n" +
			"default, as 0 does for time-outs and caps. The cursor stays: another --start counts for\n" +
			"folders that were never read." + exitCodesPointer,
		Example: "  imapsync provider set support --max-emails-per-sync 200\n" +
			"  imapsync provider set support --password-prompt",
	}
	f.add(cmd)
	a.onProvider(cmd, func(ctx context.Context, mailboxes *provider.Service, was *db.Provider, _ string) error {
		is := *was
		f.apply(&is, f.onCommandLine, false)
		in := f.credentials(ctx, a, &is, f.onCommandLine)
		if err := f.err(&is); err != nil {
			return err
		}
		if len(provider.Changed(was, &is)) == 0 && f.password == nil && len(in) == 0 {
			if !f.given() {
				return usageError("%s: nothing to change: give the settings to change, see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
			}
			a.notef("%s: nothing to change", was.Name)
			return nil
		}
		if f.password != nil && in[provider.Password].IsZero() {
			var err error
			if in[provider.Password], err = f.readPassword(ctx, a, &is); err != nil {
				return err
			}
		}
		changed, err := mailboxes.Change(ctx, was, &is, in, f.storing(), actor())
		if err != nil {
			return storeError(err, "nothing was changed: --no-test stores it anyway")
		}
		names := slices.Clone(changed)
		for i, name := range names {
			if provider.Find(name) != nil { // credentials are named as they are
				names[i] = flagOf(name)
			}
		}
		a.notef("changed %s: %s", is.Name, strings.Join(names, ", "))
		if is.TLS == db.TLSNone && slices.Contains(changed, "tls") {
			a.notef(plaintextWarning)
		}
		if provider.SignInAgain(&is, changed) {
			a.notef("next: imapsync provider auth %s", is.ID)
		}
		a.notePaused(&is)
		return nil
	})
	f.addTest(cmd)
	return cmd
}

// notePaused says that a mailbox which was just seen to is not read all the same.
func (a *app) notePaused(p *db.Provider) {
	if p.PausedAt != nil {
		a.notef("it is paused (%s): `imapsync provider resume %s` goes on", p.PauseReason, p.ID)
	}
}
