package provider

import (
	"context"
	"fmt"
	"slices"
	"time"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/fault"
	"imapsync/publish"
	mailsync "imapsync/sync"
)

// finding is what a look at a thing may show. Its code says what there is to do.
type finding struct {
	holds bool
	state StepState
	code  string
	text  string
}

func first(name string, findings ...finding) Step {
	f := findings[slices.IndexFunc(findings, func(f finding) bool { return f.holds })]
	return Step{Name: name, State: f.state, Text: f.text, Err: &fault.Error{Code: f.code}}
}

func fine(name, format string, args ...any) Step {
	return Step{Name: name, State: StepOK, Text: fmt.Sprintf(format, args...)}
}

// maxSkew is how far clocks may be apart before it matters.
const maxSkew = 5 * time.Second

// PostgresSteps tell what there is to say about Postgres and the ways to it.
func PostgresSteps(h db.Health) []Step {
	const shared = " goes through a pooler that shares sessions: two runs would both hold a mailbox"
	skew := h.ClockSkew.Abs().Round(time.Millisecond)
	return []Step{
		first("postgres",
			finding{h.TooOld, StepWrong, "postgres_old", "PostgreSQL " + h.Version + " is too old"},
			finding{h.ReadOnly, StepWrong, "postgres_read_only", "it takes no writes: a standby, or default_transaction_read_only"},
			finding{true, StepOK, "", "PostgreSQL " + h.Version}),
		first("locks",
			finding{h.LockPooled && h.LockURL, StepWrong, "locks_pooled", "LOCK_DATABASE_URL" + shared},
			finding{h.LockPooled, StepWrong, "pooler", "DATABASE_URL" + shared},
			finding{h.Pooled, StepOK, "", "a pooler is between, and LOCK_DATABASE_URL goes past it"},
			finding{true, StepOK, "", "no pooler shares the connection's session"}),
		first("clock",
			finding{skew > maxSkew, StepWarn, "clock", fmt.Sprintf("the clocks of this machine and of Postgres are %s apart: mailboxes are due too early or too late", skew)},
			finding{true, StepOK, "", skew.String() + " from that of Postgres"}),
	}
}

// KeyStep tells whether the keys with these ids, the sealing one first, open what
// is stored: counts has the number of credentials by the id of their key.
func KeyStep(ids []string, counts map[string]int) Step {
	total, old, unknown := 0, 0, 0
	for id, n := range counts {
		total += n
		switch {
		case id == ids[0]:
		case slices.Contains(ids, id):
			old += n
		default:
			unknown += n
		}
	}
	return first("key",
		finding{unknown > 0, StepWrong, "key_unknown", fmt.Sprintf("%d of %d stored credentials are sealed under a key that the key file does not hold", unknown, total)},
		finding{old > 0, StepWarn, "key_old", fmt.Sprintf("%d of %d stored credentials are sealed under an old key", old, total)},
		finding{true, StepOK, "", fmt.Sprintf("%s opens all of %d stored credentials", ids[0], total)})
}

// BrokerSteps tell what there is to say about the broker and the stream, but for
// their problems. Gone is why the stream or the bucket may not be made that is absent.
func BrokerSteps(h publish.Health, gone error) []Step {
	limit := "no limit but the server's"
	if h.StoreLimit > 0 {
		limit = ByteSize(h.StoreLimit)
	}
	steps := []Step{fine("nats", "nats-server %s, max_payload %s", h.Server, ByteSize(h.MaxPayload))}
	if h.StoreLimit != 0 {
		steps = append(steps, fine("jetstream", "storage used: %s of %s", ByteSize(int64(h.StoreUsed)), limit))
	}
	if gone == nil || h.Stream {
		steps = append(steps, first("stream",
			finding{!h.Stream, StepOK, "", event.StreamName + " is not there yet: the first run makes it"},
			finding{true, StepOK, "", fmt.Sprintf("%s holds %d events, %s", event.StreamName, h.Messages, ByteSize(int64(h.Bytes)))}))
	}
	if gone != nil {
		lost := Step{Name: "stream", State: StepWrong, Text: gone.Error(), Err: gone}
		if h.Stream {
			lost.Text = "bucket " + event.DefaultBucket + ": " + lost.Text
		}
		steps = append(steps, lost)
	}
	return steps
}

