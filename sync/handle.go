package sync

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"imapsync/db"
)

// handle takes up to budget UIDs through fetch, parse, publish and commit, the lowest
// first, and then what failed before. What the server does not give is set aside, the
// rest goes on, and at the end it is found out whose fault it is (judge).
func (f *folderPass) handle(ctx context.Context, uids []uint32, budget int) error {
	return errors.Join(f.handleInTurn(ctx, uids, budget), f.withheld())
}

func (f *folderPass) handleInTurn(ctx context.Context, uids []uint32, budget int) error {
	crashed, retried, err := f.fromBefore(ctx, uids[:min(len(uids), budget)])
	if err != nil {
		return err
	}
	if err := f.handleCrashed(ctx, crashed); err != nil {
		return err
	}
	fresh, unfetched := f.cursor.unfetchedLast(f.untried(uids))
	room, err := f.handleNew(ctx, fresh, budget-f.taken)
	if err != nil {
		return err
	}
	if err := f.believe(ctx, retried); err != nil {
		return err
	}
	if err := f.handleApart(ctx, retried, 1, 1); err != nil {
		return err
	}
	unfetched = unfetched[:min(len(unfetched), room+budget/10+1)]
	if err := f.handleApart(ctx, newMessages(unfetched), 1, batchUIDs); err != nil {
		return err
	}
	return f.handleFailed(ctx)
}

// handleNew handles up to budget UIDs. One that is not given makes room for another.
// It returns how much of the budget is left.
func (f *folderPass) handleNew(ctx context.Context, uids []uint32, budget int) (room int, err error) {
	for room = budget; room > 0 && len(uids) > 0 && !f.mustEnd() && !f.ill; {
		take := uids[:min(room, len(uids))]
		uids = uids[len(take):]
		for left := f.untried(take); len(left) > 0 && !f.mustEnd() && !f.ill; {
			if err := f.handleAll(ctx, left); err != nil {
				marked := newMessages(f.untried(f.cursor.marked()))
				if marked, err = f.sortOut(ctx, marked, false, err); err == nil {
					err = f.handleApart(ctx, marked, max(1, len(marked)/8), batchUIDs)
				}
				if err != nil {
					return room, err
				}
			}
			before := len(left)
			if left = f.untried(left); len(left) == before {
				break
			}
		}
		failed := len(f.cursor.wanted(take))
		if room -= len(take) - failed; failed == len(take) {
			break // nothing comes through
		}
	}
	return room, nil
}

// untried leaves of UIDs those that are not handled and were not asked for in vain.
func (f *folderPass) untried(uids []uint32) []uint32 {
	return slices.DeleteFunc(f.cursor.wanted(uids), func(uid uint32) bool { return f.tried[uid] })
}

// maxStreak failures in a row, one that took long counting for all of them, have the
// newest message tried; when that fails too, the control decides whether to go on.
const (
	maxStreak   = 3
	longFailure = 10 * time.Second
)

// handleApart takes messages through in groups of size, which grow up to most while
// all goes well and shrink when something about one of a group fails them all.
func (f *folderPass) handleApart(ctx context.Context, queue []*message, size, most int) error {
	for len(queue) > 0 && !f.mustEnd() && !f.ill {
		if f.streak >= maxStreak {
			size = 1
			if last := len(queue) - 1; last > 0 && !f.probed {
				f.probed = true // the newest is not to wait for what fails, and tells as much
				queue = append([]*message{queue[last]}, queue[:last]...)
			} else if gives, err := f.judge(ctx); err != nil {
				return err
			} else if f.ill = !gives; f.ill {
				return nil
			}
		}
		group := queue[:min(size, len(queue))]
		queue = queue[len(group):]
		err := f.handleBatch(ctx, group)
		if err == nil {
			if err = f.chargeProven(ctx); err != nil {
				return err
			}
			size = min(2*size, most)
			continue
		}
		left, err := f.sortOut(ctx, group, len(group) == 1, err)
		if err != nil {
			return err
		}
		queue, size = append(left, queue...), max(1, len(group)/8)
	}
	return nil
}

// sortOut parts messages whose FETCH broke off: what came whole is committed, one that
// was asked for alone is set aside, and of several the first is the likeliest: it is
// tried by itself at the end. It returns those that are to go on now, on a connection
// that lives. An error that is not about messages is returned as it is.
func (f *folderPass) sortOut(ctx context.Context, group []*message, alone bool, cause error) (left []*message, err error) {
	for _, m := range group {
		if !m.done && m.failure == nil {
			left = append(left, m.anew())
		}
	}
	if !f.atFault(ctx, cause) {
		if len(left) > 0 && !systemic(cause) && !errors.Is(cause, db.ErrFenced) {
			f.suspect(left[0])
		}
		return nil, cause
	}
	f.log.Warn("batch_failed", "messages", len(left), "error", cause.Error())
	if f.failed(cause); f.runner.since(f.began) >= longFailure {
		f.streak = max(f.streak, maxStreak)
	}
	switch {
	case len(left) == 0: // it broke off behind the last body
	case alone:
		_, code := Classify(cause)
		left[0].fail("fetch", code, cause)
		if left[0].again != "" {
			err = f.commit(ctx, &chunk{messages: left}) // its row stands
		} else {
			f.setAside(left[0])
		}
		left = nil
	case !f.session.Alive():
		f.suspect(left[0])
		left = left[1:]
	}
	if err != nil || f.session.Alive() || f.mustEnd() {
		return left, err
	}
	return left, f.reopen(ctx)
}

