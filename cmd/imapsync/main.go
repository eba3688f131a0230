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
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
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
			fmt.Fprintf(stderr, "imapsync: internal error: %v\nPlease report it with the command you ran.\n", v)
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
	if err != nil {
		if msg := a.message(err); msg != "" {
			fmt.Fprintf(stderr, "imapsync: %s\n", msg)
		}
	}
	return exitCode(err)
}

// newRoot makes the command tree.
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
	a.addCompletion(root)
	return root
}

// flagFault says what is wrong with a flag, and what is allowed.
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
