package sync

import (
	"slices"
	"time"

	"imapsync/db"
)

// A gap is a UID below the highest handled one that the server has not shown.
// Servers do show UIDs late, so it stays open for a while.
const (
	gapPatience = 15 * time.Minute
	gapPasses   = 10
)

// advance moves the cursor as far as it goes: over UIDs the ledger knows, and
// over gaps that have been open long enough. handled must be ascending and
// hold every ledger row above SettledUID. confirmed says that the server was
// asked for the gaps by name just now and has nothing there: without it no gap
// settles.
func advance(st *db.FolderState, handled []db.Handled, now time.Time, confirmed bool) {
	before := st.SettledUID
	oldest := oldestAbove(handled)
	for i, h := range handled {
		if h.UID <= st.SettledUID {
			continue
		}
		if h.UID > st.SettledUID+1 && !(confirmed && gapExpired(st, oldest[i], now)) {
			break
		}
		st.SettledUID = h.UID
	}
	if n := len(handled); n > 0 && st.ResyncSince == nil { // else LastUID is where the search was narrowed
		st.LastUID = max(st.LastUID, handled[n-1].UID)
	}
	st.LastUID = max(st.LastUID, st.SettledUID)
	if st.SettledUID != before {
		st.GapPasses = 0
	}
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
func gapExpired(st *db.FolderState, since, now time.Time) bool {
	return st.GapPasses >= gapPasses || now.Sub(since) >= gapPatience
}

// expiredGaps is the range from the first to the last gap that is ready to
// settle, if there is one.
func expiredGaps(st *db.FolderState, handled []db.Handled, now time.Time) (from, to uint32, ok bool) {
	settled := st.SettledUID
	oldest := oldestAbove(handled)
	for i, h := range handled {
		if h.UID <= settled {
			continue
		}
		if h.UID > settled+1 {
			if !gapExpired(st, oldest[i], now) {
				break
			}
			if !ok {
				from = settled + 1
			}
			to, ok = h.UID-1, true
		}
		settled = h.UID
	}
	return from, to, ok
}

// wanted are the UIDs of a search that are above the cursor and not handled,
// ascending, each once: servers list them unsorted, twice, and out of range.
func wanted(found []uint32, st *db.FolderState, handled []db.Handled) []uint32 {
	list := slices.Clone(found)
	slices.Sort(list)
	list = slices.Compact(list)
	return slices.DeleteFunc(list, func(uid uint32) bool {
		if uid <= st.SettledUID {
			return true
		}
		_, known := slices.BinarySearchFunc(handled, uid, compareUID)
		return known
	})
}

// searchAnyway is how long UIDNEXT alone is believed when it reports nothing new.
const searchAnyway = time.Hour

// nothingNew reports whether the folder need not be opened: the server says
// that nothing came since the last completed search, and that left nothing to
// look for. UIDNEXT is a hint, so it is not believed for ever.
func nothingNew(st *db.FolderState, status mailboxStatus, now time.Time) bool {
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
