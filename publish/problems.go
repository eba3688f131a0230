package publish

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

// Problem is something about the stream or the bucket that is not as events
// need it.
type Problem struct {
	Fatal  bool   // events cannot be published at all
	Loses  bool   // events are lost before their time, in silence
	Code   string // "" where Fix says all that is to be done
	What   string
	Fix    string
	Stream string // the name of the stream, a bucket's too
	Want   string // the value that the setting should have
}

func (p Problem) String() string { return p.What + ": " + p.Fix }

// minMessage is the least size of messages, in bytes, with which events are
// worth anything.
const minMessage = 64 << 10

// minStreamAge is how long a stream keeps events at least for consumers to be
// repaired in.
const minStreamAge = 24 * time.Hour

// OneReplica says of a stream or a bucket with a single copy what a power cut may
// do to it. Whether nats-server writes each message through before it acknowledges
// it, it tells no client.
func OneReplica(cfg jetstream.StreamConfig) []Problem {
	if cfg.Replicas > 1 {
		return nil
	}
	return []Problem{{
		Code: "stream_replicas", Stream: cfg.Name, Want: "3",
		What: "stream " + cfg.Name + " has one replica: unless nats-server has sync_interval: always, a power cut takes back up to two minutes of what it has acknowledged",
		Fix:  "put sync_interval: always into jetstream {} of nats-server.conf, or let three servers keep it",
	}}
}

// StreamProblems says what is wrong with a stream for our events; nothing for
// one that EnsureStream made.
func StreamProblems(cfg jetstream.StreamConfig) []Problem {
	var ps []Problem
	add := func(fatal bool, code, what, fix, want string) {
		ps = append(ps, Problem{Fatal: fatal, Code: code, What: what, Fix: fix, Stream: cfg.Name, Want: want})
	}
	if !covered(cfg.Subjects) {
		add(true, "stream_subjects", fmt.Sprintf("stream %s listens on %s, which does not take in %s", cfg.Name, strings.Join(cfg.Subjects, ", "), event.Subjects),
			"let it listen on "+event.Subjects, event.Subjects)
	}
	if cfg.NoAck {
		add(true, "stream_no_ack", "stream "+cfg.Name+" does not acknowledge", "make it again with acknowledgements", "")
	}
	if cfg.Mirror != nil {
		add(true, "", "stream "+cfg.Name+" is a mirror and takes no messages", "publish to "+cfg.Mirror.Name, "")
	}
	if cfg.Sealed {
		add(true, "", "stream "+cfg.Name+" is sealed", "make it again", "")
	}
	if cfg.SubjectTransform != nil {
		add(true, "", "stream "+cfg.Name+" rewrites subjects, so it cannot refuse a second publish", "take the subject transform off", "")
	}
	switch cfg.Retention {
	case jetstream.WorkQueuePolicy:
		add(false, "stream_retention", "stream "+cfg.Name+" is a work queue: it forgets an event once a consumer has it, and cannot refuse a second publish",
			"make it again with retention by limits", "limits")
	case jetstream.InterestPolicy:
		add(false, "stream_retention", "stream "+cfg.Name+" keeps events by interest: without a consumer they are lost, and a second publish is not refused",
			"make it again with retention by limits", "limits")
	}
	if cfg.Discard == jetstream.DiscardOld && (cfg.MaxMsgs > 0 || cfg.MaxBytes > 0) {
		add(false, "stream_ring", "stream "+cfg.Name+" is a ring: when it is full it drops its oldest events, read or not",
			"let it refuse new messages when it is full, which a run survives", "new")
	}
	if cfg.MaxAge > 0 && cfg.MaxAge < minStreamAge {
		add(false, "stream_short", fmt.Sprintf("stream %s keeps events for %v only: a consumer that is down for longer misses them", cfg.Name, cfg.MaxAge),
			fmt.Sprintf("let it keep them for %v", StreamMaxAge), StreamMaxAge.String())
	}
	if cfg.DiscardNewPerSubject {
		add(false, "stream_discard", "stream "+cfg.Name+" discards new messages per subject: a duplicate looks like a full stream",
			"switch discarding per subject off", "")
	}
	if cfg.Storage == jetstream.MemoryStorage {
		add(false, "stream_memory", "stream "+cfg.Name+" is in memory: a restart of nats-server loses it", "make it again in files", "file")
	}
	for i := range ps {
		ps[i].Loses = ps[i].Code == "stream_ring" || ps[i].Code == "stream_short" || ps[i].Code == "stream_memory"
	}
	if cfg.MaxMsgSize > 0 && eventBytes(int64(cfg.MaxMsgSize)) < minEventBytes {
		add(true, "stream_message_size", fmt.Sprintf("stream %s takes messages of %d bytes only", cfg.Name, cfg.MaxMsgSize), fmt.Sprintf("let it take messages of %d bytes or more", minMessage), strconv.Itoa(minMessage))
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
			Code: "stream_age", Stream: bucket.Name, Want: age.String(),
			What: fmt.Sprintf("bucket %s keeps blobs for %v, and stream %s events for longer or nearly as long (%v)", name, bucket.MaxAge, ours.Name, ours.MaxAge),
			Fix:  fmt.Sprintf("let it keep them for %v", age),
		})
	}
	if bucket.Storage == jetstream.MemoryStorage {
		ps = append(ps, Problem{Code: "stream_memory", Stream: bucket.Name, Want: "file", What: "bucket " + name + " is in memory: a restart of nats-server loses it", Fix: "make it again in files"})
	}
	return ps
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
