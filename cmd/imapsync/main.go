// Command imapsync turns mailboxes into events: it reads new mail over IMAP and
// publishes each message once to NATS JetStream.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/fault"
	"imapsync/provider"
	"imapsync/publish"
	"imapsync/secret"
	mailsync "imapsync/sync"
)

func main() {
	os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// Main runs the command line and returns its exit code. The first SIGINT or
// SIGTERM asks for an orderly end, the second ends the process at once, which
// is as safe as kill -9 is.
func Main(args []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		if v := recover(); v != nil {
			// No stack trace: it may hold what a server or a mail said.
			fmt.Fprintf(stderr, "imapsync: internal error: %v\nThis is a bug: please report it with the command you ran and what `imapsync version` prints.\n", v)
			code = exitBug
		}
	}()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from here a second signal has its default effect
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := newRoot(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if _, told := errors.AsType[*exitError](err); !told && ctx.Err() != nil && !errors.Is(err, mailsync.ErrStopped) {
		err = &exitError{exitTempfail, fmt.Errorf("%w: %w", mailsync.ErrStopped, err)}
	}
	code, msg := exitCode(err), a.message(err)
	if code == exitBug && !strings.Contains(msg, isBug) {
		msg = fault.Ended(msg, isBug)
	}
	if msg != "" {
		fmt.Fprintf(stderr, "imapsync: %s\n", msg)
	}
	return code
}

func newRoot(a *app) *cobra.Command {
	root := group(&cobra.Command{
		Use:   "imapsync",
		Short: "Turn mailboxes into events: new mail over IMAP, each message once, to NATS JetStream",
		Long: "imapsync reads new mail over IMAP, parses it, publishes each message once as\n" +
			"INBOUND_EMAIL_RECEIVED to NATS JetStream and keeps its place in Postgres.\n\n" + exitCodesHelp +
			"\nEvery flag has an environment variable: IMAPSYNC_ and the flag's name in capitals\n" +
			"(--max-message-bytes: IMAPSYNC_MAX_MESSAGE_BYTES), but for DATABASE_URL,\n" +
			"LOCK_DATABASE_URL, NATS_URL and NATS_CREDS.",
		Version:           version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRunE: a.prepare,
	})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageError("%s: see `%s --help`", flagFault(err), cmd.CommandPath())
	})
	a.globalFlags(root.PersistentFlags())
	root.AddGroup(
		&cobra.Group{ID: "job", Title: "The job:"},
		&cobra.Group{ID: "setup", Title: "Setting up:"},
		&cobra.Group{ID: "look", Title: "Looking:"},
		&cobra.Group{ID: "repair", Title: "Checking and repairing:"},
	)
	add := func(group string, cmds ...*cobra.Command) {
		for _, cmd := range cmds {
			cmd.GroupID = group
			root.AddCommand(cmd)
		}
	}
	add("job", newRun(a))
	add("setup", newMigrate(a), newMaintain(a), newSecret(a), newProvider(a), newWeb(a))
	add("look", newStatus(a), newAudit(a), newRuns(a), newExporter(a), newParse(a), newEvents(a), newBlob(a))
	add("repair", newQuarantine(a), newReconcile(a), newDoctor(a), newBackfill(a), newVerify(a))
	root.AddCommand(newVersion(a), newMan(a))
	a.bound(root)
	a.addCompletion(root)
	return root
}

func flagFault(err error) string {
	invalid, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err.Error()
	}
	want := map[string]string{
		"duration": "not a duration like 10s or 2m", "int": "not a whole number, or too large", "int64": "not a whole number, or too large",
		"uint16": "not a whole number from 0 to 65535", "bool": "use true or false",
	}[invalid.GetFlag().Value.Type()]
	if want == "" {
		return err.Error()
	}
	return fmt.Sprintf("--%s %q: %s", invalid.GetFlag().Name, invalid.GetValue(), want)
}

