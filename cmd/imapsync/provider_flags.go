package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imapsync/db"
	"imapsync/provider"
)

// providerFlags are the settings of a provider on the command line.
type providerFlags struct {
	flags    *pflag.FlagSet
	folders  []string
	typed    map[string]bool // on the command line, not from the environment
	problems []db.Problem
	files    []error // files that cannot be used
	oauth    oauthFlags
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

func (f *providerFlags) add(cmd *cobra.Command) {
	f.flags = cmd.Flags()
	for _, flag := range []struct{ name, kind, usage string }{
		{"name", "string", "what to call it, once in a tenant (default: the mailbox)"},
		{"mailbox", "address", "address of the mailbox, once in a tenant"},
		{"host", "string", "IMAP server"},
		{"port", "int", "its port (default: 993, or 143 with --tls starttls or none)"},
		{"tls", "string", "implicit, starttls, or none for plaintext (default: implicit)"},
		{"ca-file", "file", "PEM file of the authority that signed the server's certificate (default: the system's)"},
		{"tls-server-name", "string", "name in the server's certificate (default: the host)"},
		{"auth", "string", "how to log in: password or oauth2 (default: password)"},
		{"username", "string", "whom to log in as (default: the mailbox)"},
		{"eager-login", "bool", "log in before the server has greeted: a round trip less, for servers that keep what comes early, such as Dovecot"},
		{"max-emails-per-sync", "int", "messages downloaded in one pass, all folders together (default: 50)"},
		{"start", "string", "what to take at first: recent, all, none, since:30d or since:2026-01-31 (default: recent)"},
		{"defaults-id", "uuid", "goes into each event as inboundDefaultsId"},
		{"connect-timeout", "duration", "TCP and TLS handshake, for this provider alone (default: the run's)"},
		{"command-timeout", "duration", "silence of the server while it works, likewise"},
		{"literal-timeout", "duration", "silence within a message body, likewise"},
		{"pass-timeout", "duration", "one pass, likewise"},
		{"max-message-bytes", "int", "larger messages go out as headers only, likewise"},
		{"max-attachment-bytes", "int", "largest attachment kept, likewise"},
		{"max-attachments-total-bytes", "int", "attachments kept of one message, together, likewise"},
		{"max-attachments", "int", "number of attachments kept of one message, likewise"},
		{"max-bytes-per-day", "int", "a pass ends when it has downloaded so much since midnight UTC (0: no quota)"},
	} {
		f.flags.Var(&textValue{kind: flag.kind}, flag.name, flag.usage)
	}
	f.flags.Lookup("eager-login").NoOptDefVal = "true"
	f.oauth.add(f.flags)
	f.flags.StringArrayVar(&f.folders, "folder", nil, "`folder` to read, * and % are wildcards (repeatable; default: INBOX)")
	f.typed = typedFlags(cmd)
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

// ownFlags stand for what the run has flags of the same name for: what the
// environment says is meant for that, and not to be stored.
var ownFlags = [...]string{"connect-timeout", "command-timeout", "literal-timeout", "pass-timeout",
	"max-message-bytes", "max-attachment-bytes", "max-attachments-total-bytes", "max-attachments"}

func (f *providerFlags) onCommandLine(flag string) bool { return f.typed[flag] }

// given reports whether any setting is on the command line.
func (f *providerFlags) given() bool {
	for flag := range f.typed {
		if flag != "tenant" && flag != "no-test" && f.flags.Lookup(flag) != nil {
			return true
		}
	}
	return false
}

// forNew reports whether a flag counts when a provider is added.
func (f *providerFlags) forNew(flag string) bool {
	return f.typed[flag] || f.flags.Changed(flag) && !slices.Contains(ownFlags[:], flag)
}

// apply puts the flags that count into p, and what is wrong with them into f.
func (f *providerFlags) apply(p *db.Provider, counts func(flag string) bool) {
	text := func(flag string, to *string) {
		if counts(flag) {
			*to = f.flags.Lookup(flag).Value.String()
		}
	}
	number := func(flag string, set func(n int64)) {
		var s string
		if text(flag, &s); s == "" {
			return
		}
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || int64(int(n)) != n {
			f.wrong(flag, "%q is not a number, or too large", s)
			return
		}
		set(n)
	}
	millis := func(flag string, to *int) {
		var s string
		if text(flag, &s); s == "" {
			return
		}
		d, err := time.ParseDuration(s)
		if err != nil {
			f.wrong(flag, "%q is not a duration like 10s or 2m", s)
			return
		}
		*to = int(d.Milliseconds())
		if d > 0 && *to == 0 {
			*to = 1 // not the default: too short, as the checks will say
		}
	}
	text("name", &p.Name)
	text("mailbox", &p.Mailbox)
	text("host", &p.Host)
	oldPort := provider.DefaultPort(p.TLS)
	text("tls", (*string)(&p.TLS))
	if p.Port == oldPort {
		p.Port = provider.DefaultPort(p.TLS) // follows --tls unless it was chosen
	}
	number("port", func(n int64) { p.Port = int(n) })
	text("tls-server-name", &p.TLSServerName)
	text("auth", &p.AuthType)
	text("username", &p.Username)
	var eager string
	if text("eager-login", &eager); eager != "" {
		var err error
		if p.EagerLogin, err = strconv.ParseBool(eager); err != nil {
			f.wrong("eager-login", "%q: use true or false", eager)
		}
	}
	f.applyOAuth(p, counts)
	number("max-emails-per-sync", func(n int64) { p.MaxEmailsPerSync = int(n) })
	text("start", &p.Start)
	text("defaults-id", &p.DefaultsID)
	if id, err := uuid.Parse(p.DefaultsID); err == nil {
		p.DefaultsID = id.String()
	}
	millis("connect-timeout", &p.ConnectTimeoutMS)
	millis("command-timeout", &p.CommandTimeoutMS)
	millis("literal-timeout", &p.LiteralTimeoutMS)
	millis("pass-timeout", &p.PassTimeoutMS)
	number("max-message-bytes", func(n int64) { p.MaxMessageBytes = n })
	number("max-bytes-per-day", func(n int64) { p.MaxBytesPerDay = n })
	number("max-attachment-bytes", func(n int64) { p.MaxAttachment = n })
	number("max-attachments-total-bytes", func(n int64) { p.MaxAttachments = n })
	number("max-attachments", func(n int64) { p.MaxAttachmentN = int(n) })
	if counts("folder") {
		p.Folders = f.folders
		if len(f.folders) == 1 && f.folders[0] == "" {
			p.Folders = nil // --folder "" goes back to INBOX
		}
	}
	var caFile string
	text("ca-file", &caFile)
	switch {
	case caFile != "":
		pem, err := readCA(caFile)
		if err != nil {
			f.files = append(f.files, fmt.Errorf("--ca-file %s: %w", caFile, err))
			return
		}
		p.CAPEM = pem
	case counts("ca-file"):
		p.CAPEM = ""
	}
}

// maxCABytes bounds a CA file.
const maxCABytes = 1 << 20

func readCA(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", errors.Unwrap(err)
	}
	defer f.Close()
	pem, err := io.ReadAll(io.LimitReader(f, maxCABytes+1))
	switch {
	case err != nil:
		return "", errors.Unwrap(err)
	case len(pem) > maxCABytes:
		return "", fmt.Errorf("larger than %d bytes", maxCABytes)
	case !x509.NewCertPool().AppendCertsFromPEM(pem):
		return "", errors.New("it holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)")
	}
	return string(pem), nil
}

func (f *providerFlags) wrong(flag, format string, args ...any) {
	f.problems = append(f.problems, db.Problem{Field: flag, Message: fmt.Sprintf(format, args...)})
}

// err is everything that is wrong, a line each: with the flags themselves,
// with the settings of p that come of them, and with files.
func (f *providerFlags) err(p *db.Provider) error {
	var lines []error
	for _, problem := range f.all(p) {
		lines = append(lines, fmt.Errorf("%s: %s", f.origin(problem.Field), provider.OneLine(problem.Message)))
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

// all are the problems with the flags and with the settings of p, one a flag.
func (f *providerFlags) all(p *db.Provider) []db.Problem {
	problems := slices.Clone(f.problems)
	for _, problem := range p.Validate() {
		said := func(other db.Problem) bool { return other.Field == problem.Field }
		if !slices.ContainsFunc(f.problems, said) {
			problems = append(problems, problem)
		}
	}
	return problems
}

// origin names where a setting came from.
func (f *providerFlags) origin(flag string) string {
	if fl := f.flags.Lookup(flag); fl != nil && fl.Changed && !f.typed[flag] {
		return environmentName(flag)
	}
	return "--" + flag
}