// suspect keeps a message that may be at fault until the others have been tried.
func (f *folderPass) suspect(m *message) {
	m.failedOn = f.reconnects
	f.suspects = append(f.suspects, m)
	f.note(m)
}

// handleFailed tries again, each alone, what failed together with others, finds out
// whose fault it is, and has those go out by their headers that have had their charges.
func (f *folderPass) handleFailed(ctx context.Context) error {
	for !f.mustEnd() && !f.ill && len(f.suspects)+len(f.exhausted) > 0 {
		queue := slices.Concat(f.suspects, f.exhausted)
		if slices.ContainsFunc(queue, func(m *message) bool { return m.failedOn == f.reconnects }) {
			if err := f.reopen(ctx); err != nil {
				return err
			}
		}
		f.suspects, f.exhausted = nil, nil
		if err := f.handleApart(ctx, queue, 1, 1); err != nil {
			return err
		}
		if _, err := f.judge(ctx); err != nil {
			return err
		}
	}
	_, err := f.judge(ctx)
	return err
}

// atFault reports whether err may be the doing of a message: the connection died over
// it, or the server refuses to give it. Where the server asks for patience, none is.
func (f *folderPass) atFault(ctx context.Context, err error) bool {
	if f.endsPass(ctx, err) {
		return false
	}
	if !f.session.Alive() {
		return true
	}
	_, code := Classify(err)
	patience := backoffHint(err) > 0 || code == "limit" || code == "throttled" || code == "overquota"
	return code == "no_bodies" || f.refused(err) && !patience
}

// reopen opens the folder on a new connection.
func (f *folderPass) reopen(ctx context.Context) error {
	if f.reopened++; f.reopened > maxFolderReconnects {
		return transient("connection", fmt.Errorf("the connection was lost %d times over this folder", f.reopened))
	}
	if err := f.reconnect(ctx); err != nil {
		return err
	}
	return f.examineAgain()
}

// examineAgain opens the folder once more, as it was.
func (f *folderPass) examineAgain() error {
	selected, err := f.session.Examine(f.status.Name)
	if err != nil {
		return err
	}
	// Where that never holds, what a message is is told by its content.
	if selected.UIDValidity != 0 && selected.UIDValidity != f.cursor.UIDValidity && !f.cursor.Unstable {
		return transient("uidvalidity_changed", errors.New("UIDVALIDITY changed during the pass"))
	}
	return nil
}

// fromBefore are the messages that were in flight when the last pass was killed, and
// those from the quarantine whose next attempt is due. Two kills are evidence by
// themselves: such a message has had its attempt and is in neither.
func (f *folderPass) fromBefore(ctx context.Context, uids []uint32) (crashed, retried []*message, err error) {
	killed := map[uint32]int{}
	for _, uid := range f.cursor.InFlight {
		killed[uint32(uid)]++
	}
	retried = f.retriedMessages(killed)
	crashed = newMessages(slices.DeleteFunc(slices.Sorted(maps.Keys(killed)), func(uid uint32) bool { return !slices.Contains(uids, uid) }))
	for _, m := range crashed {
		m.killed = killed[m.UID]
	}
	if retried, err = f.chargeKills(ctx, retried); err == nil {
		crashed, err = f.chargeKills(ctx, crashed)
	}
	return crashed, retried, err
}

// crashGroups is into how many groups messages are parted among which one may kill.
const crashGroups = 32

// handleCrashed handles messages of which one may have killed the last pass: of many
// the next pass to be killed leaves few, and those go alone.
func (f *folderPass) handleCrashed(ctx context.Context, crashed []*message) error {
	size := 1
	if len(crashed) > crashGroups {
		size = (len(crashed) + crashGroups - 1) / crashGroups
	}
	return f.handleApart(ctx, crashed, size, size)
}

// retriedMessages are those from the quarantine whose next attempt is due. They
// are taken out of killed.
func (f *folderPass) retriedMessages(killed map[uint32]int) []*message {
	var list []*message
	for _, q := range f.retries[f.status.Name] {
		if q.UIDValidity != f.cursor.UIDValidity {
			continue
		}
		m := newMessage(q.UID)
		m.Size, m.entry, m.killed, m.released = q.Size, &q, killed[q.UID], q.State == db.QuarantineReleased
		if q.ErrorCode == notShown {
			m.missed = &q.UpdatedAt
		}
		list = append(list, m)
		delete(killed, q.UID)
	}
	return list
}
