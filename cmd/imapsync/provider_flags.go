package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"imapsync/db"
	"imapsync/oauth"
	"imapsync/provider"
	"imapsync/secret"
)

// providerFlags are the settings of a provider on the command line, and where
// the secrets of its OAuth2 come from.
type providerFlags struct {
	flags    *pflag.FlagSet
	folders  []string
	typed    map[string]bool // on the command line, not from the environment
	password []string        // the flags that say where it comes from
	noTest   bool
	same     bool // --same-account
	problems []provider.Problem
	files    []error // files that cannot be used
}

// textValue is a flag kept as it was given, so that everything that is wrong
// can be told at once.
type textValue struct {
	text string
	kind string // for --help
}

func (v *textValue) String() string     { return v.text }
func (v *textValue) Set(s string) error { v.text = s; return nil }
func (v *textValue) Type() string       { return v.kind }

// kindWords are what --help calls the kinds of settings.
var kindWords = [...]string{provider.Text: "string", provider.Address: "address", provider.Host: "string", provider.UUID: "uuid",
	provider.URL: "url", provider.Enum: "string", provider.Number: "int", provider.Bytes: "int", provider.Duration: "duration",
	provider.Bool: "bool", provider.Date: "date", provider.List: "list", provider.PEM: "file"}

// flagOf is the flag of a setting or a credential: what is long or secret comes
// from a file.
func flagOf(setting string) string {
	switch setting {
	case "ca", provider.Password, provider.ClientSecret, provider.ServiceAccount:
		return setting + "-file"
	}
	return setting
}

func asFlag(setting string) string { return "--" + flagOf(setting) }

func (f *providerFlags) add(cmd *cobra.Command) {
	f.flags = cmd.Flags()
	for _, t := range provider.Settings() {
		switch flag := flagOf(t.Name); {
		case t.NoFlag:
		case t.Kind == provider.List:
			f.flags.StringArrayVar(&f.folders, flag, nil, strings.Replace(t.Help, t.Name, "`"+t.Name+"`", 1)) // what --help calls it
		default:
			f.flags.Var(&textValue{kind: kindWords[t.Kind]}, flag, t.Help)
			if t.Kind == provider.Bool {
				f.flags.Lookup(flag).NoOptDefVal = "true"
			}
		}
	}
	f.flags.String(flagOf(provider.ClientSecret), "", "read the client secret from this `file`, which others must not be able to read")
	f.flags.String(flagOf(provider.ServiceAccount), "", "read the JSON key of a service account from this `file`, which others must not be able to read")
	f.flags.String("password-file", "", "read the password from this file, which others must not be able to read")
	f.flags.Bool("password-stdin", false, "read the password from standard input")
	f.flags.Bool("password-prompt", false, "ask for the password on the terminal")
	f.typed = typedFlags(cmd)
	f.flags.SortFlags = false
}

func (f *providerFlags) addTest(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.noTest, "no-test", false, "store it without testing the connection")
	cmd.Flags().BoolVar(&f.same, "same-account", false, "store it though another provider reads the same account: its mail is published twice")
}

// storing is how the provider is stored.
func (f *providerFlags) storing() provider.Storing {
	return provider.Storing{Test: !f.noTest, SameAccount: f.same}
}

// typedFlags are, once cmd runs, those of its flags that stand on the command
// line: it is asked before the environment fills in what was not given.
func typedFlags(cmd *cobra.Command) map[string]bool {
	typed := map[string]bool{}
	cmd.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		cmd.Flags().Visit(func(flag *pflag.Flag) { typed[flag.Name] = true })
		return cmd.Root().PersistentPreRunE(cmd, args)
	}
	return typed
}

func (f *providerFlags) onCommandLine(flag string) bool { return f.typed[flag] }

func (f *providerFlags) given() bool {
	for flag := range f.typed {
		if flag != "tenant" && flag != "no-test" && f.flags.Lookup(flag) != nil {
			return true
		}
	}
	return false
}

// forNew reports whether a flag counts when a provider is added. What the run
// has a flag of the same name for, the environment means for that.
func (f *providerFlags) forNew(flag string) bool {
	t := provider.Find(flag)
	return f.typed[flag] || f.flags.Changed(flag) && (t == nil || !t.OfRun())
}

// apply puts the flags that count into p, and what is wrong with them into f.
func (f *providerFlags) apply(p *db.Provider, counts func(flag string) bool, adding bool) {
	given := provider.Values{}
	for _, t := range provider.Settings() {
		flag := flagOf(t.Name)
		if t.NoFlag || !counts(flag) {
			continue
		}
		switch text := f.flags.Lookup(flag).Value.String(); {
		case t.Kind == provider.List:
			given[t.Name] = f.folders
		case t.Kind == provider.PEM && text != "":
			pem, err := provider.ReadPEM(text)
			if err != nil {
				f.files = append(f.files, fmt.Errorf("--%s %s: %w", flag, text, err))
				continue
			}
			given[t.Name] = []string{pem}
		default:
			given[t.Name] = []string{text}
		}
	}
	f.problems = append(f.problems, provider.Apply(p, given, adding)...)
}

