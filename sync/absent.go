package sync

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"imapsync/db"
)

// findAbsent looks once more for messages that the server did not give, by SEARCH and
// by FETCH, and parts those that it shows nowhere from those that it still lists.
func (f *folderPass) findAbsent(missing []*message) error {
	if len(missing) == 0 {
		return nil
	}
	slices.SortFunc(missing, func(a, b *message) int { return cmp.Compare(a.UID, b.UID) }) // out of the range searched they would pass for gone
	first, last := missing[0].UID, missing[len(missing)-1].UID
	found, err := f.session.Search(first, last, nil)
	if err != nil {
		return err
	}
	listed, err := f.list(first, last)
	if err != nil {
		return err
	}
	for _, m := range missing {
		if slices.Contains(found, m.UID) || slices.Contains(listed, m.UID) {
			m.fail("fetch", "not_returned", errors.New("the server lists the message and does not give it"))
		} else {
			m.absent = true
		}
	}
	return f.findGone(missing)
}

// notShown is the code of a message in quarantine that the server did not show when it
// was tried again.
const notShown = "not_shown"

// missedBefore reports whether a look before this one, on another connection and long
// enough ago, did not find a message either.
func missedBefore(missed *time.Time, opened, now time.Time) bool {
	return missed != nil && now.Sub(*missed) >= gapPatience && opened.After(*missed)
}

// findGone finds out which messages are gone for good, of those that two passes did not
// find: the count of the folder must agree, without them.
func (f *folderPass) findGone(absent []*message) error {
	now := f.runner.now()
	ripe := slices.DeleteFunc(slices.Clone(absent), func(m *message) bool {
		return !m.absent || !missedBefore(m.missed, f.session.Opened(), now)
	})
	if len(ripe) == 0 {
		return nil
	}
	exists, shown, err := f.shown()
	if err != nil {
		return err
	}
	for _, m := range ripe {
		m.expunged = int64(len(shown)) >= exists && !slices.Contains(shown, m.UID)
	}
	return nil
}

// absentAgain describes a message in quarantine that was not found when it was tried
// again. That is no attempt: it is looked for again, first soon, and then seldom.
func (f *folderPass) absentAgain(m *message, now time.Time) db.Quarantine {
	next := now.Add(gapPatience)
	if m.missed != nil {
		next = now.Add(absentPause)
	}
	q := *m.entry
	q.Stage, q.ErrorCode, q.NextAttemptAt = "fetch", notShown, &next
	q.Error = "the server does not show the message; it is looked for again before it is taken for gone"
	return q
}

// absentPause is how long a message in quarantine that the server shows no more is left
// alone, after a second look.
const absentPause = 2 * time.Hour
