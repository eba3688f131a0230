package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imapsync/provider"
	"imapsync/publish"
	mailsync "imapsync/sync"
)

func (a *app) tenantFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.tenant, "tenant", "", "look only in this tenant, a UUID (default: all tenants)")
}

// outputFlag adds -o, with what it may be; the first if it is not given.
func (a *app) outputFlag(cmd *cobra.Command, formats ...string) {
	last := len(formats) - 1
	choice := strings.TrimPrefix(strings.Join(formats[:last], ", ")+" or "+formats[last], " or ")
	cmd.Flags().StringVarP(&a.output, "output", "o", formats[0], choice)
	cmd.Flags().Lookup("output").Annotations = map[string][]string{"formats": formats}
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
}

// bounded is what a flag may be whose value can make no sense.
type bounded interface {
	int | int64 | time.Duration
}

// atLeast is what is wrong with a flag below its least.
func atLeast[T bounded](flag string, value, least T) error {
	if value < least {
		return fmt.Errorf("--%s %v: at least %v", flag, value, least)
	}
	return nil
}

// zeroOr is atLeast for a flag whose zero means something of its own.
func zeroOr[T bounded](flag string, value, least T) error {
	if value != 0 && value < least {
		return fmt.Errorf("--%s %v: 0, or at least %v", flag, value, least)
	}
	return nil
}

// tick is the least of a span that is waited for.
const tick = time.Millisecond

// usage makes one error of all that is wrong with the flags, a line each; nil
// when nothing is.
func usage(problems ...error) error {
	if err := errors.Join(problems...); err != nil {
		return &exitError{exitUsage, err}
	}
	return nil
}

// readFlags are those of every command that reads mail: how long a server may
// take, whatever the mailbox says.
type readFlags struct{ timeouts mailsync.Timeouts }

func (r *readFlags) add(fs *pflag.FlagSet) {
	fs.DurationVar(&r.timeouts.Connect, "connect-timeout", 0, "TCP and TLS handshake (0: the provider's, else 10s)")
	fs.DurationVar(&r.timeouts.Command, "command-timeout", 0, "silence of a server while it works (0: the provider's, else 30s)")
	fs.DurationVar(&r.timeouts.Literal, "literal-timeout", 0, "silence within a message body (0: the provider's, else 1m)")
	fs.Int64Var(&r.timeouts.Rate, "min-body-rate", mailsync.DefaultMinBodyRate, "slowest download of a message, in bytes a second beyond the literal-timeout")
}

func (r *readFlags) check(others ...error) []error {
	return append(others,
		zeroOr("connect-timeout", r.timeouts.Connect, provider.MinTimeout),
		zeroOr("command-timeout", r.timeouts.Command, provider.MinTimeout),
		zeroOr("literal-timeout", r.timeouts.Literal, provider.MinTimeout),
		atLeast("min-body-rate", r.timeouts.Rate, 1))
}

// publishFlags are those of every command that publishes what it reads: what
// goes out of one mail, and how long the broker may take.
type publishFlags struct {
	readFlags

	message int64 // bytes
	options publish.PublisherOptions
}

func (p *publishFlags) add(fs *pflag.FlagSet) {
	l := &p.options.Limits
	fs.Int64Var(&p.message, "max-message-bytes", mailsync.DefaultMaxMessageBytes, "larger messages go out as headers only")
	fs.Int64Var(&l.AttachmentBytes, "max-attachment-bytes", 10<<20, "largest attachment kept")
	fs.Int64Var(&l.AttachmentTotalBytes, "max-attachments-total-bytes", 25<<20, "attachments kept of one message, together")
	fs.IntVar(&l.AttachmentCount, "max-attachments", 25, "attachments kept of one message")
	fs.Int64Var(&l.RawMIMEBytes, "max-raw-mime-bytes", 50<<20, "largest mail kept as it came, beside its attachments")
	fs.DurationVar(&p.options.Patience, "publish-timeout", publish.DefaultPatience, "give up if NATS acknowledges nothing for about this long")
	fs.IntVar(&p.options.Make.Replicas, "nats-replicas", 0, "copies of a stream or bucket that is made (0: three, one where NATS is no cluster)")
	p.readFlags.add(fs)
}

func (p *publishFlags) check(others ...error) []error {
	l := p.options.Limits
	return p.readFlags.check(append([]error{
		atLeast("max-message-bytes", p.message, 1),
		atLeast("max-attachment-bytes", l.AttachmentBytes, 1),
		atLeast("max-attachments-total-bytes", l.AttachmentTotalBytes, 1),
		atLeast("max-attachments", l.AttachmentCount, 1),
		atLeast("max-raw-mime-bytes", l.RawMIMEBytes, 1),
		atLeast("publish-timeout", p.options.Patience, time.Second), natsReplicas(p.options.Make.Replicas),
	}, others...)...)
}

// natsReplicas is what is wrong with --nats-replicas.
func natsReplicas(n int) error {
	if n < 0 || n > 5 {
		return fmt.Errorf("--nats-replicas %d: 0 to 5", n)
	}
	return nil
}

const sinceForms = "2026-01-31, or 30d or 48h ago"

// sinceTime reads --since, or another flag that takes the same.
func sinceTime(flag, value string, now time.Time) (time.Time, error) {
	t, err := provider.ParseSince(value, now)
	if err != nil {
		return t, fmt.Errorf("--%s: %w", flag, err)
	}
	return t, nil
}

// dateRange reads --since and --until as the days that mail servers know: until
// names the last one that is taken.
func dateRange(since, until string, now time.Time) (from, to time.Time, err error) {
	if since == "" {
		return from, to, usageError("--since is required: " + sinceForms)
	}
	if from, err = sinceTime("since", since, now); err != nil {
		return from, to, usage(err)
	}
	from = from.Truncate(provider.Day)
	if until == "" {
		return from, to, nil
	}
	if to, err = sinceTime("until", until, now); err != nil {
		return from, to, usage(err)
	}
	if to = to.Truncate(provider.Day); to.Before(from) {
		return from, to, usageError("--until %s is before --since %s", to.Format(time.DateOnly), from.Format(time.DateOnly))
	}
	return from, to.AddDate(0, 0, 1), nil
}
