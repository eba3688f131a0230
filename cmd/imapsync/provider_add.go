package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/oauth"
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
				f.wrong("password-file", "a mailbox with --auth oauth2 has no password")
			}
			c, err := a.credentials(nil)
			if err != nil {
				return err
			}
			// One that is put beside the database by its id needs not be given.
			_, there := c.chain.Get(ctx, p.Tenant, db.PasswordName(p.ID))
			ask := p.AuthType != db.AuthOAuth2 && there != nil && c.chain.Has(secret.PlaceDB)
			if ask && !pw.any() && !isTerminal(a.stdin) {
				f.wrong("password-file", "missing: give --password-file FILE or --password-stdin, or run it on a terminal to be asked")
			}
			c.given = f.oauth.read(&f, p, f.forNew)
			c.given.password = f.passwordFromFile(ctx, a, &pw)
			if ask || pw.any() || c.given.any() {
				if err := c.canKeep(); err != nil {
					f.files = append(f.files, err)
				}
			}
			if err := f.err(p); err != nil {
				return err
			}
			// Before anybody is asked to type something.
			store, err := a.openStore(ctx)
			if err != nil {
				return err
			}
			defer store.Close()
			c.store, c.unkept = store, true
			if c.given.password.IsZero() && (ask || pw.any()) {
				if err := taken(store.MayStore(ctx, p), p); err != nil {
					return err
				}
				if c.given.password, err = pw.read(ctx, a, fmt.Sprintf("Password of %s at %s: ", p.Username, p.Host)); err != nil {
					return err
				}
			}
			return a.addProvider(ctx, c, p, noTest, output)
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

// defaultProvider is a provider before anybody has set anything.
func defaultProvider(tenant string, id uuid.UUID) *db.Provider {
	return &db.Provider{
		Settings: db.Settings{
			Tenant: tenant, ID: id.String(), Active: true, AutoProcess: true,
			TLS: db.TLSImplicit, Port: defaultPort(db.TLSImplicit), AuthType: db.AuthPassword, MaxEmailsPerSync: 50,
			Start: "recent", CreatedAt: time.Now().UTC(),
		},
		State: db.State{Status: db.StatusConfiguring},
	}
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
	p := defaultProvider(tenant, fresh)
	if id, err := uuid.Parse(tenant); err == nil {
		p.Tenant = id.String()
	}
	f.apply(p, f.forNew)
	f.nameDefaults(p, f.forNew)
	return p, nil
}

