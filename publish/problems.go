package publish

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

// Problem is something about the stream or the bucket that is not as events
// need it.
type Problem struct {
	Fatal bool // events cannot be published at all
	What  string
	Fix   string
}

func (p Problem) String() string { return p.What + ": " + p.Fix }

// StreamProblems says what is wrong with a stream for our events; nothing for
// one that EnsureStream made.
func StreamProblems(cfg jetstream.StreamConfig) []Problem {
	var ps []Problem
	add := func(fatal bool, what, fix string) { ps = append(ps, Problem{fatal, what, fix}) }
	if !covered(cfg.Subjects) {
		add(true, fmt.Sprintf("stream %s listens on %s, which does not take in %s", cfg.Name, strings.Join(cfg.Subjects, ", "), event.Subjects),
			"nats stream edit "+cfg.Name+" --subjects '"+event.Subjects+"'")
	}
	if cfg.NoAck {
		add(true, "stream "+cfg.Name+" does not acknowledge", "make it again without --no-ack")
	}
	if cfg.Mirror != nil {
		add(true, "stream "+cfg.Name+" is a mirror and takes no messages", "publish to "+cfg.Mirror.Name)
	}
	if cfg.Sealed {
		add(true, "stream "+cfg.Name+" is sealed", "make it again")
	}
	if cfg.SubjectTransform != nil {
		add(true, "stream "+cfg.Name+" rewrites subjects, so it cannot refuse a second publish", "take the subject transform off")
	}
	switch cfg.Retention {
	case jetstream.WorkQueuePolicy:
		add(false, "stream "+cfg.Name+" is a work queue: it forgets an event once a consumer has it, and cannot refuse a second publish",
			"make it again with --retention limits")
	case jetstream.InterestPolicy:
		add(false, "stream "+cfg.Name+" keeps events by interest: without a consumer they are lost, and a second publish is not refused",
			"make it again with --retention limits")
	}
	if cfg.DiscardNewPerSubject {
		add(false, "stream "+cfg.Name+" discards new messages per subject: a duplicate looks like a full stream",
			"nats stream edit "+cfg.Name+" without --discard-per-subject")
	}
	if cfg.Storage == jetstream.MemoryStorage {
		add(false, "stream "+cfg.Name+" is in memory: a restart of nats-server loses it", "make it again with --storage file")
	}
	if cfg.MaxMsgSize > 0 && eventBytes(int64(cfg.MaxMsgSize)) < minEventBytes {
		add(true, fmt.Sprintf("stream %s takes messages of %d bytes only", cfg.Name, cfg.MaxMsgSize), tooSmallFix("nats stream edit "+cfg.Name+" --max-msg-size"))
	}
	return ps
}

// BucketProblems says what is wrong with the stream of a bucket, OBJ_ and its
// name, for the blobs of the events on the stream of ours.
func BucketProblems(bucket, ours jetstream.StreamConfig) []Problem {
	var ps []Problem
	name := strings.TrimPrefix(bucket.Name, "OBJ_")
	if bucket.MaxAge > 0 && (ours.MaxAge == 0 || bucket.MaxAge < ours.MaxAge+blobSpare) {
		age := ours.MaxAge + blobMargin
		if ours.MaxAge == 0 {
			age = 0 // for ever
		}
		ps = append(ps, Problem{
			What: fmt.Sprintf("bucket %s keeps blobs for %v, and stream %s events for longer or nearly as long (%v)", name, bucket.MaxAge, ours.Name, ours.MaxAge),
			Fix:  fmt.Sprintf("nats stream edit %s --max-age %v", bucket.Name, age),
		})
	}
	if bucket.Storage == jetstream.MemoryStorage {
		ps = append(ps, Problem{What: "bucket " + name + " is in memory: a restart of nats-server loses it", Fix: "make it again with --storage file"})
	}
	return ps
}

func tooSmallFix(option string) string {
	return fmt.Sprintf("%s=65536 or more", option)
}

// covered reports whether every subject of ours is one of subjects.
func covered(subjects []string) bool {
	return slices.ContainsFunc(subjects, func(s string) bool { return subsumes(s, "mail.inbound.v1.*.*.*") })
}

// subsumes reports whether every subject that matches narrow matches wide.
func subsumes(wide, narrow string) bool {
	w, n := strings.Split(wide, "."), strings.Split(narrow, ".")
	for i, token := range w {
		switch {
		case token == ">":
			return len(n) > i
		case i >= len(n) || n[i] == ">":
			return false
		case token != "*" && token != n[i]:
			return false
		}
	}
	return len(w) == len(n)
}