// credentials reads those that count, but for a password that a person types or
// that is on standard input, so that their faults are told with all others.
func (f *providerFlags) credentials(ctx context.Context, a *app, p *db.Provider, counts func(flag string) bool) (in provider.CredentialInput) {
	oauth2 := p.AuthType == db.AuthOAuth2
	f.password = f.passwordFrom(counts)
	switch {
	case len(f.password) > 1:
		f.wrong(provider.Password, "give one of --password-file, --password-stdin and --password-prompt")
	case slices.Contains(f.password, "password-prompt") && !isTerminal(a.stdin):
		f.wrong("password-prompt", "standard input is not a terminal: use --password-file or --password-stdin")
	}
	if oauth2 && f.password != nil {
		f.wrong(provider.Password, "a mailbox with --auth oauth2 has no password")
	}
	if !oauth2 {
		names := []string{provider.ClientSecret, provider.ServiceAccount}
		for _, t := range provider.Settings() {
			if t.OAuth {
				names = append(names, t.Name)
			}
		}
		for _, name := range names {
			if f.onCommandLine(flagOf(name)) {
				f.wrong(name, "goes with --auth oauth2")
			}
		}
	}
	in = provider.CredentialInput{}
	for _, name := range []string{provider.ClientSecret, provider.ServiceAccount} {
		flag := flagOf(name)
		path := f.flags.Lookup(flag).Value.String()
		if !counts(flag) || path == "" {
			continue
		}
		v, err := secret.ReadFile(path)
		if err != nil {
			f.files = append(f.files, configError("--%s: %w", flag, err))
			continue
		}
		if in[name] = v; name == provider.ServiceAccount {
			if err := oauth.CheckServiceAccount(v); err != nil {
				f.files = append(f.files, fmt.Errorf("--%s %s: %w", flag, path, err))
			}
		}
	}
	switch {
	case !oauth2:
		clear(in)
	case p.Status == db.StatusConfiguring && p.RefreshedAt == nil:
		f.problems = append(f.problems, provider.MissingSecrets(p, counts(flagOf(provider.ServiceAccount)), counts(flagOf(provider.ClientSecret)))...)
	}
	if slices.Equal(f.password, []string{"password-file"}) {
		v, err := f.readPassword(ctx, a, p)
		if err != nil {
			f.files = append(f.files, err)
		}
		in.Give(provider.Password, v)
	}
	return in
}

func (f *providerFlags) wrong(setting, format string, args ...any) {
	f.problems = append(f.problems, provider.Wrong(setting, format, args...))
}

// err is everything that is wrong, a line each: with the flags themselves,
// with the settings of p that come of them, and with files.
func (f *providerFlags) err(p *db.Provider) error {
	var lines []error
	for _, problem := range provider.Problems(p, f.problems) {
		lines = append(lines, fmt.Errorf("%s: %s", f.origin(flagOf(problem.Setting)), provider.OneLine(problem.Message(asFlag))))
	}
	code := exitUsage
	if len(lines) == 0 {
		code = exitConfig
	}
	if lines = append(lines, f.files...); len(lines) == 0 {
		return nil
	}
	return &exitError{code, errors.Join(lines...)}
}

func (f *providerFlags) origin(flag string) string {
	if fl := f.flags.Lookup(flag); fl != nil && fl.Changed && !f.typed[flag] {
		return environmentName(flag)
	}
	return "--" + flag
}

// passwordFrom are the flags that say where a password comes from and that count:
// none of the environment's when one is on the command line. A password is never
// in an argument, which every user of the machine can see.
func (f *providerFlags) passwordFrom(counts func(flag string) bool) (from []string) {
	for _, counts := range []func(flag string) bool{f.onCommandLine, counts} {
		for _, flag := range []string{"password-file", "password-stdin", "password-prompt"} {
			if given := f.flags.Lookup(flag).Value.String(); counts(flag) && given != "" && given != "false" {
				from = append(from, flag)
			}
		}
		if from != nil {
			break
		}
	}
	return from
}

// readPassword gets the password of p; a person is asked for it.
func (f *providerFlags) readPassword(ctx context.Context, a *app, p *db.Provider) (v secret.Value, err error) {
	from := "password"
	switch source := strings.Join(f.password, ""); source {
	case "password-file":
		from = "--" + source
		v, err = secret.ReadFile(f.flags.Lookup(source).Value.String())
	case "password-stdin":
		from = "--" + source
		v, err = secret.Read(a.stdin, "standard input")
	default:
		v, err = a.askPassword(ctx, fmt.Sprintf("Password of %s at %s: ", p.Username, p.Host))
	}
	switch {
	case ctx.Err() != nil:
		return secret.Value{}, ctx.Err()
	case err != nil:
		return secret.Value{}, configError("%s: %w", from, err)
	case strings.ContainsAny(v.Reveal(), "\r\n\x00"):
		return secret.Value{}, configError("%s: more than one line, or a NUL: a password is one line", from)
	}
	return v, nil
}

// askPassword asks on the terminal, without echo. An interrupt gives the
// terminal its echo back.
func (a *app) askPassword(ctx context.Context, prompt string) (secret.Value, error) {
	f, ok := a.stdin.(*os.File)
	if !ok {
		return secret.Value{}, errors.New("standard input is not a terminal")
	}
	fd := int(f.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return secret.Value{}, err
	}
	fmt.Fprint(a.stderr, prompt)
	defer fmt.Fprintln(a.stderr)
	text, err := await(ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	switch {
	case ctx.Err() != nil:
		return secret.Value{}, errors.Join(ctx.Err(), term.Restore(fd, before))
	case err != nil:
		return secret.Value{}, err
	case len(text) == 0:
		return secret.Value{}, secret.ErrEmpty
	}
	return secret.New(string(text)), nil
}
