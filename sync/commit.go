package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imapsync/db"
	"imapsync/publish"
)

// commit waits until the broker has acknowledged every event of a chunk, and
// then records what became of its messages together with the cursor.
func (f *folderPass) commit(ctx context.Context, c *chunk) error {
	now := f.runner.now()
	step := db.Commit{Bytes: c.bytes, At: now}
	for _, m := range c.messages {
		row, err := f.outcome(ctx, m, now)
		if err != nil {
			return err
		}
		step.Messages = append(step.Messages, row)
		switch {
		case row.Outcome == db.Quarantined:
			step.Failures = append(step.Failures, f.quarantine(ctx, m, now))
		case m.retry:
			step.Retried = append(step.Retried, m.UID)
		}
	}
	toMark := f.toMark[:min(len(f.toMark), len(c.messages))] // they may be fetched now
	next := f.cursor.committed(step.Messages, toMark, now)
	step.State = &next.FolderState
	counts, err := f.runner.Store.Commit(ctx, f.fence, step)
	if err != nil {
		return err
	}
	f.cursor, f.toMark = next, f.toMark[len(toMark):]
	f.taken += len(step.Messages)
	for _, m := range c.messages {
		m.done = true
		if !m.expunged && m.failure == nil {
			f.found++
		}
	}
	f.counts.Plus(counts)
	f.log.Info("commit", "published", counts.Published, "duplicates", counts.Duplicates, "skipped", counts.Skipped,
		"expunged", counts.Expunged, "quarantined", counts.Quarantined, "settled_uid", next.SettledUID, "last_uid", next.LastUID)
	f.runner.progress(f.pass, int(next.Backlog))
	return nil
}

// outcome waits for a message's acknowledgement and gives its ledger row.
func (f *folderPass) outcome(ctx context.Context, m *message, now time.Time) (db.Message, error) {
	row := db.Message{UID: m.UID, EventKey: m.summary.key, MessageID: m.summary.messageID, Size: m.Size, Attempts: m.attempts + 1, ProcessedAt: now}
	if m.ack != nil {
		res, err := m.ack.Wait(ctx)
		switch {
		case errors.Is(err, publish.ErrTooLarge):
			m.fail("publish", "too_large", err)
		case err != nil:
			return db.Message{}, fmt.Errorf("publish uid %d: %w", m.UID, err)
		}
		row.StreamSeq = res.Seq
	}
	switch {
	case m.failure != nil:
		row.Outcome, row.Reason = db.Quarantined, m.failure.code
	case m.expunged:
		row.Outcome = db.Expunged
	case m.known:
		row.Outcome = db.Duplicate
	default:
		// The stream may have had it already, from a pass that was killed
		// before it could commit: then it is this row that was published.
		row.Outcome = db.Published
	}
	f.log.Debug("message", "uid", m.UID, "outcome", row.Outcome, "event_key", row.EventKey, "stream_seq", row.StreamSeq)
	return row, nil
}
