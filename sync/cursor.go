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
// alone, by methods that say what happened. A method that returns a cursor leaves
// its own as it is: the new one holds once it is stored.
type cursor struct {
	db.FolderState
	handled []db.Handled
}

// firstCursor begins a folder that was never read behind the UID up to which
// nothing is to be published.
func firstCursor(status imapsession.FolderStatus, start uint32) *cursor {
	return &cursor{FolderState: db.FolderState{
		Folder: status.Name, UIDValidity: status.UIDValidity, StartUID: start, SettledUID: start, LastUID: start,
	}}
}

// renumbered begins anew after the server has given the messages new UIDs, the
// highest of them last. What came before since is known by now.
func (c *cursor) renumbered(uidValidity uint64, last uint32, since time.Time, reason string) *cursor {
	return &cursor{FolderState: db.FolderState{
		Folder: c.Folder, UIDValidity: uidValidity, LastUID: last, ResyncSince: &since, ResyncReason: reason,
		ResyncCount: c.ResyncCount + 1, LastServedAt: c.LastServedAt, LastSearchAt: c.LastSearchAt,
	}}
}

// SearchAgain has the next pass go through a folder once more, from a day on.
func SearchAgain(st *db.FolderState, since time.Time, reason string) {
	st.ResyncSince, st.ResyncReason, st.ResyncCount, st.PausedReason = &since, reason, 0, ""
	st.LastUID, st.SettledUID, st.StartUID, st.GapPasses = max(st.LastUID, st.SettledUID), 0, 0, 0
}

// paused leaves the folder to a person.
func (c *cursor) paused(reason string) *cursor {
	next := *c
	next.PausedReason = reason
	return &next
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

// marked are the UIDs that are noted as being handled and not handled yet.
func (c *cursor) marked() []uint32 {
	uids := make([]uint32, len(c.InFlight))
	for i, uid := range c.InFlight {
		uids[i] = uint32(uid)
	}
	return c.wanted(uids)
}

// finishResync ends the search under a new numbering when none of the UIDs that
// are still wanted is one that it was made for.
func (c *cursor) finishResync(wanted []uint32) {
	if c.ResyncSince == nil || slices.ContainsFunc(wanted, func(uid uint32) bool { return uid <= c.LastUID }) {
		return
	}
	c.SettledUID, c.StartUID = c.LastUID, c.LastUID
	c.ResyncSince, c.ResyncReason = nil, ""
	c.forgetSettled()
}

// searched notes that a search which found the cursor as it was before has left
// so many messages to handle. It reports whether that is worth a write by itself.
func (c *cursor) searched(before cursor, uidNext uint32, backlog int, first bool, now time.Time) bool {
	if c.ResyncSince == nil && !first {
		c.ResyncCount = 0 // a pass under the same numbering
	}
	open := c.SettledUID < c.LastUID || uidNext > c.LastUID+1
	if open && backlog == 0 && c.SettledUID == before.SettledUID {
		c.GapPasses++
	}
	c.LastSearchAt, c.UIDNext, c.Backlog = &now, uidNext, int64(backlog)
	if backlog > 0 {
		return false // the first commit writes it
	}
	news := first || open || before.LastSearchAt == nil || before.UIDNext != uidNext || before.SettledUID != c.SettledUID ||
		before.ResyncCount != c.ResyncCount || before.LastError != ""
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
		if !c.knows(row.UID) {
			next.handled = append(next.handled, db.Handled{UID: row.UID, ProcessedAt: now})
		}
	}
	slices.SortFunc(next.handled, func(a, b db.Handled) int { return cmp.Compare(a.UID, b.UID) })
	next.Backlog = max(0, c.Backlog-int64(len(next.handled)-len(c.handled)))
	next.settle(now, false)
	next.forgetSettled()
	next.InFlight = slices.DeleteFunc(slices.Clone(c.InFlight), func(uid int64) bool { return done[uid] })
	next.InFlight = append(next.InFlight, toInt64(toMark)...)
	next.LastServedAt, next.LastError = &now, ""
	return &next
}

