package sync

import (
	"cmp"
	"slices"
	"time"

	"imapsync/db"
)

// A gap is a UID below the highest handled one that the server has not shown. Servers
// do show UIDs late, so a gap stays open until there is evidence that nothing is in it:
// looks over some time, on more than one connection, and a count of the whole folder
// that agrees with EXISTS.
const (
	gapPatience = 15 * time.Minute
	gapLooks    = 3
	gapSessions = 2
	// shrunkPatience is how long a folder that lost more than half of its messages
	// at once is believed to have its store in disorder.
	shrunkPatience = 24 * time.Hour
)

// looked counts a search that left gaps open, on a connection made at opened. One that
// is younger than the look before is another connection. Looks are counted for all gaps
// together: those that were open when the count began settle at its end, and then it
// begins again for the younger ones. UIDs that UIDNEXT has given out above the highest
// handled one are looked for as well; they never settle.
func (c *cursor) looked(uidNext uint32, opened, now time.Time) {
	_, ripe := c.ripeGap(now)
	switch {
	case !c.gaps() && !givenOut(uidNext, c.LastUID):
		c.endLooks()
	case c.GapSince == nil || c.gaps() && c.proven(now) && !ripe:
		c.beginLooks(now)
	default:
		if c.LastSearchAt == nil || opened.After(*c.LastSearchAt) {
			c.GapSessions++
		}
		c.GapLooks++
	}
}

func (c *cursor) beginLooks(now time.Time) {
	c.GapSince, c.GapLooks, c.GapSessions = &now, 1, 1
}

func (c *cursor) endLooks() { c.GapSince, c.GapLooks, c.GapSessions = nil, 0, 0 }

// givenOut reports whether the server has given out UIDs above last.
func givenOut(uidNext, last uint32) bool { return uidNext > last && uidNext-1 > last }

// gaps reports whether there are any.
func (c *cursor) gaps() bool {
	return len(c.handled) > 0 && c.handled[len(c.handled)-1].UID > c.SettledUID && c.ResyncSince == nil
}

// proven reports whether the looks are evidence enough for the gaps that were open
// when they began.
func (c *cursor) proven(now time.Time) bool {
	return c.GapLooks >= gapLooks && c.GapSessions >= gapSessions && patientFor(&c.FolderState, now)
}

func patientFor(st *db.FolderState, now time.Time) bool {
	patience := gapPatience
	if shrunkLately(st, now) {
		patience = shrunkPatience
	}
	return st.GapSince != nil && now.Sub(*st.GapSince) >= patience
}

// ripeGap reports whether a gap would settle if a count of the folder agreed, and up to
// which UID.
func (c *cursor) ripeGap(now time.Time) (settled uint32, ripe bool) {
	if c.ResyncSince != nil || !c.proven(now) {
		return c.SettledUID, false
	}
	settled = c.reach(c.GapSince)
	return settled, settled > c.reach(nil)
}

// wantsConnection reports whether all that is missing for a gap to settle is a look on
// another connection: then the one that was kept is given up for it.
func wantsConnection(st *db.FolderState, now time.Time) bool {
	return st.SettledUID < st.LastUID && st.ResyncSince == nil && st.GapSessions < gapSessions &&
		st.GapLooks >= gapLooks-1 && patientFor(st, now)
}

// settle moves the cursor over the UIDs that the ledger knows.
func (c *cursor) settle() {
	c.settleTo(c.reach(nil))
}

// settleGaps moves the cursor over the gaps that are ripe, up to the lowest UID that is
// still to be handled. The whole folder was counted just now, and nothing is amiss.
func (c *cursor) settleGaps(wanted []uint32, now time.Time) {
	settled, ripe := c.ripeGap(now)
	if !ripe {
		return
	}
	above := slices.IndexFunc(wanted, func(uid uint32) bool { return uid > c.SettledUID })
	if above >= 0 {
		settled = min(settled, wanted[above]-1)
	}
	c.settleTo(settled)
	c.forgetSettled()
	if c.endLooks(); c.gaps() {
		c.beginLooks(now)
	}
}

func (c *cursor) settleTo(uid uint32) {
	c.SettledUID = uid
	if n := len(c.handled); n > 0 && c.ResyncSince == nil { // else LastUID is where the search was narrowed
		c.LastUID = max(c.LastUID, c.handled[n-1].UID)
	}
	c.LastUID = max(c.LastUID, c.SettledUID)
}