// nameDefaults name a new provider by its mailbox where nothing else is given. A
// missing mailbox is told once, not three times.
func (f *providerFlags) nameDefaults(p *db.Provider, counts func(flag string) bool) {
	if !counts("name") {
		p.Name = cmp.Or(p.Mailbox, "-")
	}
	if !counts("username") {
		p.Username = cmp.Or(p.Mailbox, "-")
	}
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

// addProvider tests and stores p. Not tested, its status stays configuring
// until the first pass.
func (a *app) addProvider(ctx context.Context, c *credentials, p *db.Provider, noTest bool, output string) error {
	if p.TLS == db.TLSNone {
		a.notef("warning: --tls none sends the password and all mail unencrypted")
	}
	signIn := needsPerson(p)
	check, err := a.storeProvider(ctx, c, p, noTest, actor())
	if err != nil {
		return err
	}
	if output == "json" {
		return a.printJSON(addedProvider{providerView: viewOf(p), Check: check})
	}
	if check != nil {
		a.notef("connected to %s as %s; it has %d folders:", p.Host, p.Username, len(check.Folders))
		check.print(a.stderr)
	}
	if signIn {
		a.notef("added %s; next: imapsync provider auth %s", p.Name, p.ID)
	} else {
		a.notef("added %s; next: imapsync run --provider %s", p.Name, p.ID)
	}
	a.printf("%s\n", p.ID)
	return nil
}

// storeProvider tests a new provider, unless a person has to sign in first, and
// stores it.
func (a *app) storeProvider(ctx context.Context, c *credentials, p *db.Provider, noTest bool, by string) (check *providerCheck, err error) {
	if err := taken(c.store.MayStore(ctx, p), p); err != nil {
		return nil, err
	}
	if !noTest && !needsPerson(p) {
		if check, err = a.checkWith(ctx, c, p); err != nil {
			return nil, withMore(err, "nothing was stored: --no-test stores it anyway")
		}
		p.Status = db.StatusConnected
	}
	sealed, _, err := c.seal(ctx, p, p.CreatedAt)
	if err != nil {
		return nil, err
	}
	detail := db.Detail{"name": p.Name, "mailbox": p.Mailbox, "host": p.Host}
	return check, taken(c.store.AddProvider(ctx, p, sealed, audit(p, by, "provider_created", detail)), p)
}

// taken says what is to be done about a name or a mailbox that is there already;
// other errors stay as they are.
func taken(err error, p *db.Provider) error {
	if taken := nameTaken(err); taken != nil {
		return taken
	}
	if errors.Is(err, db.ErrExists) {
		return usageError("--mailbox: %w in tenant %s: `imapsync provider list` shows it, `imapsync provider set` changes it", err, p.Tenant)
	}
	return err
}

// nameTaken is the error of a name that another mailbox has; nil when err is
// about something else.
func nameTaken(err error) error {
	taken, ok := errors.AsType[*db.NameTakenError](err)
	if !ok {
		return nil
	}
	return usageError("--name: %w in this tenant: choose another, or call that one otherwise: `imapsync provider set %s --name NAME`", taken, taken.ID)
}

// addedProvider is what `add -o json` prints.
type addedProvider struct {
	providerView
	Check *providerCheck `json:"check,omitempty"`
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
				f.apply(&is, f.onCommandLine)
				f.problems = append(f.problems, pw.check(a.stdin)...)
				if is.AuthType == db.AuthOAuth2 && pw.any() {
					f.wrong("password-file", "a mailbox with --auth oauth2 has no password")
				}
				g := f.oauth.read(&f, &is, f.onCommandLine)
				g.password = f.passwordFromFile(ctx, a, &pw)
				if err := f.err(&is); err != nil {
					return err
				}
				changed := changedFields(was, &is)
				unchanged := len(changed) == 0 && !pw.any() && !g.any()
				if unchanged && f.given() {
					a.notef("%s: already so", was.Name)
					return nil
				}
				if unchanged {
					return usageError("%s: nothing to change: give the settings to change, see `%s --help`", cmd.CommandPath(), cmd.CommandPath())
				}
				if pw.any() && g.password.IsZero() {
					var err error
					if g.password, err = pw.read(ctx, a, fmt.Sprintf("Password of %s at %s: ", is.Username, is.Host)); err != nil {
						return err
					}
				}
				c, err := a.credentials(store)
				if err != nil {
					return err
				}
				c.given = g
				return a.changeProvider(ctx, c, &is, changed, noTest)
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

// connectionFields are the settings that a test of the connection proves.
var connectionFields = [...]string{"host", "port", "tls", "ca-file", "tls-server-name", "auth", "username", "eager-login", "folder",
	"oauth-preset", "oauth-flow", "oauth-client-id", "oauth-token-url", "oauth-scopes", "oauth-tenant"}

// signInFields are the settings that a person's consent is bound to: when one
// changes, what was granted is worth nothing and there is nothing to test.
var signInFields = [...]string{"auth", "oauth-preset", "oauth-flow", "oauth-client-id", "oauth-token-url", "oauth-scopes", "oauth-tenant"}

// needsPerson reports whether somebody has to sign in before p can be read.
func needsPerson(p *db.Provider) bool {
	return p.AuthType == db.AuthOAuth2 && oauth.Flow(p.OAuthFlow).NeedsPerson()
}

// signInAgain reports whether a change makes what a person granted worthless.
func signInAgain(p *db.Provider, changed []string) bool {
	return needsPerson(p) && slices.ContainsFunc(changed, func(field string) bool { return slices.Contains(signInFields[:], field) })
}

// updateProvider tests a changed provider, where the change concerns the
// connection, and stores it. It returns the names of all that changed.
func (a *app) updateProvider(ctx context.Context, c *credentials, p *db.Provider, changed []string, noTest bool, by string) ([]string, error) {
	test := c.given.any() || slices.ContainsFunc(changed, func(field string) bool {
		return slices.Contains(connectionFields[:], field)
	})
	if c.given.any() {
		if err := c.canKeep(); err != nil {
			return nil, err
		}
	}
	if err := taken(c.store.MayStore(ctx, p), p); err != nil {
		return nil, err
	}
	if test && !noTest && !signInAgain(p, changed) {
		if _, err := a.checkWith(ctx, c, p); err != nil {
			return nil, withMore(err, "nothing was changed: --no-test stores it anyway")
		}
	}
	sealed, words, err := c.seal(ctx, p, time.Now().UTC())
	if err != nil {
		return nil, err
	}
	changed = append(changed, words...)
	err = c.store.UpdateProvider(ctx, p, sealed, audit(p, by, "provider_changed", db.Detail{"fields": strings.Join(changed, ", ")}))
	if taken := nameTaken(err); taken != nil {
		return nil, taken
	}
	if errors.Is(err, db.ErrExists) && sealed == nil {
		return nil, usageError("--mailbox: %w in tenant %s", err, p.Tenant)
	}
	return changed, err
}

func (a *app) changeProvider(ctx context.Context, c *credentials, p *db.Provider, changed []string, noTest bool) error {
	signIn := signInAgain(p, changed)
	changed, err := a.updateProvider(ctx, c, p, changed, noTest, actor())
	if err != nil {
		return err
	}
	a.notef("changed %s: %s", p.Name, strings.Join(changed, ", "))
	if p.TLS == db.TLSNone && slices.Contains(changed, "tls") {
		a.notef("warning: --tls none sends the password and all mail unencrypted")
	}
	if signIn {
		a.notef("next: imapsync provider auth %s", p.ID)
	}
	if p.PausedAt != nil {
		a.notef("it is paused (%s): `imapsync provider resume %s` goes on", p.PauseReason, p.ID)
	}
	return nil
}