// A gap is a UID below the highest handled one that the server has not shown.
// Servers do show UIDs late, so it stays open for a while.
const (
	gapPatience = 15 * time.Minute
	gapPasses   = 10
)

// settle moves the cursor as far as it goes. confirmed says that the server was asked
// for the gaps by name just now and has nothing there: without it no gap settles.
func (c *cursor) settle(now time.Time, confirmed bool) {
	settled, _, _ := c.reach(now, confirmed)
	if settled != c.SettledUID {
		c.SettledUID, c.GapPasses = settled, 0
	}
	if n := len(c.handled); n > 0 && c.ResyncSince == nil { // else LastUID is where the search was narrowed
		c.LastUID = max(c.LastUID, c.handled[n-1].UID)
	}
	c.LastUID = max(c.LastUID, c.SettledUID)
}

// reach is how far the cursor could go: over UIDs the ledger knows and, if it may,
// over gaps that have been open long enough, of which first and last are the ends;
// they are 0 when there are none.
func (c *cursor) reach(now time.Time, overGaps bool) (settled, first, last uint32) {
	settled = c.SettledUID
	oldest := oldestAbove(c.handled)
	for i, h := range c.handled {
		if h.UID <= settled {
			continue
		}
		if h.UID > settled+1 {
			if !overGaps || !c.gapExpired(oldest[i], now) {
				break
			}
			first, last = cmp.Or(first, settled+1), h.UID-1
		}
		settled = h.UID
	}
	return settled, first, last
}

// forgetSettled leaves of what is handled the rows above SettledUID.
func (c *cursor) forgetSettled() {
	c.handled = slices.DeleteFunc(c.handled, func(h db.Handled) bool { return h.UID <= c.SettledUID })
}

// oldestAbove gives for every row when the first of it and those above it was
// handled: since then the server has shown UIDs above the gap below that row.
func oldestAbove(handled []db.Handled) []time.Time {
	oldest := make([]time.Time, len(handled))
	for i := len(handled) - 1; i >= 0; i-- {
		oldest[i] = handled[i].ProcessedAt
		if i+1 < len(handled) && oldest[i+1].Before(oldest[i]) {
			oldest[i] = oldest[i+1]
		}
	}
	return oldest
}

// gapExpired reports whether a gap has been open long enough: since the first
// UID above it was handled, or for so many searches.
func (c *cursor) gapExpired(since, now time.Time) bool {
	return c.GapPasses >= gapPasses || now.Sub(since) >= gapPatience
}

// wanted are the UIDs of a search that are above the cursor and not handled,
// ascending, each once: servers list them unsorted, twice, and out of range.
func (c *cursor) wanted(found []uint32) []uint32 {
	list := slices.Clone(found)
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(uid uint32) bool { return uid <= c.SettledUID || c.knows(uid) })
}

// knows reports whether a UID above SettledUID is handled.
func (c *cursor) knows(uid uint32) bool {
	_, known := slices.BinarySearchFunc(c.handled, uid, func(h db.Handled, uid uint32) int { return cmp.Compare(h.UID, uid) })
	return known
}

// searchAnyway is how long UIDNEXT alone is believed when it reports nothing new.
const searchAnyway = time.Hour

// nothingNew reports whether the folder need not be opened: the server says
// that nothing came since the last completed search, and that left nothing to
// look for. UIDNEXT is a hint, so it is not believed for ever.
func nothingNew(st *db.FolderState, status imapsession.FolderStatus, now time.Time) bool {
	switch {
	case st == nil, status.UIDValidity == 0, status.UIDNext == 0:
		return false
	case st.UIDValidity != status.UIDValidity, st.UIDNext != status.UIDNext:
		return false
	case st.Open():
		return false
	case st.UIDNext > st.LastUID+1 && st.GapPasses < gapPasses:
		return false // the server has given out UIDs that it has not shown
	case st.LastSearchAt == nil || now.Sub(*st.LastSearchAt) > searchAnyway:
		return false
	}
	return true
}
