package sync

import (
	"time"

	"imapsync/db"
)

// What a cursor is under which numbering of a folder stands here; cursor.go has how far
// it is. These files and gap.go alone write its fields.

// beginning is before all mail.
func beginning() time.Time { return time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC) }

// A numbering is how the messages of a folder are numbered from now on, and which of
// them are looked at.
type numbering struct {
	account     string
	uidValidity uint64
	start, last uint32 // the UIDs that are gone through by their headers: above start, up to last
	since       time.Time
	old         int64 // of those that are unknown and older than the first look, so many are published
	reason      string
}

// allOld is that number where nothing is held, everything where age does not count.
const (
	allOld     = int64(1) << 62
	everything = int64(-1)
)

// renumbered begins a folder anew whose messages the server has given new UIDs.
func (c *cursor) renumbered(n numbering, now time.Time) *cursor {
	next := &cursor{anew: true, FolderState: db.FolderState{
		Folder: c.Folder, Account: n.account, UIDValidity: n.uidValidity, StartUID: n.start, SettledUID: n.start, LastUID: max(n.start, n.last),
		ResyncSince: &n.since, ResyncReason: n.reason, ResyncCount: c.ResyncCount + 1, RenumberedAt: &now,
		FirstLookAt: c.FirstLookAt, HorizonAt: c.HorizonAt, OldLeft: n.old, Unstable: c.Unstable, SweepLeft: c.SweepLeft,
		LastServedAt: c.LastServedAt, LastSearchAt: c.LastSearchAt, Exists: -1,
	}}
	if next.Unstable = next.Unstable || next.ResyncCount >= unstableAfter; next.Unstable {
		next.ResyncCount, next.Held = unstableAfter, c.Held
	}
	return next
}

// begunEmpty begins a folder of an account that has no message at all. Its store may be
// away, and all mail is there later: what was received before the first look, but so
// many, is held then.
func (c *cursor) begunEmpty(old int64) *cursor {
	next := *c
	next.RenumberedAt, next.OldLeft = c.FirstLookAt, old
	return &next
}

// wasEmpty reports whether the folder was begun so.
func (c *cursor) wasEmpty() bool {
	return c.RenumberedAt != nil && c.FirstLookAt != nil && c.RenumberedAt.Equal(*c.FirstLookAt)
}

// ofAccount begins a folder anew that is another user's: as if it was never read.
func (c *cursor) ofAccount(n numbering, now time.Time) *cursor {
	next := c.renumbered(n, now)
	next.FirstLookAt, next.HorizonAt, next.RenumberedAt = &n.since, nil, nil
	next.ResyncCount, next.Unstable, next.SweepLeft = 0, false, 0
	return next
}

// adopt binds a cursor to its account that is from before accounts were kept.
func (c *cursor) adopt(account string) {
	if c.Account == "" {
		c.Account = account
	}
}

// SearchAgain has the next pass go through a folder once more for mail received since
// a time. Accepted, it publishes what it does not know, however old, and from where
// the folder's own mail begins.
func SearchAgain(st *db.FolderState, since time.Time, accepted bool) {
	if since.IsZero() {
		since = beginning()
	}
	st.SweepLeft = 0
	st.ResyncSince, st.ResyncReason, st.ResyncCount, st.Held, st.OldLeft = &since, "asked for by a person", 0, 0, DefaultMaxOldUnknown
	if accepted {
		st.ResyncReason, st.OldLeft = db.ResyncAccepted, allOld
	}
	st.LastUID, st.SettledUID, st.StartUID, st.Exists = max(st.LastUID, st.SettledUID), 0, 0, -1
	st.GapSince, st.GapLooks, st.GapSessions = nil, 0, 0
}

// swept notes that all is final up to a UID while a folder is gone through by headers;
// passed is the highest UID that was left alone because its mail is not ours, and found
// are those that the search has shown.
func (c *cursor) swept(to, passed uint32, found []uint32) *cursor {
	next := *c
	next.SettledUID, next.StartUID = max(c.SettledUID, to), max(c.StartUID, min(passed, to))
	next.forgetSettled()
	next.Backlog = int64(len(next.wanted(found)))
	return &next
}

// finishResync ends going through a folder by headers: all is final up to LastUID.
func (c *cursor) finishResync() *cursor {
	next := *c
	if next.SettledUID = max(c.SettledUID, c.LastUID); next.OldLeft < 0 || next.OldLeft > allOld/2 {
		next.OldLeft = 0
	}
	next.ResyncSince, next.ResyncReason = nil, ""
	next.settle()
	next.forgetSettled()
	return &next
}

// letOldIn notes that a message is going to be published though it is old, which counts
// once it is: its content may be known.
func (c *cursor) letOldIn(uid uint32) {
	if c.old == nil {
		c.old = map[uint32]bool{}
	}
	c.old[uid] = true
}

// oldLeft is how many more old messages may be published.
func (c *cursor) oldLeft() int64 { return c.OldLeft - int64(len(c.old)) }

// countOld counts what became of one of them, and what is held.
func (c *cursor) countOld(rows []db.Message) {
	for _, row := range rows {
		if c.old[row.UID] {
			if delete(c.old, row.UID); row.Outcome == db.Published || row.Outcome == db.Quarantined {
				c.OldLeft--
			}
		}
		if row.Outcome == db.Held {
			c.Held++
		}
	}
}

// trusts notes that a folder whose numbering never held has kept it since the last
// pass, and reports whether it has done so often enough to be read like any other.
func (c *cursor) trusts() bool {
	c.ResyncCount--
	return c.ResyncCount <= 0
}

// trusted leaves off reading a folder by place.
func (c *cursor) trusted() *cursor {
	next := *c
	next.Unstable, next.SweepLeft, next.ResyncCount = false, 0, 0
	return &next
}

// sweptTo ends a pass over a folder whose numbering never holds: so many messages are
// left below the place that it was read down to. Of old messages that come from then on,
// so many are published.
func (c *cursor) sweptTo(left int, uidNext uint32, backlog int, old int64, now time.Time) *cursor {
	next := *c
	next.SweepLeft, next.Backlog, next.UIDNext, next.LastSearchAt = int64(left), int64(backlog), uidNext, &now
	if left == 0 && next.OldLeft > allOld/2 {
		next.OldLeft = old // what a person has accepted was gone through
	}
	next.SettledUID, next.ResyncSince, next.ResyncReason, next.LastError, next.InFlight, next.Unfetched = 0, nil, "", "", nil, nil
	return &next
}

const (
	// unstableAfter changes of the numbering in a row say that it never holds.
	unstableAfter = 3
	// guardFor is how long after a change messages that show up are told by their
	// headers: a server that moves may still be copying old mail.
	guardFor = 24 * time.Hour
)

// guarded reports whether the folder was numbered anew not long ago.
func (c *cursor) guarded(now time.Time) bool {
	return c.RenumberedAt != nil && now.Sub(*c.RenumberedAt) < guardFor
}