// reach is how far the cursor could go: over UIDs the ledger knows and, unless it is
// nil, over gaps that were open since then.
func (c *cursor) reach(since *time.Time) uint32 {
	settled := c.SettledUID
	oldest := oldestAbove(c.handled)
	for i, h := range c.handled {
		if h.UID <= settled {
			continue
		}
		if h.UID > settled+1 && (since == nil || oldest[i].After(*since)) {
			break
		}
		settled = h.UID
	}
	return settled
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

// surplusPatience and surplusLooks: a number of messages that EXISTS counts and no
// listing shows is the folder's own after so long, and so many counts that agree.
const (
	surplusPatience = 24 * time.Hour
	surplusLooks    = 10
)

// counted is what a count of the whole folder comes to: exists messages by EXISTS, of
// which those that were listed are shown. late are those at or below SettledUID that the
// ledger does not know: whatever was believed of them, they are to be read.
func (c *cursor) counted(exists int64, shown, late []uint32, now time.Time) {
	c.notShown(max(0, exists-int64(len(shown))), now)
	c.Exists, c.CountedAt, c.late = exists, &now, late
	if c.LowestUID = 0; len(shown) > 0 {
		c.LowestUID = shown[0]
	}
}

// notShown notes how many messages EXISTS counts and no listing shows.
func (c *cursor) notShown(surplus int64, now time.Time) {
	switch surplus {
	case 0:
		c.Surplus, c.SurplusSince, c.SurplusLooks = 0, nil, 0
	case c.Surplus:
		c.SurplusLooks++
	default:
		c.Surplus, c.SurplusSince, c.SurplusLooks = surplus, &now, 1
	}
}

// uncounted is counted for a folder that is too large for it: of exists messages, all
// but those unseen are explained by what was found since it was read first. It returns
// how many may yet turn up.
func (c *cursor) uncounted(exists, unseen int64, now time.Time) int64 {
	c.notShown(unseen, now)
	if c.Exists = exists - unseen; !Doubtful(&c.FolderState, now) {
		return 0
	}
	return unseen
}

// counting notes that a count begins: one that never comes to its end is not begun
// again by the next pass.
func (c *cursor) counting(now time.Time) *cursor {
	next := *c
	next.CountedAt = &now
	return &next
}

// Doubtful reports whether EXISTS counts messages that no listing shows, and that may
// yet turn up.
func Doubtful(st *db.FolderState, now time.Time) bool {
	return st.Surplus > 0 && !(st.SurplusLooks >= surplusLooks && now.Sub(*st.SurplusSince) >= surplusPatience)
}

// halved reports whether more than half of the messages are gone at once.
func (c *cursor) halved(exists int64) bool { return c.Exists > 0 && 2*exists < c.Exists }

// disorder reports whether the store of a folder may be in disorder, now or since
// lately, so that what it does not show is not known to be gone.
func (c *cursor) disorder(exists int64, now time.Time) bool {
	return c.halved(exists) || shrunkLately(&c.FolderState, now)
}

func shrunkLately(st *db.FolderState, now time.Time) bool {
	return st.ShrunkAt != nil && now.Sub(*st.ShrunkAt) < shrunkPatience
}

// shrinks notes that more than half of the messages are gone at once. What was looked
// for before that, and not seen, is no evidence.
func (c *cursor) shrinks(exists int64, now time.Time) {
	if !c.halved(exists) {
		return
	}
	if !shrunkLately(&c.FolderState, now) {
		c.endLooks()
	}
	c.ShrunkAt = &now
}

// believe takes EXISTS for the number of messages, when what was found explains it.
func (c *cursor) believe(exists int64) { c.Exists = exists }

// unseen is how many messages EXISTS counts beyond those that were there before and
// those that wanted by what was found. Of a folder that an older version has read, how many
// were there is not known.
func (c *cursor) unseen(exists int64, wanted int) int64 {
	was := c.Exists
	switch {
	case c.ResyncSince != nil: // the search was narrowed
		return 0
	case was < 0 && c.LastUID > 0:
		return 0
	}
	return max(0, exists-max(0, was)-(int64(wanted)-c.Backlog))
}

// explain takes what was found beyond what EXISTS rose by for messages that the last
// count was short of.
func (c *cursor) explain(exists int64, wanted int, now time.Time) {
	if found := int64(wanted) - c.Backlog - max(0, exists-max(0, c.Exists)); found > 0 && c.Surplus > 0 {
		c.notShown(max(0, c.Surplus-found), now)
	}
}

// A count costs the server and the line some 40 bytes a message. So a folder is counted
// once a day for each countedDaily messages it has, and when something does not add up
// or a gap is ripe, once a minute for each countedAMinute. One of more than maxCounted
// is never counted whole: there its gaps are listed, and what EXISTS rises by must be
// found.
const (
	countedDaily   = 100_000
	countedAMinute = 5_000
	maxCounted     = 1_000_000
	surplusPause   = 2 * time.Hour
)

// mayCount reports whether the folder was not counted lately. Where EXISTS counts
// messages that nothing shows, the longer that lasts the rarer.
func (c *cursor) mayCount(exists int64, now time.Time) bool {
	if exists > maxCounted {
		return false
	}
	pause := time.Minute * time.Duration(1+exists/countedAMinute)
	if c.Surplus > 0 {
		pause = max(pause, min(now.Sub(*c.SurplusSince)/4, surplusPause))
	}
	return c.CountedAt == nil || now.Sub(*c.CountedAt) >= pause
}

// countDue reports whether the time of the day has come at which a folder is counted:
// another one for each, by the hash of whose it is.
func countDue(st *db.FolderState, hash uint64, now time.Time) bool {
	last := cmp.Or(st.CountedAt, st.LastSearchAt)
	if st.Exists <= 0 || st.Exists > maxCounted || last == nil {
		return false
	}
	period := 24 * 60 * 60 * (1 + (st.Exists-1)/countedDaily)
	slot := func(t time.Time) int64 { return (t.Unix() + int64(hash%uint64(period))) / period }
	lately := st.CountedAt != nil && now.Sub(*st.CountedAt) < surplusPause // it may not be counted yet
	return slot(now) > slot(*last) && !lately
}
