package publish

import (
	"slices"

	"imapsync/event"
)

// Limits bounds what of a mail goes into its event. A zero field takes the
// default named beside it; a negative one means none at all.
type Limits struct {
	AttachmentBytes      int64  // one attachment, decoded; 10 MiB
	AttachmentTotalBytes int64  // all of them; 25 MiB
	AttachmentCount      int    // 25
	RawMIMEBytes         int64  // the mail as it came, kept as a blob; 50 MiB
	InlineBytes          int64  // an attachment up to this is in the event as base64 too; none
	EventBytes           int    // the event's JSON, never more; 1 MiB less 17 KiB
	TargetBytes          int    // the event's JSON, bodies are cut to meet it; 256 KiB
	Bucket               string // object store of the blobs; imap-mail
}

const (
	kib = 1 << 10
	mib = 1 << 20

	// brokerReserve is kept free of the broker's largest message.
	brokerReserve = 16 * kib
	// headerReserve is what the message headers may take: less, since tenant and
	// provider are bounded.
	headerReserve = kib
	// minEventBytes is what fit needs to hold any mail whatsoever.
	minEventBytes = 32 * kib

	defaultMaxPayload = mib
)

func (l Limits) withDefaults() Limits {
	l.AttachmentBytes = orDefault(l.AttachmentBytes, 10*mib)
	l.AttachmentTotalBytes = orDefault(l.AttachmentTotalBytes, 25*mib)
	l.AttachmentCount = orDefault(l.AttachmentCount, 25)
	l.RawMIMEBytes = orDefault(l.RawMIMEBytes, 50*mib)
	l.InlineBytes = max(l.InlineBytes, 0)
	if l.EventBytes <= 0 {
		l.EventBytes = eventBytes(defaultMaxPayload)
	}
	l.EventBytes = max(l.EventBytes, minEventBytes)
	if l.TargetBytes <= 0 {
		l.TargetBytes = 256 * kib
	}
	l.TargetBytes = min(l.TargetBytes, l.EventBytes)
	if l.Bucket == "" {
		l.Bucket = event.DefaultBucket
	}
	return l
}

func orDefault[T int | int64](v, def T) T {
	switch {
	case v == 0:
		return def
	case v < 0:
		return 0
	}
	return v
}

// eventBytes is how long an event's JSON may be where the smallest of limits
// (bytes, those of 0 and below are none) is the largest message taken.
func eventBytes(limits ...int64) int {
	limits = slices.DeleteFunc(limits, func(n int64) bool { return n <= 0 })
	return int(slices.Min(limits)) - brokerReserve - headerReserve
}
