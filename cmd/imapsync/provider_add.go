package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/provider"
	"imapsync/secret"
)

func newProviderAdd(a *app) *cobra.Command {
	var f providerFlags
	var pw passwordFlags
	var tenant, id, output string
	var noTest bool
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
			p, err := f.newProvider(tenant, id)
			if err != nil {
				return err
			}
			fromCommandLine := pw
			if fromCommandLine.only(f.onCommandLine); fromCommandLine.any() {
				pw = fromCommandLine
			}
			f.problems = append(f.problems, pw.check(a.stdin)...)
			if p.AuthType == db.AuthOAuth2 && pw.any() {
				f.wrong(provider.Password, "a mailbox with --auth oauth2 has no password")
			}
			mailboxes := a.service(nil) // before anything is opened
			// One that is put beside the database by its id needs not be given.
			ask, err := mailboxes.NeedsPassword(ctx, p)
			if err != nil {
				return err
			}
			if ask && !pw.any() && !isTerminal(a.stdin) {
				f.wrong(provider.Password, "missing: give --password-file FILE or --password-stdin, or run it on a terminal to be asked")
			}
			in := f.secrets(p, f.forNew)
			in.Password = f.passwordFromFile(ctx, a, &pw)
			if ask || pw.any() || in.Any() {
				if err := mailboxes.CanKeep(); err != nil {
					f.files = append(f.files, err)
				}
			}
			if err := f.err(p); err != nil {
				return err
			}
			// Before anybody is asked to type something.
			return a.withService(ctx, func(mailboxes *provider.Service) error {
				if in.Password.IsZero() && (ask || pw.any()) {
					if err := mailboxes.MayStore(ctx, p); err != nil {
						return storeError(err, "")
					}
					if in.Password, err = pw.read(ctx, a, fmt.Sprintf("Password of %s at %s: ", p.Username, p.Host)); err != nil {
						return err
					}
				}
				return a.addProvider(ctx, mailboxes, p, in, noTest, output)
			})
		},
	}
	f.add(cmd)
	pw.add(cmd.Flags())
	cmd.Flags().StringVar(&tenant, "tenant", db.DefaultTenant, "whose mailbox it is, a UUID")
	cmd.Flags().StringVar(&id, "id", "", "its id, a UUID: credentials may be put under it beforehand (default: a new one)")
	cmd.Flags().BoolVar(&noTest, "no-test", false, "store it without testing the connection")
	cmd.Flags().SortFlags = false
	outputFlag(cmd, &output)
	return cmd
}

// newProvider is a provider of the defaults and the flags. What is wrong is
// kept for err.
func (f *providerFlags) newProvider(tenant, id string) (*db.Provider, error) {
	fresh, err := uuid.NewRandom()
	if err != nil {
		return nil, err
	}
	if id != "" {
		if fresh, err = uuid.Parse(id); err != nil {
			f.wrong("id", "%q is not a UUID", id)
		}
	}
	p := provider.Fresh(tenant, fresh)
	if id, err := uuid.Parse(tenant); err == nil {
		p.Tenant = id.String()
	}
	f.apply(p, f.forNew, true)
	return p, nil
}

// passwordFromFile reads a password file at once, so that its faults are told
// with all others.
func (f *providerFlags) passwordFromFile(ctx context.Context, a *app, pw *passwordFlags) secret.Value {
	if pw.file == "" || pw.stdin || pw.prompt {
		return secret.Value{}
	}
	v, err := pw.read(ctx, a, "")
	if err != nil {
		f.files = append(f.files, err)
	}
	return v
}