// LostSteps tell of a mailbox what the stream has lost of it.
func LostSteps(p *db.Provider) []Step {
	if p.LostState == db.LostNone {
		return nil
	}
	text := fmt.Sprintf("the stream has lost %d events that were published since %s", p.LostEvents, p.LostSince.UTC().Format(time.RFC3339))
	return []Step{first("events",
		finding{p.LostState == db.LostHeal, StepWarn, "events_lost", text + "; the next pass publishes them again"},
		finding{true, StepWrong, "events_missing", text + "; none are published again unasked"})}
}

// Standing tells where the passes over p stand: whether they are made, and how
// much waits.
func (s *Service) Standing(ctx context.Context, p *db.Provider, now time.Time) ([]Step, error) {
	waits, later := "", p.NextAttemptAt != nil && p.NextAttemptAt.After(now)
	if p.PausedAt != nil {
		waits = "paused since " + p.PausedAt.UTC().Format(time.RFC3339) + " (" + p.PauseReason + "); mail waits on the server"
	}
	failed := fmt.Sprintf("the last %d passes failed: %s", p.ConsecutiveFailures, p.LastError)
	withheld := "the server does not give the bodies of mail that waits: " + p.LastError
	if later {
		next := "; next attempt " + p.NextAttemptAt.UTC().Format(time.RFC3339)
		failed, withheld = failed+next, withheld+next
	}
	read := "not read yet"
	if p.LastSuccessAt != nil {
		read = "last read " + p.LastSuccessAt.UTC().Format(time.RFC3339)
	}
	steps := []Step{first("state",
		finding{!p.Active || !p.AutoProcess, StepWarn, "inactive", "it is switched off: no run reads it"},
		finding{p.PausedAt != nil && p.PauseReason == db.PauseAuthFailure, StepWrong, "paused_auth", waits},
		finding{p.PausedAt != nil, StepWarn, "paused", waits},
		finding{p.LastErrorCode == "no_bodies", StepWrong, "no_bodies", withheld},
		finding{p.ConsecutiveFailures > 0 && later, StepWarn, "failing_waits", failed},
		finding{p.ConsecutiveFailures > 0, StepWarn, "failing", failed},
		finding{true, StepOK, "", read})}
	steps = append(steps, LostSteps(p)...)
	states, err := s.Store.FolderStates(ctx, p.Ref())
	if err != nil {
		return steps, err
	}
	var backlog int64
	for _, st := range states {
		backlog += st.Backlog
		if st.Held > 0 {
			held := mailsync.HeldMail(st.Folder, st.Held)
			steps = append(steps, Step{Name: "folder", State: StepWarn, Text: fmt.Sprintf("%q: %s", st.Folder, held), Err: held})
		}
		if st.Unstable {
			steps = append(steps, Step{Name: "folder", State: StepWarn, Text: fmt.Sprintf("%q: %s", st.Folder, mailsync.ErrUnstable), Err: mailsync.ErrUnstable})
		}
		if st.Surplus > 0 {
			text := fmt.Sprintf("%q: EXISTS counts %d messages that the server does not show, since %s", st.Folder, st.Surplus, st.SurplusSince.UTC().Format(time.RFC3339))
			steps = append(steps, first("folder",
				finding{mailsync.Doubtful(st, now), StepWarn, "exists_mismatch", text + "; they are looked for"},
				finding{true, StepWarn, "exists_surplus", text + ": the folder's own count is off"}))
		}
	}
	dead, err := s.Store.CountDead(ctx, []db.Ref{p.Ref()})
	if err != nil {
		return steps, err
	}
	if dead > 0 {
		steps = append(steps, first("quarantine", finding{true, StepWarn, "dead", fmt.Sprintf("%d messages could not be handled, or went out by their headers alone; they wait for a person", dead)}))
	}
	text, today := fmt.Sprintf("%d mails wait, %d a pass", backlog, p.MaxEmailsPerSync), p.BytesToday(now)
	if p.MaxBytesPerDay > 0 {
		text += fmt.Sprintf("; %s of %s today", ByteSize(today), ByteSize(p.MaxBytesPerDay))
	}
	return append(steps, first("backlog",
		finding{p.MaxBytesPerDay > 0 && today >= p.MaxBytesPerDay, StepWarn, "day_full", text},
		finding{backlog > 10*int64(p.MaxEmailsPerSync), StepWarn, "backlog", text},
		finding{true, StepOK, "", text})), nil
}
