package sync

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/internal/imapsession"
)

// list gives the UIDs from first to last by FETCH, where SEARCH is not to be believed.
// A server that refuses that shows nothing by it.
func (f *folderPass) list(first, last uint32) ([]uint32, error) {
	uids, err := f.session.ListUIDs(first, last)
	if f.refused(err) {
		f.log.Warn("list_refused", "error", err.Error())
		return nil, nil
	}
	return uids, err
}

// refused reports whether an error is the server's refusal of a command, on a connection
// that lives.
func (f *folderPass) refused(err error) bool {
	_, refused := errors.AsType[*imap.Error](err)
	return refused && f.session.Alive()
}

// shown gives all UIDs of the folder that the server shows, by FETCH or, where that
// falls short of EXISTS, by SEARCH as well. exists is how many there are by EXISTS:
// before or after, whichever is less, since mail comes and goes meanwhile.
func (f *folderPass) shown() (exists int64, uids []uint32, err error) {
	if exists = f.exists; exists == 0 {
		return 0, nil, nil
	}
	if uids, err = f.list(1, imapsession.MaxUID); err != nil {
		return 0, nil, err
	}
	if int64(len(uids)) < f.exists {
		found, err := f.session.Search(1, imapsession.MaxUID, nil)
		if err != nil {
			return 0, nil, err
		}
		uids = union(uids, found)
	}
	return f.exists - max(0, f.examined-f.session.Exists()), uids, nil
}

// union is what is in one of two lists of UIDs, ascending, each once.
func union(a, b []uint32) []uint32 {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

// ledgerWindow is how many UIDs the ledger is asked for at a time.
const ledgerWindow = 10_000

// count lists the whole folder, compares it with EXISTS and with the ledger, and returns
// what it shows. What it shows and the ledger does not know is late; so is what stands
// below the start, and the server received since the first look, where the folder has more
// messages than that explains.
func (f *folderPass) count(ctx context.Context) ([]uint32, error) {
	if err := f.store(ctx, f.cursor.counting(f.runner.now())); err != nil {
		return nil, err
	}
	exists, uids, err := f.shown()
	if err != nil {
		return nil, err
	}
	c := f.cursor
	start, _ := slices.BinarySearch(uids, c.StartUID+1)
	settled, _ := slices.BinarySearch(uids, c.SettledUID+1)
	late, err := f.unknown(ctx, uids[min(start, settled):settled])
	if err == nil && f.unseen > int64(len(late)) {
		var below []uint32
		below, err = f.newBelowStart(ctx, uids[:start])
		late = append(below, late...)
	}
	if err != nil {
		return nil, err
	}
	c.counted(exists, uids, late, f.runner.now())
	level := slog.LevelDebug
	if len(late) > 0 || c.Surplus > 0 {
		level = slog.LevelWarn
	}
	f.log.Log(ctx, level, "folder_counted", "exists", exists, "shown", len(uids), "late", len(late), "surplus_looks", c.SurplusLooks)
	return uids, nil
}

// unknown gives those of some UIDs that the ledger does not know.
func (f *folderPass) unknown(ctx context.Context, uids []uint32) (unknown []uint32, err error) {
	for window := range slices.Chunk(uids, ledgerWindow) {
		some, err := f.runner.Store.UnknownUIDs(ctx, f.ref, f.status.Name, f.cursor.UIDValidity, window)
		if err != nil {
			return nil, err
		}
		unknown = append(unknown, some...)
	}
	return unknown, nil
}

// newBelowStart gives those of the UIDs below the start that the server received after the
// second of the first look: UIDNEXT was too high then. What has left the ledger is not
// among them.
func (f *folderPass) newBelowStart(ctx context.Context, uids []uint32) ([]uint32, error) {
	since := f.withinLedger(f.firstLook().Truncate(time.Second).Add(time.Second))
	uids, err := f.unknown(ctx, uids)
	var found []uint32
	for window := range slices.Chunk(uids, datesWindow) {
		if err != nil {
			break
		}
		var dates map[uint32]imapsession.Listed
		dates, err = f.session.FetchSizes(window)
		for _, uid := range window {
			if !dates[uid].InternalDate.Before(since) {
				found = append(found, uid)
			}
		}
	}
	return found, err
}

// Mismatch says that of the messages of a folder, as EXISTS counts them, the server
// does not show some.
func Mismatch(exists, unseen int64) error {
	return fault.New(fault.Transient, "exists_mismatch",
		fmt.Errorf("the server says that there are %d messages and does not show %d of them", exists, unseen)).
		With("exists", fmt.Sprint(exists)).With("unseen", fmt.Sprint(unseen))
}

// Unseen says that a server counts so many messages that it does not show.
func Unseen(n int64) error {
	return fault.New(fault.Transient, "exists_mismatch", fmt.Errorf("the server counts %d messages that it does not show", n)).
		With("unseen", fmt.Sprint(n))
}

// complete gives all UIDs of the folder, or an error where EXISTS counts more.
func (f *folderPass) complete() ([]uint32, error) {
	exists, uids, err := f.shown()
	if unseen := exists - int64(len(uids)); err == nil && unseen > 0 {
		err = Mismatch(exists, unseen)
	}
	return uids, err
}

// readInPart reports whether an error over a folder is no more than that it has messages
// which the server does not show, beside others.
func readInPart(err error) bool {
	e, ok := fault.Of(err)
	return ok && e.Code == "exists_mismatch" && e.Params["unseen"] != e.Params["exists"]
}

// mayCount reports whether the folder may be counted now.
func (f *folderPass) mayCount(now time.Time) bool {
	return f.cursor.ResyncSince == nil && f.cursor.mayCount(f.exists, now) && !f.mustEnd()
}

// countDue reports whether it is time for the count of the day of a folder.
func (ps *pass) countDue(st *db.FolderState, now time.Time) bool {
	h := fnv.New64a()
	fmt.Fprintf(h, "%s %s", ps.ref.ID, st.Folder) // spreads the counts over the day
	return countDue(st, h.Sum64(), now)
}