// addProvider tests and stores p, and says what is next.
func (a *app) addProvider(ctx context.Context, mailboxes *provider.Service, p *db.Provider, in provider.CredentialInput, noTest bool, output string) error {
	if p.TLS == db.TLSNone {
		a.notef("warning: --tls none sends the password and all mail unencrypted")
	}
	check, err := mailboxes.Add(ctx, p, in, !noTest, actor())
	if err != nil {
		return storeError(err, "nothing was stored: --no-test stores it anyway")
	}
	if output == "json" {
		return a.printJSON(provider.View{Provider: p, Check: check})
	}
	if check != nil {
		a.notef("connected to %s as %s; it has %d folders:", p.Host, p.Username, len(check.Folders))
		printFolders(a.stderr, check.Folders)
	}
	if provider.NeedsPerson(p) {
		a.notef("added %s; next: imapsync provider auth %s", p.Name, p.ID)
	} else {
		a.notef("added %s; next: imapsync run --provider %s", p.Name, p.ID)
	}
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
	if e, ok := fault.Of(err); ok && e.Code == "mailbox_taken" {
		return usageError("--mailbox: %w", e)
	}
	return testedError(err, undone)
}

func newProviderSet(a *app) *cobra.Command {
	var f providerFlags
	var pw passwordFlags
	var tenant string
	var noTest bool
	cmd := &cobra.Command{
		Use: "set PROVIDER", Short: "Change settings of a mailbox",
		Long: "Change the settings given on the command line and leave the others; the environment does not\n" +
			"count here. When what changes concerns the connection, that is tested first, and when the\n" +
			"test fails, nothing is stored. An empty value (--folder '', --ca-file '') goes back to the\n" +
			"default, as 0 does for time-outs and caps. The cursor stays: another --start counts for\n" +
			"folders that were never read." + exitCodesPointer,
		Example: "  imapsync provider set support --max-emails-per-sync 200\n" +
			"  imapsync provider set support --password-prompt",
		Args: oneProvider,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			pw.only(f.onCommandLine)
			return a.withProvider(ctx, args[0], tenant, func(store *db.Store, was *db.Provider) error {
				is := *was
				f.apply(&is, f.onCommandLine, false)
				f.problems = append(f.problems, pw.check(a.stdin)...)
				if is.AuthType == db.AuthOAuth2 && pw.any() {
					f.wrong(provider.Password, "a mailbox with --auth oauth2 has no password")
				}
				in := f.secrets(&is, f.onCommandLine)
				in.Password = f.passwordFromFile(ctx, a, &pw)
				if err := f.err(&is); err != nil {
					return err
				}
				changed := provider.Changed(was, &is)
				unchanged := len(changed) == 0 && !pw.any() && !in.Any()
				if unchanged && f.given() {
					a.notef("%s: nothing to change", was.Name)
					return nil
				}
				if unchanged {
					return usageError("%s: nothing to change: give the settings to change, see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
				}
				if pw.any() && in.Password.IsZero() {
					var err error
					if in.Password, err = pw.read(ctx, a, fmt.Sprintf("Password of %s at %s: ", is.Username, is.Host)); err != nil {
						return err
					}
				}
				return a.changeProvider(ctx, a.service(store), was, &is, in, noTest)
			})
		},
	}
	f.add(cmd)
	pw.add(cmd.Flags())
	tenantFlag(cmd, &tenant)
	cmd.Flags().BoolVar(&noTest, "no-test", false, "store it without testing the connection")
	cmd.Flags().SortFlags = false
	return cmd
}

// changedNames names settings that changed by their flags, and credentials as they are.
func changedNames(changed []string) []string {
	names := slices.Clone(changed)
	for i, name := range names {
		if provider.Find(name) != nil {
			names[i] = flagOf(name)
		}
	}
	return names
}

func (a *app) changeProvider(ctx context.Context, mailboxes *provider.Service, was, is *db.Provider, in provider.CredentialInput, noTest bool) error {
	changed, err := mailboxes.Change(ctx, was, is, in, !noTest, actor())
	if err != nil {
		return storeError(err, "nothing was changed: --no-test stores it anyway")
	}
	a.notef("changed %s: %s", is.Name, strings.Join(changedNames(changed), ", "))
	if is.TLS == db.TLSNone && slices.Contains(changed, "tls") {
		a.notef("warning: --tls none sends the password and all mail unencrypted")
	}
	if provider.SignInAgain(is, changed) {
		a.notef("next: imapsync provider auth %s", is.ID)
	}
	if is.PausedAt != nil {
		a.notef("it is paused (%s): `imapsync provider resume %s` goes on", is.PauseReason, is.ID)
	}
	return nil
}
