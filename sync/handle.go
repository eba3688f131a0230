package sync

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/emersion/go-imap/v2"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/internal/imapsession"
)

// handle takes UIDs through fetch, parse, publish and commit. Messages that
// something is wrong with go apart, so that they harm nothing but themselves.
func (f *folderPass) handle(ctx context.Context, uids []uint32) error {
	if err := f.handleCrashed(ctx, uids); err != nil {
		return err
	}
	for left := f.cursor.wanted(uids); len(left) > 0; {
		if f.mustEnd() {
			return nil
		}
		err := f.handleAll(ctx, left)
		if err != nil && f.atFault(ctx, err) {
			err = f.bisect(ctx, newMessages(f.cursor.marked()), err)
		}
		if err != nil {
			return err
		}
		before := len(left)
		if left = f.cursor.wanted(left); len(left) == before {
			return nil
		}
	}
	return nil
}

// atFault reports whether err may be the doing of a message: the connection died
// over it, or the server refuses to give it.
func (f *folderPass) atFault(ctx context.Context, err error) bool {
	return f.connectionDied(ctx, err) || f.refused(ctx, err)
}

// connectionDied reports whether the session is gone, and neither the pass nor
// what all providers need has ended.
func (f *folderPass) connectionDied(ctx context.Context, err error) bool {
	return !f.session.Alive() && !f.endsPass(ctx, err)
}

// refused reports whether the server says NO to a message. Where it asks for
// patience, no message is at fault.
func (f *folderPass) refused(ctx context.Context, err error) bool {
	no, ok := errors.AsType[*imap.Error](err)
	if !ok || ctx.Err() != nil || !f.session.Alive() || backoffHint(err) > 0 {
		return false
	}
	class, code := imapsession.Classify(no)
	return class == fault.Transient && (code == "refused" || code == "serverbug" || code == "contactadmin")
}

// bisectWays is into how many groups messages are parted among which one may be
// at fault.
const bisectWays = 32

// bisect goes on in smaller groups after a connection died over messages, or the
// server refused them. The message at fault is the one that does it again alone.
func (f *folderPass) bisect(ctx context.Context, messages []*message, cause error) error {
	if len(messages) == 0 {
		return cause
	}
	f.log.Warn("batch_failed", "messages", len(messages), "error", cause.Error())
	if f.runner.Stopping() {
		return nil
	}
	if !f.session.Alive() {
		if err := f.reopen(ctx); err != nil {
			return errors.Join(cause, err)
		}
		// What came whole is committed, so it is most likely the first.
		if err := f.handleAlone(ctx, messages[0]); err != nil {
			return err
		}
		messages = messages[1:]
	}
	return f.handleGroups(ctx, groups(messages))
}

func groups(messages []*message) [][]*message {
	return slices.Collect(slices.Chunk(messages, max(1, (len(messages)+bisectWays-1)/bisectWays)))
}

func (f *folderPass) handleGroups(ctx context.Context, list [][]*message) error {
	for _, group := range list {
		if f.runner.Stopping() {
			return nil
		}
		if err := f.handleGroup(ctx, group); err != nil {
			return err
		}
	}
	return nil
}

// handleGroup handles a few messages together, and by smaller groups when
// something about one of them fails them all.
func (f *folderPass) handleGroup(ctx context.Context, messages []*message) error {
	if len(messages) == 1 {
		return f.handleAlone(ctx, messages[0])
	}
	err := f.handleBatch(ctx, messages)
	if err == nil {
		f.refusals = 0
	}
	if err == nil || !f.atFault(ctx, err) {
		return err
	}
	return f.bisect(ctx, undone(messages), err)
}

// undone makes those messages anew of which nothing is committed yet.
func undone(messages []*message) []*message {
	var left []*message
	for _, m := range messages {
		if !m.done {
			again := newMessage(m.UID)
			again.again = m.again
			left = append(left, again)
		}
	}
	return left
}

