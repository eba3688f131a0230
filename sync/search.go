package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapsync/internal/imapsession"
)

// search lists the UIDs to handle, ascending, and settles what is known to be
// final without them.
func (f *folderPass) search(ctx context.Context, exists uint32) ([]uint32, error) {
	var found []uint32
	var err error
	now := f.runner.now()
	if exists > 0 {
		if found, err = f.searchNew(); err != nil {
			return nil, err
		}
	}
	c := f.cursor
	uids := c.wanted(found)
	c.finishResync(uids)
	before := *c
	if _, from, to := c.reach(now, true); to > 0 && c.ResyncSince == nil {
		// No gap settles before the server was asked for it by name.
		late, err := f.session.Search(from, to, nil)
		if err != nil {
			return nil, err
		}
		late = c.wanted(late)
		c.settle(now, len(late) == 0)
		uids = c.wanted(append(uids, late...))
	} else {
		c.settle(now, false)
	}
	if c.searched(before, f.status.UIDNext, len(uids), f.first, now) {
		if err := f.store(ctx, c); err != nil {
			return nil, err
		}
	}
	f.log.Debug("search", "settled_uid", c.SettledUID, "found", len(found), "new", len(uids))
	return uids, nil
}

// searchNew asks for the UIDs above the cursor. While a renumbered folder is
// being gone through, those up to LastUID are narrowed to what may be new.
func (f *folderPass) searchNew() ([]uint32, error) {
	st := f.cursor
	if st.ResyncSince == nil {
		return f.session.Search(st.SettledUID+1, imapsession.MaxUID, nil)
	}
	maybe := &imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{
		{NotFlag: []imap.Flag{imap.FlagSeen}, Since: f.startDay()}, {Since: *st.ResyncSince},
	}}}
	old, err := f.session.Search(st.SettledUID+1, st.LastUID, maybe)
	if _, refused := errors.AsType[*imap.Error](err); refused && f.session.Alive() {
		// Then all of it, by headers; too many unknown ones ask a person.
		old, err = f.session.Search(st.SettledUID+1, st.LastUID, nil)
	}
	if err != nil {
		return nil, err
	}
	fresh, err := f.session.Search(st.LastUID+1, imapsession.MaxUID, nil)
	return append(old, fresh...), err
}

// startUID is where a folder that was never read begins, as the provider's start
// says: what is up to there is left alone.
func (f *folderPass) startUID() (uint32, error) {
	start := f.provider.Start
	if start == "all" {
		return 0, nil
	}
	var criteria *imap.SearchCriteria // recent and none look at everything
	if since, ok := strings.CutPrefix(start, "since:"); ok {
		day, err := ParseSince(since, f.runner.now())
		if err != nil {
			return 0, config("start", err)
		}
		criteria = &imap.SearchCriteria{Since: day}
	}
	uids, err := f.session.Search(1, imapsession.MaxUID, criteria)
	if err == nil && len(uids) == 0 && criteria != nil { // nothing since that day: begin behind all there is
		start = "none"
		uids, err = f.session.Search(1, imapsession.MaxUID, nil)
	}
	if err != nil || len(uids) == 0 {
		return 0, err
	}
	slices.Sort(uids)
	switch start {
	case "none":
		return uids[len(uids)-1], nil
	case "recent":
		return uids[max(0, len(uids)-f.provider.MaxEmailsPerSync)] - 1, nil
	default:
		return uids[0] - 1, nil
	}
}

// startDay is the day from which the provider's mail is ours to publish.
func (f *folderPass) startDay() time.Time {
	switch since, ok := strings.CutPrefix(f.provider.Start, "since:"); {
	case f.provider.Start == "all":
		return time.Date(1970, 1, 2, 0, 0, 0, 0, time.UTC)
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
