package sync

import (
	"context"
	"fmt"
	"strings"
	"time"

	"imapsync/internal/imapsession"
)

// search lists the UIDs to handle, ascending, and settles what is known to be
// final without them. A search that falls short of what EXISTS says is no answer: the
// folder is listed by FETCH, and counted as a whole where that does not explain it.
func (f *folderPass) search(ctx context.Context) ([]uint32, error) {
	now := f.runner.now()
	found, err := f.searchNew()
	if err != nil {
		return nil, err
	}
	c, before := f.cursor, *f.cursor
	c.shrinks(f.exists, now)
	uids := c.wanted(found)
	if c.unseen(f.exists, len(uids)) > 0 {
		listed, err := f.list(c.SettledUID+1, imapsession.MaxUID)
		if err != nil {
			return nil, err
		}
		found = append(found, listed...)
		uids = c.wanted(found)
	}
	c.settle()
	f.unseen = max(f.unlisted, c.unseen(f.exists, len(uids)))
	large := f.exists > maxCounted && c.ResyncSince == nil
	if large {
		f.unseen = c.uncounted(f.exists, f.unseen, now)
	}
	if f.unseen == 0 {
		c.looked(f.status.UIDNext, f.session.Opened(), now) // else the look is no evidence
	}
	backlog := len(uids)
	_, ripe := c.ripeGap(now)
	switch {
	case large && ripe && f.unseen == 0 && !f.mustEnd():
		listed, err := f.list(c.SettledUID+1, imapsession.MaxUID)
		if err != nil {
			return nil, err
		}
		if uids = c.wanted(append(found, listed...)); len(listed) > 0 { // else it may have been refused
			c.settleGaps(uids, now)
		}
		backlog = len(uids)
	case large:
	case (ripe || f.unseen > 0 || Doubtful(&c.FolderState, now) || f.countDue(&c.FolderState, now)) && f.mayCount(now):
		seen, err := f.count(ctx)
		if err != nil {
			return nil, err
		}
		c = f.cursor
		uids = c.wanted(append(found, seen...))
		if f.unseen, backlog = c.Surplus, len(uids); !Doubtful(&c.FolderState, now) {
			f.unseen = 0
			c.settleGaps(uids, now)
		}
	case f.unseen == 0:
		c.explain(f.exists, len(uids), now)
		if c.believe(f.exists); Doubtful(&c.FolderState, now) {
			f.unseen = min(c.Surplus, f.exists) // each pass says it, until a count tells
		}
	default:
		backlog = max(backlog, int(c.Backlog)) // until a count tells
	}
	if c.searched(before, f.status.UIDNext, backlog, f.first, now) {
		if err := f.store(ctx, c); err != nil {
			return nil, err
		}
	}
	f.log.Debug("search", "settled_uid", c.SettledUID, "found", len(found), "new", len(uids), "exists", f.exists, "unseen", f.unseen)
	return uids, nil
}

// searchNew asks for the UIDs above the cursor. One that was numbered anew is listed by
// FETCH: a search that leaves some out would end with them left out for good.
func (f *folderPass) searchNew() ([]uint32, error) {
	if f.exists == 0 {
		return nil, nil
	}
	if f.cursor.ResyncSince != nil {
		exists, uids, err := f.shown()
		f.unlisted = max(0, exists-int64(len(uids)))
		return uids, err
	}
	return f.session.Search(f.cursor.SettledUID+1, imapsession.MaxUID, nil)
}

// startDay is the day from which the provider's mail is ours to publish.
func (f *folderPass) startDay() time.Time {
	switch since, ok := strings.CutPrefix(f.provider.Start, "since:"); {
	case f.provider.Start == "all":
		return beginning()
	case ok:
		if day, err := ParseSince(since, f.provider.CreatedAt); err == nil {
			return day
		}
	}
	return f.provider.CreatedAt.UTC().AddDate(0, 0, -2).Truncate(24 * time.Hour)
}

// maxDaysAgo reaches back beyond all mail; a thousand years of days are a slip
// that no database takes.
const maxDaysAgo = 99_999

// ParseSince reads what every --since takes: a date like 2026-01-31, or how long
// ago: days like 30d, which begin with the day they reach back to, or a span like
// 48h, to the second. In UTC.
func ParseSince(s string, now time.Time) (time.Time, error) {
	if day, err := time.Parse(time.DateOnly, s); err == nil {
		return day, nil
	}
	if span, err := time.ParseDuration(s); err == nil && span > 0 {
		return now.UTC().Add(-span), nil
	}
	var days int
	if n, err := fmt.Sscanf(s, "%dd", &days); err != nil || n != 1 || days < 0 || fmt.Sprintf("%dd", days) != s || days > maxDaysAgo {
		return time.Time{}, fmt.Errorf("%q is neither a time ago like 30d or 48h nor a date like 2026-01-31", s)
	}
	return now.UTC().AddDate(0, 0, -days).Truncate(24 * time.Hour), nil
}
