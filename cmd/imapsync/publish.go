package main

import (
	"time"

	"github.com/spf13/pflag"

	"imapsync/publish"
	mailsync "imapsync/sync"
)

// publishFlags are those of every command that publishes: what goes out of one
// mail, and how long the broker may take.
type publishFlags struct {
	message  int64 // bytes
	limits   publish.Limits
	patience time.Duration
}

func (p *publishFlags) add(fs *pflag.FlagSet) {
	fs.Int64Var(&p.message, "max-message-bytes", mailsync.DefaultMaxMessageBytes, "larger messages go out as headers only")
	fs.Int64Var(&p.limits.AttachmentBytes, "max-attachment-bytes", 10<<20, "largest attachment kept")
	fs.Int64Var(&p.limits.AttachmentTotalBytes, "max-attachments-total-bytes", 25<<20, "attachments kept of one message, together")
	fs.IntVar(&p.limits.AttachmentCount, "max-attachments", 25, "attachments kept of one message")
	fs.Int64Var(&p.limits.RawMIMEBytes, "max-raw-mime-bytes", 50<<20, "largest mail kept as it came, beside its attachments")
	fs.DurationVar(&p.patience, "publish-timeout", publish.DefaultPatience, "give up if NATS acknowledges nothing for about this long")
}

// options are those of the publisher.
func (p *publishFlags) options() publish.PublisherOptions {
	return publish.PublisherOptions{Limits: p.limits, Patience: p.patience}
}

// check is what is wrong with the flags.
func (p *publishFlags) check() []error {
	return []error{
		atLeast("max-message-bytes", p.message, 1),
		atLeast("max-attachment-bytes", p.limits.AttachmentBytes, 1),
		atLeast("max-attachments-total-bytes", p.limits.AttachmentTotalBytes, 1),
		atLeast("max-attachments", p.limits.AttachmentCount, 1),
		atLeast("max-raw-mime-bytes", p.limits.RawMIMEBytes, 1),
		atLeast("publish-timeout", p.patience, time.Second),
	}
}