// maxRefused messages in a row that the server says NO to end the work on a
// folder: by then it is the folder that is out of order.
const maxRefused = 3

// handleAlone takes one message through. When the connection dies over it and
// the server is there again for a new one, or the server refuses to give it,
// the message goes to quarantine.
func (f *folderPass) handleAlone(ctx context.Context, m *message) error {
	err := f.handleBatch(ctx, []*message{m})
	switch {
	case err == nil:
		f.refusals = 0
		return nil
	case f.refused(ctx, err):
		if f.refusals++; f.refusals > maxRefused {
			return err
		}
	case f.connectionDied(ctx, err):
		if reopenErr := f.reopen(ctx); reopenErr != nil {
			return errors.Join(err, reopenErr)
		}
		if f.found > f.foundAtLoss {
			f.reopened-- // others came through: it is this message, whose group was counted
		}
		f.foundAtLoss = f.found
	default:
		return err
	}
	_, code := Classify(err)
	failed := &message{Listed: m.Listed, attempts: m.attempts, retry: m.retry, again: m.again}
	failed.fail("fetch", code, err)
	return f.commit(ctx, &chunk{messages: []*message{failed}})
}

func (f *folderPass) reopen(ctx context.Context) error {
	if f.reopened++; f.reopened > maxFolderReconnects {
		return transient("connection", fmt.Errorf("the connection was lost %d times over this folder", f.reopened))
	}
	if err := f.reconnect(ctx); err != nil {
		return err
	}
	selected, err := f.session.Examine(f.status.Name)
	if err != nil {
		return err
	}
	if selected.UIDValidity != 0 && selected.UIDValidity != f.cursor.UIDValidity {
		return transient("uidvalidity_changed", errors.New("UIDVALIDITY changed during the pass"))
	}
	return nil
}

// handleCrashed handles first, and apart, those from the quarantine whose next
// attempt is due, and those that were in flight when the last pass was killed. Of
// many the next pass to be killed leaves few, and those go alone. One that was alone
// then, twice, has had its attempt.
func (f *folderPass) handleCrashed(ctx context.Context, uids []uint32) error {
	killed := map[uint32]int{}
	for _, uid := range f.cursor.InFlight {
		killed[uint32(uid)]++
	}
	alone := f.retriedMessages(killed)
	inFlight := slices.DeleteFunc(slices.Sorted(maps.Keys(killed)), func(uid uint32) bool { return !slices.Contains(uids, uid) })
	var apart [][]*message
	if len(inFlight) > bisectWays {
		apart, inFlight = groups(newMessages(inFlight)), nil
	}
	for _, uid := range inFlight {
		m := newMessage(uid)
		m.killed = killed[uid]
		alone = append(alone, m)
	}
	for _, m := range alone {
		if m.killed < 2 && !(m.retry && m.killed > 0) {
			apart = append(apart, []*message{m})
			continue
		}
		m.attempts = max(m.attempts, m.killed-1)
		m.fail("crash", "killed", errors.New("the pass was killed while it handled this message alone"))
		if err := f.commit(ctx, &chunk{messages: []*message{m}}); err != nil {
			return err
		}
	}
	return f.handleGroups(ctx, apart)
}

// retriedMessages are those from the quarantine whose next attempt is due. They
// are taken out of killed.
func (f *folderPass) retriedMessages(killed map[uint32]int) []*message {
	var list []*message
	for _, q := range f.retries[f.status.Name] {
		if q.UIDValidity != f.cursor.UIDValidity {
			continue
		}
		m := &message{
			Listed: imapsession.Listed{UID: q.UID, Size: q.Size}, attempts: q.Attempts, retry: true,
			released: q.State == db.QuarantineReleased, killed: killed[q.UID],
		}
		if q.ErrorCode == notShown {
			m.missed = &q.UpdatedAt
		}
		list = append(list, m)
		delete(killed, q.UID)
	}
	return list
}
