package sync

import (
	"context"
	"errors"
	"fmt"
	"time"

	"imapsync/db"
	"imapsync/internal/imapsession"
)

// A message is charged for a failure only when the fault is its own: its mail breaks a
// stage of ours, it killed two passes, or the server gives the bodies of others on a
// connection made after it failed.
const (
	// maxCharges is how many a message has before it goes out by its headers alone.
	maxCharges = 5
	// chargeEvery is how often a message is charged while no other can be asked for.
	chargeEvery = 6 * time.Hour
	// weakEvery is how often it is charged where the only bodies that come are those of
	// much smaller ones, or of another folder: five charges take longer than any outage
	// that is of size or of one folder alone.
	weakEvery = 2 * time.Hour
	smallBody = 4 << 10         // messages up to here are alike, whatever their sizes
	maxPutOff = 5 * time.Minute // the longest wait of a message in quarantine that was not charged
	// killedWait is how long mail waits of which passes were killed. It is the node that
	// was at fault more often than the mail, so it is not made to wait for that.
	killedWait = 30 * time.Second
)

// chargeKills charges the messages that have killed two passes, and returns the others.
func (f *folderPass) chargeKills(ctx context.Context, messages []*message) (left []*message, err error) {
	var chosen []*message
	for _, m := range messages {
		kills := m.killed
		if m.entry != nil && kills > 0 {
			kills += m.entry.Kills
		}
		if kills < 2 {
			left = append(left, m)
			continue
		}
		m.judged = true
		m.fail("crash", "killed", errors.New("the pass was killed while it handled this message alone"))
		chosen = append(chosen, m)
	}
	if len(chosen) == 0 {
		return left, nil
	}
	f.describe(chosen)
	return left, f.commit(ctx, &chunk{messages: chosen})
}

// notGiven keeps a message that the server did not give: the rest goes on. At first it
// is asked for once more, alone and on a new connection.
func (f *folderPass) notGiven(m *message) {
	if m.failedOn == neverFailed && m.entry == nil {
		f.failed(m.failure.err)
		f.suspect(m.anew())
		return
	}
	f.setAside(m)
}

// setAside keeps a message until it is known whose fault it is that it was not given.
func (f *folderPass) setAside(m *message) {
	m.judged = f.proven(m) // it failed before, and others came since then
	m.failedOn = f.reconnects
	if m.event, m.parsed = nil, nil; len(m.raw) > maxStub {
		f.runner.buffers.Put(m.raw)
		m.raw = nil
	}
	f.failed(m.failure.err)
	f.aside = append(f.aside, m)
	f.note(m)
	f.log.Warn("message_not_given", "uid", m.UID, "code", m.failure.code, "error", m.failure.err.Error())
}

// note remembers that a message was tried in this pass in vain.
func (f *folderPass) note(m *message) {
	if f.tried == nil {
		f.tried = map[uint32]bool{}
	}
	f.tried[m.UID] = true
}

// failed notes that something was not given.
func (f *folderPass) failed(err error) {
	f.streak++
	f.lastFailure = err
}

// bodyCame notes that the server gives bodies, on this connection, and one of size.
func (f *folderPass) bodyCame(size int64) {
	if f.reconnects > f.wholeOn {
		f.wholeSize = size
	}
	f.wholeSize = max(f.wholeSize, size)
	f.wholeOn, f.streak, f.probed, f.reopened = f.reconnects, 0, false, 0
}

// judge finds out whose fault it is that messages were not given, and charges those
// whose own it is. It reports whether the server gives bodies.
func (f *folderPass) judge(ctx context.Context) (gives bool, err error) {
	if err := f.chargeProven(ctx); err != nil {
		return false, err
	}
	if len(f.aside) == 0 && f.streak < maxStreak || f.runner.told() {
		return true, nil
	}
	gives, found, err := f.control(ctx)
	switch {
	case err != nil:
		return false, err
	case gives:
		f.bodyCame(f.controlSize)
		if err := f.chargeProven(ctx); err != nil {
			return true, err
		}
		return true, f.putOffAside(ctx)
	case !found:
		err = f.chargeAlone(ctx)
	default:
		f.noBodies = true
	}
	if err != nil {
		return false, err
	}
	// What is in quarantine is tried again soon; the rest is neither there nor final:
	// the next passes take it after the others.
	err = f.putOffAside(ctx)
	f.noBodies = f.noBodies || len(f.aside) > 0
	return false, err
}

// chargeProven charges those that were set aside and failed before another body came.
func (f *folderPass) chargeProven(ctx context.Context) error {
	return f.commitAside(ctx, func(m *message) bool {
		m.judged = m.judged || f.proven(m)
		return m.judged
	})
}

// putOffAside has what is in quarantine tried again soon, uncharged.
func (f *folderPass) putOffAside(ctx context.Context) error {
	return f.commitAside(ctx, func(m *message) bool {
		m.putOff = m.entry != nil
		return m.putOff
	})
}

// proven reports whether a body came since a message failed that is evidence against
// it: of its size, or else, as a server may give small bodies alone, once in a while.
func (f *folderPass) proven(m *message) bool {
	return m.failedOn < f.wholeOn && (m.headerOnly || f.wholeSize >= alike(m.Size) || f.chargeDue(m, weakEvery))
}

