package sync

import (
	"cmp"
	"slices"
	"time"

	"imapsync/db"
	"imapsync/internal/imapsession"
)

// cursor is how far a folder has been read: its row, and what the ledger knows
// above SettledUID, ascending. The fields of the row are written in this file
// and in gap.go alone, by methods that say what happened. A method that returns a
// cursor leaves its own as it is: the new one holds once it is stored.
type cursor struct {
	db.FolderState
	handled []db.Handled
	late    []uint32        // UIDs up to SettledUID that the server shows and the ledger does not know, ascending
	anew    bool            // the folder was numbered anew in this pass
	old     map[uint32]bool // messages that are let in though they are old, and are not handled yet
}

// firstCursor begins a folder that was never read behind the UID up to which
// nothing is to be published, and that has so many messages up to there.
func firstCursor(status imapsession.FolderStatus, start uint32, messages int64, account string, now time.Time) *cursor {
	return &cursor{FolderState: db.FolderState{
		Folder: status.Name, UIDValidity: status.UIDValidity, StartUID: start, SettledUID: start, LastUID: start,
		Account: account, FirstLookAt: &now, Exists: messages,
	}}
}

// markInFlight notes which UIDs are about to be handled: being killed by one of
// them counts. One that was killed before is in the list several times.
func (c *cursor) markInFlight(uids []int64) *cursor {
	next := *c
	next.InFlight = uids
	return &next
}

// clearInFlight takes back that messages are being handled.
func (c *cursor) clearInFlight() { c.InFlight = nil }

// notGiven notes the UIDs whose bodies the server did not give, and keeps those noted
// before as far as they are still wanted.
func (c *cursor) notGiven(uids []uint32) {
	before := make([]uint32, len(c.Unfetched))
	for i, uid := range c.Unfetched {
		before[i] = uint32(uid)
	}
	list := c.wanted(append(before, uids...))
	c.Unfetched = toInt64(list[:min(len(list), maxUnfetched)])
}

// maxUnfetched bounds the list: it decides which come last, and nothing else.
const maxUnfetched = 1000

// unfetchedLast parts UIDs by whether the server gave no body of them before.
func (c *cursor) unfetchedLast(uids []uint32) (fresh, unfetched []uint32) {
	for _, uid := range uids {
		if slices.Contains(c.Unfetched, int64(uid)) {
			unfetched = append(unfetched, uid)
		} else {
			fresh = append(fresh, uid)
		}
	}
	return fresh, unfetched
}

// marked are the UIDs that are noted as being handled and not handled yet.
func (c *cursor) marked() []uint32 {
	uids := make([]uint32, len(c.InFlight))
	for i, uid := range c.InFlight {
		uids[i] = uint32(uid)
	}
	return c.wanted(uids)
}

// searched notes that a search which found the cursor as it was before has left
// so many messages to handle. It reports whether that is worth a write by itself.
func (c *cursor) searched(before cursor, uidNext uint32, backlog int, first bool, now time.Time) bool {
	if !c.anew {
		c.ResyncCount = 0 // a pass under the same numbering
	}
	c.LastSearchAt, c.UIDNext, c.Backlog = &now, uidNext, int64(backlog)
	if backlog > 0 {
		return false // the first commit writes it
	}
	news := first || c.GapSince != nil || before.LastSearchAt == nil || now.Sub(*before.LastSearchAt) > searchAnyway ||
		before.UIDNext != uidNext || before.Exists != c.Exists || before.SettledUID != c.SettledUID || before.Backlog > 0 ||
		before.CountedAt != c.CountedAt || before.SurplusLooks != c.SurplusLooks || before.GapSince != c.GapSince || before.ResyncCount != c.ResyncCount || before.LastError != ""
	if news {
		c.InFlight, c.LastError = nil, ""
	}
	return news
}

// committed is the cursor once the ledger has rows. toMark are the UIDs that may
// be handled from then on.
func (c *cursor) committed(rows []db.Message, toMark []uint32, now time.Time) *cursor {
	next := *c
	next.handled = slices.Clone(c.handled)
	done := make(map[int64]bool, len(rows))
	for _, row := range rows {
		done[int64(row.UID)] = true
		if i, known := c.find(row.UID); known {
			next.handled[i] = db.Handled{UID: row.UID, ProcessedAt: now, Expunged: row.Outcome == db.Expunged}
		} else {
			next.handled = append(next.handled, db.Handled{UID: row.UID, ProcessedAt: now, Expunged: row.Outcome == db.Expunged})
		}
	}
	slices.SortFunc(next.handled, func(a, b db.Handled) int { return cmp.Compare(a.UID, b.UID) })
	next.Backlog = max(0, c.Backlog-int64(len(next.handled)-len(c.handled)))
	next.late = slices.DeleteFunc(slices.Clone(c.late), func(uid uint32) bool { return done[int64(uid)] })
	next.countOld(rows)
	next.settle()
	next.forgetSettled()
	if open := next.gaps(); open && !c.gaps() {
		next.beginLooks(now)
	} else if !open {
		next.endLooks()
	}
	next.InFlight = slices.DeleteFunc(slices.Clone(c.InFlight), func(uid int64) bool { return done[uid] })
	next.InFlight = append(next.InFlight, toInt64(toMark)...)
	next.LastServedAt, next.LastError = &now, ""
	return &next
}

// forgetSettled leaves of what is handled the rows above SettledUID.
func (c *cursor) forgetSettled() {
	c.handled = slices.DeleteFunc(c.handled, func(h db.Handled) bool { return h.UID <= c.SettledUID })
}

// wanted are the UIDs of a search that are above the cursor, or late, and not handled,
// ascending, each once: servers list them unsorted, twice, and out of range.
func (c *cursor) wanted(found []uint32) []uint32 {
	list := slices.Clone(found)
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(uid uint32) bool {
		if uid <= c.SettledUID {
			_, late := slices.BinarySearch(c.late, uid)
			return !late
		}
		return c.knows(uid)
	})
}

// knows reports whether a UID above SettledUID is handled. One that was thought to be
// expunged and is shown again is not.
func (c *cursor) knows(uid uint32) bool {
	i, known := c.find(uid)
	return known && !c.handled[i].Expunged
}

func (c *cursor) find(uid uint32) (int, bool) {
	return slices.BinarySearchFunc(c.handled, uid, func(h db.Handled, uid uint32) int { return cmp.Compare(h.UID, uid) })
}

// searchAnyway is how long what STATUS says is believed when it reports nothing new.
const searchAnyway = time.Hour

// nothingNew reports whether the folder need not be opened: the server says by UIDNEXT
// and by the number of messages that nothing came since the last completed search, and
// that left nothing to look for. What it does not say, or says otherwise, is no such
// sign, and what it says is not believed for ever.
func nothingNew(st *db.FolderState, status imapsession.FolderStatus, now time.Time) bool {
	switch {
	case st == nil, st.Unstable, status.UIDValidity == 0, status.UIDNext == 0, status.Messages < 0:
		return false
	case st.UIDValidity != status.UIDValidity, st.UIDNext != status.UIDNext, st.Exists != status.Messages:
		return false
	case st.Open(), Doubtful(st, now):
		return false
	case givenOut(st.UIDNext, st.LastUID) && !(st.GapLooks >= gapLooks && patientFor(st, now)):
		return false // the server has given out UIDs that it has not shown
	case st.LastSearchAt == nil || now.Sub(*st.LastSearchAt) > searchAnyway:
		return false
	}
	return true
}
