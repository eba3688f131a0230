package sync

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"imapsync/db"
	"imapsync/publish"
)

// commit waits until the broker has acknowledged every event of a chunk, and
// then records what became of its messages together with the cursor. What the server
// did not give is set aside: nobody knows yet whose fault it is.
func (f *folderPass) commit(ctx context.Context, c *chunk) error {
	if len(c.messages) > 0 && c.messages[0].again != "" {
		return f.commitAgain(ctx, c)
	}
	now := f.runner.now()
	step := db.Commit{Bytes: c.bytes, At: now}
	var written []*message
	for _, m := range c.messages {
		if m.absent && !m.expunged {
			if m.entry != nil {
				step.Failures = append(step.Failures, f.absentAgain(m, now))
			}
			continue // what is not shown at one look is not final: it is a gap from now on
		}
		row, err := f.outcome(ctx, m, now)
		switch {
		case err != nil:
			return err
		case m.failure != nil && m.failure.stage == "fetch" && !m.judged && !m.putOff:
			f.notGiven(m)
			continue
		case m.putOff:
			step.Failures = append(step.Failures, *f.putOff(m, now))
			continue
		case row.Outcome == db.Quarantined:
			step.Failures = append(step.Failures, *f.charge(ctx, m, now))
		case m.degraded():
			step.Failures = append(step.Failures, degraded(m))
		case m.entry != nil:
			step.Retried = append(step.Retried, m.UID)
		}
		step.Messages, written = append(step.Messages, row), append(written, m)
	}
	toMark := f.toMark[:min(len(f.toMark), len(c.messages))] // they may be fetched now
	if len(step.Messages)+len(step.Failures)+len(toMark) == 0 {
		return nil
	}
	next := f.cursor.committed(step.Messages, toMark, now)
	step.State = &next.FolderState
	counts, err := f.runner.Store.Commit(ctx, f.fence, step)
	if err != nil {
		return err
	}
	f.cursor, f.toMark = next, f.toMark[len(toMark):]
	f.taken += len(step.Messages)
	for _, m := range written {
		if m.done = true; m.whole {
			f.bodyCame(m.Size)
		}
		if m.twin != nil && m.failure == nil {
			f.log.Info("duplicate", "uid", m.UID, "of_folder", m.twin.Folder, "of_uid", m.twin.UID, "event_key", m.twin.EventKey)
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
	row := db.Message{
		UID: m.UID, EventKey: m.summary.key, MessageID: m.summary.MessageID, Fingerprint: m.summary.HeaderPrint,
		Size: m.Size, Attempts: m.attempts() + 1, ProcessedAt: now, ByHeader: m.byHeader(), BodyOf: m.bodyOf,
	}
	if !m.InternalDate.IsZero() {
		row.InternalDate = &m.InternalDate
	}
	if m.leader != nil && m.leader.failure != nil {
		m.failure = m.leader.failure // what it is a copy of did not go out
	}
	var err error
	if row.StreamSeq, err = m.acknowledged(ctx); err != nil {
		return db.Message{}, err
	}
	switch {
	case m.failure != nil:
		row.Outcome, row.Reason = db.Quarantined, m.failure.code
	case m.expunged:
		row.Outcome = db.Expunged
	case m.known:
		if row.Outcome = db.Duplicate; m.twin != nil {
			row.CopyOf = m.twin.EventKey
		}
	default:
		// The stream may have had it already, from a pass that was killed
		// before it could commit: then it is this row that was published.
		row.Outcome = db.Published
	}
	f.log.Debug("message", "uid", m.UID, "outcome", row.Outcome, "event_key", row.EventKey, "stream_seq", row.StreamSeq)
	return row, nil
}

// acknowledged waits until the broker has the event of a message, and gives its place in
// the stream; 0 when there is none.
func (m *message) acknowledged(ctx context.Context) (seq uint64, err error) {
	if m.ack == nil {
		return 0, nil
	}
	res, err := m.ack.Wait(ctx)
	switch {
	case errors.Is(err, publish.ErrTooLarge):
		m.fail("publish", "too_large", err)
	case err != nil:
		return 0, fmt.Errorf("publish uid %d: %w", m.UID, err)
	}
	return res.Seq, nil
}

// keepRaw stores the mail of a message that is given up, so that it outlives
// the mailbox. It returns the key of the blob, empty when there is none: the
// message still stands on the server then.
func (f *folderPass) keepRaw(ctx context.Context, m *message) string {
	if len(m.raw) == 0 || m.headerOnly {
		return ""
	}
	sum := sha256.Sum256(m.raw)
	key := publish.BlobKey(f.provider.Tenant, f.provider.ID, hex.EncodeToString(sum[:]))
	blobs, err := f.runner.Publisher.Blobs(ctx)
	if err == nil {
		_, err = blobs.Put(ctx, key, int64(len(m.raw)), func() io.Reader { return bytes.NewReader(m.raw) })
	}
	if err != nil {
		f.log.Warn("raw_not_kept", "uid", m.UID, "error", err.Error())
		return ""
	}
	return key
}