// believe decides which messages are taken as they come, though they came short before:
// where sizes are estimates, where they came so for longer than an outage lasts, and
// before they would go out by their headers.
func (f *folderPass) believe(ctx context.Context, retried []*message) error {
	var short []*message
	for _, m := range retried {
		m.believed = m.charges() >= maxCharges-1 || m.charges() >= 2 && f.runner.since(m.entry.CreatedAt) >= chargeEvery
		if m.entry.ErrorCode == shortBody && !m.believed {
			short = append(short, m)
		}
	}
	if len(short) == 0 {
		return nil
	}
	estimated, err := f.estimates(ctx)
	for _, m := range short {
		m.believed = estimated
	}
	return err
}

// alike is the least size of a message that is as hard to give as one of size.
func alike(size int64) int64 {
	if size <= smallBody {
		return 0
	}
	return size / 2
}

// chargeDue reports whether a message was not charged for so long.
func (f *folderPass) chargeDue(m *message, every time.Duration) bool {
	return m.entry == nil || m.entry.ChargedAt == nil || f.runner.since(*m.entry.ChargedAt) >= every
}

// chargeAlone charges where no other message of the account can be asked for: seldom,
// and only what the server says that it has.
func (f *folderPass) chargeAlone(ctx context.Context) error {
	return f.commitAside(ctx, func(m *message) bool {
		m.judged = f.chargeDue(m, chargeEvery) && (m.headerOnly || f.headerComes(m.UID))
		return m.judged
	})
}

// headerComes reports whether the server gives the header of a message.
func (f *folderPass) headerComes(uid uint32) bool {
	if !f.session.Alive() {
		return false
	}
	comes := false
	err := f.session.FetchBodies([]uint32{uid}, true, maxHeaderBytes, func(_ uint32, raw []byte) bool {
		comes = len(raw) > 0
		return true
	})
	return err == nil && comes
}

// commitAside commits those of the messages set aside that which chooses.
func (f *folderPass) commitAside(ctx context.Context, which func(*message) bool) error {
	var chosen, left []*message
	for _, m := range f.aside {
		if which(m) {
			chosen = append(chosen, m)
		} else {
			left = append(left, m)
		}
	}
	if len(chosen) == 0 {
		return nil
	}
	f.aside = left
	return f.commit(ctx, &chunk{messages: chosen})
}

// charge counts a failure against a message. After the last charge it is due at once,
// to go out by its headers.
func (f *folderPass) charge(ctx context.Context, m *message, now time.Time) *db.Quarantine {
	q := f.quarantine(m)
	q.Charges, q.ChargedAt = q.Charges+1, &now
	switch {
	case m.degraded() && m.failure.stage == "fetch": // not even its header is given: nothing went out, so that is not final
		next := now.Add(chargeEvery)
		q.NextAttemptAt = &next
	case m.degraded(): // not even its header can be handled
		dead := degraded(m)
		q = &dead
	case q.Charges >= maxCharges:
		q.RawBlobKey, q.NextAttemptAt = f.keepRaw(ctx, m), &now
		f.exhausted = append(f.exhausted, &message{Listed: imapsession.Listed{UID: m.UID}, past: past{entry: q, failedOn: neverFailed}})
	default:
		next := now.Add(retryWait(m, q.Charges))
		q.NextAttemptAt = &next
	}
	f.log.Warn("message_quarantined", "uid", m.UID, "stage", q.Stage, "code", q.ErrorCode, "error", q.Error,
		"attempts", q.Attempts, "charges", q.Charges, "state", q.State)
	return q
}

// retryWait is how long a message waits that was charged so many times.
func retryWait(m *message, charges int) time.Duration {
	if m.failure.stage == "crash" {
		return killedWait
	}
	return time.Minute << (2 * (charges - 1))
}

// putOff has a message in quarantine tried again before long: it was not charged.
func (f *folderPass) putOff(m *message, now time.Time) *db.Quarantine {
	q := f.quarantine(m)
	if m.released {
		q.State = db.QuarantineReleased
	}
	next := now.Add(min(time.Minute<<min(q.Attempts-q.Charges-1, 10), maxPutOff))
	q.NextAttemptAt = &next
	f.log.Info("message_put_off", "uid", m.UID, "code", q.ErrorCode, "attempts", q.Attempts, "charges", q.Charges)
	return q
}

// quarantine describes a message that failed once more.
func (f *folderPass) quarantine(m *message) *db.Quarantine {
	q := &db.Quarantine{}
	if m.entry != nil {
		*q = *m.entry
	}
	q.UID, q.State, q.Attempts, q.Kills = m.UID, db.QuarantineRetry, q.Attempts+1, q.Kills+m.killed
	q.Stage, q.ErrorCode, q.Error, q.Size = m.failure.stage, m.failure.code, m.failure.err.Error(), m.Size
	q.MessageID, q.Subject, q.Sender, q.EventKey = m.summary.MessageID, m.summary.subject, m.summary.sender, m.summary.key
	if !m.InternalDate.IsZero() {
		q.InternalDate = &m.InternalDate
	}
	return q
}

// degraded leaves a message that went out by its headers alone to a person.
func degraded(m *message) db.Quarantine {
	q := *m.entry
	q.UID, q.State, q.NextAttemptAt, q.EventKey = m.UID, db.QuarantineDead, nil, m.summary.key
	return q
}

// withheld is the error of a folder whose server gives no bodies, nil when all that is
// wrong is the messages' own.
func (f *folderPass) withheld() error {
	if !f.noBodies && !f.ill {
		return nil
	}
	return transient("no_bodies", fmt.Errorf("the server gives no message bodies: %w", f.lastFailure))
}
