package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/event"
	"imapsync/parse"
	"imapsync/provider"
	"imapsync/publish"
)

func newEvents(a *app) *cobra.Command {
	return group(&cobra.Command{Use: "events", Short: "Read the stream of events"}, newEventsTail(a))
}

func newEventsTail(a *app) *cobra.Command {
	var named string
	var all bool
	var idle time.Duration
	var count int
	cmd := &cobra.Command{
		Use: "tail", Short: "Show events as they arrive, until Ctrl-C",
		Long:    "Show events as they arrive. It reads for itself alone: nothing is acknowledged, and no\nconsumer misses anything by it.",
		Example: "  imapsync events tail --all --idle 1s\n  imapsync events tail --provider support -o json | jq .payload.emailData.subject",
		Args:    noArgs,
		PreRunE: func(*cobra.Command, []string) error {
			return usage(zeroOr("idle", idle, tick), atLeast("count", count, 0))
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			ref, err := a.providerRef(ctx, named)
			if err != nil {
				return err
			}
			nc, err := a.openNATS(ctx)
			if err != nil {
				return err
			}
			defer nc.Close()
			sub, err := event.Subscribe(ctx, nc, event.SubscribeOptions{Tenant: ref.Tenant, ProviderID: ref.ID, NewOnly: !all, Idle: idle})
			if err != nil {
				return err
			}
			shown := 0
			for rec, err := range sub.Events(ctx) {
				if bad, ok := errors.AsType[*event.DecodeError](err); ok {
					a.log.Warn("event_unreadable", "error", bad.Error())
					continue
				}
				if err != nil && (ctx.Err() != nil || errors.Is(err, context.Canceled)) {
					return nil // Ctrl-C is an ordinary end
				}
				if err == nil {
					err = a.printEvent(rec.Event)
				}
				if shown++; err != nil || shown == count {
					return err
				}
			}
			return nil
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&named, "provider", "", "only of this provider, by name or id")
	fs.BoolVar(&all, "all", false, "begin with what is on the stream already")
	fs.DurationVar(&idle, "idle", 0, "end when nothing came for so long (0: never)")
	fs.IntVar(&count, "count", 0, "end after so many events (0: never)")
	a.tenantFlag(cmd)
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) printEvent(e *event.Event) error {
	if a.json() {
		return a.printJSONLine(e)
	}
	mail := e.Payload.EmailData
	folder := ""
	if mail.IMAP != nil {
		folder = mail.IMAP.Folder
	}
	a.printf("%s  %-24s  %-30s  %s", moment(&e.Timestamp), provider.OneLine(folder), mail.From.Email, provider.OneLine(mail.Subject))
	if n := len(mail.Attachments); n > 0 {
		a.printf("  [%d attachments]", n)
	}
	a.printf("\n")
	return nil
}

// providerRef finds what events are narrowed to. The database is asked only for
// a name, or an id without its tenant.
func (a *app) providerRef(ctx context.Context, nameOrID string) (found db.Ref, err error) {
	if id, err := uuid.Parse(nameOrID); err == nil && a.tenant != "" {
		return db.Ref{Tenant: a.tenant, ID: id.String()}, nil
	}
	if nameOrID == "" {
		return db.Ref{Tenant: a.tenant}, nil
	}
	err = a.withStore(ctx, func(store *db.Store) (err error) {
		found, err = a.only(ctx, store, nameOrID)
		return err
	})
	return found, err
}

func newBlob(a *app) *cobra.Command {
	return group(&cobra.Command{Use: "blob", Short: "Read attachments and raw mail"}, &cobra.Command{
		Use: "get KEY", Short: "Write a blob to standard output",
		Long:    "Write an attachment or a raw mail to standard output. KEY is blob.key of an event. The bytes\nare checked against the SHA-256 in the key: on a mismatch the command fails.",
		Example: "  imapsync blob get 0000…/7f3c…/9f86d0… > invoice.pdf",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError("blob get takes one KEY, as in an event's blob.key")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := a.service(nil).OpenBlob(cmd.Context(), args[0])
			if errors.Is(err, event.ErrBlob) {
				err = usageError("%w: KEY is blob.key of an event, whole", err)
			}
			return a.copyOut(r, err)
		},
	})
}

func (a *app) copyOut(r io.ReadCloser, err error) error {
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := io.Copy(a.stdout, r); errors.Is(err, context.Canceled) {
		return err
	} else if err != nil {
		return &exitError{exitFailed, err}
	}
	return nil
}

func newParse(a *app) *cobra.Command {
	var defects bool
	cmd := &cobra.Command{
		Use:   "parse [FILE|DIR|-]…",
		Short: "Print what the event says of a mail, without any server",
		Long: "Print the emailData of the event as JSON, one line a message. It reads files, mbox files,\n" +
			"all files of a directory, and standard input for - or without an argument. A file that\n" +
			"cannot be read is named, the others are read, and the exit code is 1.",
		Example: "  imapsync parse mail.eml | jq .subject\n  imapsync parse --defects inbox.mbox",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"-"}
			}
			var failed []error
			for _, arg := range args {
				failed = append(failed, a.parseArgument(arg, defects))
			}
			if err := errors.Join(failed...); err != nil {
				return &exitError{exitFailed, err}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&defects, "defects", false, "list what is wrong with each mail instead, for people")
	return cmd
}

func (a *app) parseArgument(arg string, defects bool) error {
	if arg == "-" {
		raw, err := io.ReadAll(a.stdin)
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		return a.parseBytes("standard input", raw, defects)
	}
	var failed []error
	_ = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error { // it goes on whatever fails
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = fmt.Errorf("%s: %w", path, pe.Err)
		}
		if err == nil && !d.IsDir() {
			var raw []byte
			if raw, err = os.ReadFile(path); err == nil { //nolint:gosec // reading the named files is what the command is for
				err = a.parseBytes(path, raw, defects)
			}
		}
		failed = append(failed, err)
		return nil
	})
	return errors.Join(failed...)
}

func (a *app) parseBytes(name string, raw []byte, defects bool) error {
	for i, mail := range splitMbox(raw) {
		m := parse.Parse(mail, parse.Limits{})
		if defects {
			for _, d := range m.Defects {
				a.printf("%s: message %d: %s: %s\n", name, i+1, d.Code, provider.OneLine(d.Detail))
			}
		} else if err := a.printJSONLine(publish.EmailDataFrom(m, mail, publish.Limits{})); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// fromLine is the From_ line before a mail (RFC 4155): the first line of an
// mbox, or one behind an empty line of the mail before.
var fromLine = regexp.MustCompile(`(?:^|\n\n|\r\n\r\n)(From [^\n]*\n?)`)

// splitMbox parts an mbox at its From_ lines and takes the escape off lines that
// begin with >From. Anything else is one mail.
func splitMbox(raw []byte) [][]byte {
	if !bytes.HasPrefix(raw, []byte("From ")) {
		return [][]byte{raw}
	}
	var mails [][]byte
	lines := fromLine.FindAllSubmatchIndex(raw, -1)
	for i, line := range lines {
		end := len(raw)
		if i+1 < len(lines) {
			end = lines[i+1][2]
		}
		mails = append(mails, bytes.ReplaceAll(raw[line[3]:end], []byte("\n>From "), []byte("\nFrom ")))
	}
	return mails
}
