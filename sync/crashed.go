package sync

import (
	"context"
	"errors"
	"maps"
	"slices"

	"imapsync/db"
	"imapsync/internal/imapsession"
)

// handleCrashed handles first, and apart, what may have killed the last pass.
func (f *folderPass) handleCrashed(ctx context.Context, uids []uint32) error {
	crashed, err := f.crashedMessages(ctx, uids)
	if err != nil {
		return err
	}
	return f.handleGroups(ctx, crashed)
}

// crashedMessages are those that must be handled apart: those from the
// quarantine whose next attempt is due, and those that were in flight when the
// last pass was killed. Of many the next pass to be killed leaves few, and those
// go alone. One that was alone then, twice, has had its attempt.
func (f *folderPass) crashedMessages(ctx context.Context, uids []uint32) ([][]*message, error) {
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
			return nil, err
		}
	}
	return apart, nil
}

// retriedMessages are those from the quarantine whose next attempt is due. They
// are taken out of killed.
func (f *folderPass) retriedMessages(killed map[uint32]int) []*message {
	var list []*message
	for _, q := range f.retries[f.status.Name] {
		if q.UIDValidity != f.cursor.UIDValidity {
			continue
		}
		list = append(list, &message{
			Listed: imapsession.Listed{UID: q.UID, Size: q.Size}, attempts: q.Attempts, retry: true,
			released: q.State == db.QuarantineReleased, killed: killed[q.UID],
		})
		delete(killed, q.UID)
	}
	return list
}
