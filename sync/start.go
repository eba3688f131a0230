package sync

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapsync/internal/fault"
	"imapsync/internal/imapsession"
)

// start is where a folder that was never read begins, as the provider's start says: what
// is up to that UID, so many messages, is left alone. A server whose answers contradict
// each other there would have old mail published later, or lose new mail: the folder is
// begun by a later pass then.
func (f *folderPass) start() (uid uint32, messages int64, err error) {
	start := f.provider.Start
	if start == "all" {
		return 0, 0, nil
	}
	if next := f.status.UIDNext; start == "none" && int64(next) > f.exists {
		return next - 1, f.exists, nil // whatever SEARCH shows
	}
	uids, err := f.everything()
	if err != nil {
		return 0, 0, err
	}
	first := len(uids) // what is published begins at uids[first]
	if start == "recent" {
		first = max(0, len(uids)-f.provider.MaxEmailsPerSync)
	} else if since, ok := strings.CutPrefix(start, "since:"); ok {
		day, err := ParseSince(since, f.runner.now())
		if err != nil {
			return 0, 0, config("start", err)
		}
		if first, err = f.firstSince(uids, day); err != nil {
			return 0, 0, err
		}
	}
	switch {
	case first < len(uids):
		return uids[first] - 1, f.exists - int64(len(uids)-first), nil
	case len(uids) > 0: // behind all there is
		return max(uids[first-1], f.status.UIDNext-min(f.status.UIDNext, 1)), f.exists, nil
	}
	return 0, 0, nil
}

// begins is where a folder that was never read begins. Where the mailbox was read
// before, for these folders of this account, it was not shown then, and what the server
// received since is new.
func (f *folderPass) begins() (start uint32, messages int64, err error) {
	start, messages, err = f.start()
	at := f.provider.FoldersAt
	if err != nil || start == 0 || at == nil || !at.Before(f.started) {
		return start, messages, err
	}
	start, uids, err := f.beforeNew(start, *at)
	below, _ := slices.BinarySearch(uids, start+1)
	return start, f.exists - int64(len(uids)-below), err
}

// beforeNew moves a start to before the first message that the server received since a
// time. uids are all that it shows.
func (f *folderPass) beforeNew(start uint32, since time.Time) (_ uint32, uids []uint32, err error) {
	exists, uids, err := f.shown()
	if err != nil {
		return 0, nil, err
	}
	age := f.runner.since(since)
	// What is not shown may be new, and is taken for old once the folder has begun.
	if unseen := exists - int64(len(uids)); unseen > 0 && (len(uids) == 0 || age < surplusPatience) {
		return 0, nil, Mismatch(exists, unseen)
	}
	first, err := f.receivedSince(uids, len(uids), since.Truncate(time.Second))
	if errors.Is(err, errUndated) && age >= surplusPatience {
		first, err = len(uids), nil // neither is what a server without dates shows
	}
	if first < len(uids) {
		start = min(start, uids[first]-1)
	}
	return start, uids, err
}

// mayBeAway reports whether a folder without messages may have some, and start leaves
// them out: the account has none in any folder, and this one has had none, as the server
// says.
func (f *folderPass) mayBeAway() bool {
	return f.bare && f.exists == 0 && f.status.UIDNext <= 1 && f.provider.Start != "all"
}

// oldAtFirst is how much of the mail that was there at the first look start takes.
func (f *folderPass) oldAtFirst() int64 {
	if f.provider.Start == "recent" {
		return int64(f.provider.MaxEmailsPerSync)
	}
	return 0
}

// everything lists the folder. Where EXISTS counts more than that, the newest must be
// there at least, by UIDNEXT: a folder whose count is always too high can be read.
func (f *folderPass) everything() ([]uint32, error) {
	exists, uids, err := f.shown()
	if err != nil {
		return nil, err
	}
	if unseen := exists - int64(len(uids)); unseen > 0 && (len(uids) == 0 || f.provider.Start == "none" || uids[len(uids)-1]+1 != f.status.UIDNext) {
		return nil, Mismatch(exists, unseen)
	}
	return uids, nil
}

// firstSince is the index of the first of some UIDs that came on a day or later. SEARCH
// says so, but may leave some out: those before are asked for their dates, as long as
// there are any that belong to it.
func (f *folderPass) firstSince(uids []uint32, day time.Time) (int, error) {
	found, err := f.session.Search(1, imapsession.MaxUID, &imap.SearchCriteria{Since: day})
	if err != nil && !f.refused(err) {
		return 0, err
	}
	first := len(uids)
	if len(found) > 0 {
		first, _ = slices.BinarySearch(uids, slices.Min(found))
	}
	return f.receivedSince(uids, first, day)
}

// receivedSince is the index of the first of some UIDs that the server received since a
// time, where that of index first is one. It goes down as long as there are any.
func (f *folderPass) receivedSince(uids []uint32, first int, since time.Time) (int, error) {
	for first > 0 {
		before := uids[max(0, first-datesWindow):first]
		dates, err := f.dates(before)
		if errors.Is(err, errUndated) && first < len(uids) {
			break // those that came since are known
		}
		if err != nil {
			return 0, err
		}
		earlier := slices.IndexFunc(before, func(uid uint32) bool { return !dates[uid].InternalDate.Before(since) })
		if earlier < 0 {
			break
		}
		first -= len(before) - earlier
	}
	return first, nil
}

// datesWindow is how many messages are asked for their dates at a time.
const datesWindow = 1000

// errUndated says that nobody knows when messages came: they may be new, or old.
var errUndated = fault.Newf(fault.Transient, "dates_unknown", "the server does not say when it received the messages")

// dates asks when the server received messages that it has listed. One that is left out,
// or has no date, is asked for by itself, and then nothing is known of any.
func (f *folderPass) dates(uids []uint32) (map[uint32]imapsession.Listed, error) {
	dates, err := f.session.FetchSizes(uids)
	for _, uid := range uids {
		if err != nil {
			return nil, err
		}
		if !dates[uid].InternalDate.IsZero() {
			continue
		}
		var again map[uint32]imapsession.Listed
		again, err = f.session.FetchSizes([]uint32{uid})
		switch l, given := again[uid]; {
		case err != nil:
		case !given:
			err = Mismatch(f.exists, 1)
		case l.InternalDate.IsZero():
			err = errUndated
		default:
			dates[uid] = l
		}
	}
	return dates, err
}

// between lists the messages of a folder that came on a day or later and, unless it is
// zero, before another. Where SEARCH finds none, or is refused, their dates tell.
func (f *folderPass) between(since, until time.Time) ([]uint32, error) {
	found, err := f.session.Search(1, imapsession.MaxUID, &imap.SearchCriteria{Since: since, Before: until})
	if err != nil && !f.refused(err) {
		return nil, err
	}
	if len(found) > 0 {
		return union(found, nil), nil
	}
	uids, err := f.complete()
	if err != nil {
		return nil, err
	}
	for window := range slices.Chunk(uids, datesWindow) {
		dates, err := f.dates(window)
		if err != nil {
			return nil, err
		}
		for _, uid := range window {
			if date := dates[uid].InternalDate; !date.Before(since) && (until.IsZero() || date.Before(until)) {
				found = append(found, uid)
			}
		}
	}
	return found, nil
}