// The exit codes, after sysexits.h where that has one.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 64
	exitUnavailable = 69
	exitBug         = 70
	exitTempfail    = 75
	exitSchema      = 76
	exitConfig      = 78
)

// exitCodesPointer ends the help of commands with few codes of their own.
const exitCodesPointer = "\n\nExit codes: `imapsync --help`."

const exitCodesHelp = `Exit codes:
  0   done; providers that failed are rows, metrics and log lines
  1   a provider failed and --fail-on any asked for it; an input could not be read;
      reconcile, verify or doctor found something wrong
  64  usage: a flag or an argument is wrong
  69  Postgres or NATS is unreachable, takes no writes or is full, or the stream that was there is gone
  70  a bug: the log says what to report
  75  nothing could be done now: the provider is busy or paused, the deadline came
      first, or every provider failed; or a command was told to stop before it was
      done, and says where: a run that is told to stop ends with 0
  76  the schema is older or newer than this binary
  78  configuration: a setting, a file or a key is missing or wrong
`

// exitError is an error that has its exit code already.
type exitError struct {
	code int
	err  error // nil: nothing more to say
}

func (e *exitError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

func usageError(format string, args ...any) error {
	return &exitError{exitUsage, fmt.Errorf(format, args...)}
}

func configError(format string, args ...any) error {
	return &exitError{exitConfig, fmt.Errorf(format, args...)}
}

func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if code, ok := knownExit(err); ok {
		return code
	}
	class, _ := mailsync.Classify(err)
	return exitOf(class)
}

// knownExit is the exit code of an error that is not about one mailbox.
func knownExit(err error) (code int, ok bool) {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code, true
	}
	if _, ok := errors.AsType[*secret.FileError](err); ok {
		return exitConfig, true
	}
	switch {
	case errors.Is(err, db.ErrStatement), fault.Has(err, fault.Bug):
		return exitBug, true
	case errors.Is(err, db.ErrSchema):
		return exitSchema, true
	case errors.Is(err, db.ErrUnreachable), errors.Is(err, db.ErrReadOnly), errors.Is(err, db.ErrServer),
		errors.Is(err, event.ErrUnreachable), errors.Is(err, event.ErrTimeout), errors.Is(err, publish.ErrStreamFull),
		errors.Is(err, publish.ErrGone), errors.Is(err, secret.ErrUnavailable):
		return exitUnavailable, true
	case errors.Is(err, db.ErrConfig), errors.Is(err, db.ErrPooler), errors.Is(err, event.ErrConfig),
		errors.Is(err, event.ErrStream), errors.Is(err, event.ErrNoJetStream),
		errors.Is(err, secret.ErrSettings), errors.Is(err, secret.ErrAbsent), errors.Is(err, secret.ErrUnknownKey), errors.Is(err, secret.ErrNotAuthentic), errors.Is(err, secret.ErrEnvelope):
		return exitConfig, true
	case errors.Is(err, db.ErrNotFound), errors.Is(err, db.ErrAmbiguous), errors.Is(err, db.ErrExists):
		return exitUsage, true
	case errors.Is(err, provider.ErrBusy), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return exitTempfail, true
	}
	return 0, false
}

// stopped is the error of a command that was told to stop, or met its bound, before it
// had done what it was asked: where says how far it came.
func stopped(ctx context.Context, where string) error {
	cause := context.Cause(ctx)
	if errors.Is(cause, context.Canceled) {
		cause = mailsync.ErrStopped
	}
	return &exitError{exitTempfail, fmt.Errorf("%w %s", cause, where)}
}

// exitOf is the exit code of an error about one mailbox.
func exitOf(class fault.Class) int {
	switch class {
	case fault.Auth, fault.Config:
		return exitConfig
	case fault.Bug:
		return exitBug
	case fault.Ours, fault.Transient, fault.Message:
	}
	return exitTempfail
}
