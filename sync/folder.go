package sync

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"imapsync/db"
	"imapsync/internal/imapsession"
)

// folderPass is the pass over one folder.
type folderPass struct {
	*pass
	log    *slog.Logger
	status imapsession.FolderStatus
	cursor *cursor  // as it was stored last, or is about to be
	toMark []uint32 // what the next commits mark as being handled
	fresh  bool     // there was no cursor before this pass
	taken  int      // messages handled
	found  int      // of them, those that the server gave and that went out

	reopened    int // connections that were lost over the folder
	foundAtLoss int // found, when one was lost over a single message
	refusals    int // messages in a row that the server said NO to
}

// folder handles up to budget messages of one folder, lowest UID first. It
// returns how many it handled and how many are known to be left.
func (ps *pass) folder(ctx context.Context, status imapsession.FolderStatus, budget int) (taken, backlog int, err error) {
	f, exists, err := ps.open(ctx, status, budget)
	if err != nil {
		return 0, 0, err
	}
	uids, err := f.search(ctx, exists)
	if err != nil {
		return 0, 0, err
	}
	if f.cursor.ResyncSince != nil {
		if uids, err = f.reconcileRenumbered(ctx, uids); err != nil {
			return f.taken, int(f.cursor.Backlog), err
		}
	}
	defer f.keepState()
	take := uids[:min(len(uids), budget)]
	if len(take) > 0 {
		f.log.Info("new_messages", "count", len(uids), "taking", len(take))
	}
	err = f.handle(ctx, take)
	return f.taken, int(f.cursor.Backlog), errors.Join(err, f.clearInFlight(ctx))
}

// open selects a folder read-only and loads its cursor. exists is how many
// messages it holds. When up to budget new ones are going to be read, and the
// server takes several commands at once, it is asked for them right away.
func (ps *pass) open(ctx context.Context, status imapsession.FolderStatus, budget int) (f *folderPass, exists uint32, err error) {
	f = &folderPass{pass: ps, status: status, log: ps.log.With("folder", status.Name)}
	var selected *imap.SelectData
	if first, last, ok := ps.predictRange(status, budget); ok {
		selected, err = ps.session.ExaminePrefetch(status.Name, first, last)
	} else {
		selected, err = ps.session.Examine(status.Name)
	}
	if err != nil {
		return nil, 0, err
	}
	f.status = status.With(selected)
	if f.status.UIDValidity == 0 {
		return nil, 0, transient("uidvalidity_unknown", errors.New("the server gives no UIDVALIDITY, so no place in the folder can be kept; nothing was read"))
	}
	return f, selected.NumMessages, f.load(ctx)
}

// predictRange gives the UIDs that a pass will look at in a folder whose cursor and
// state say so.
func (ps *pass) predictRange(status imapsession.FolderStatus, budget int) (first, last uint32, ok bool) {
	st := ps.states[status.Name]
	if !ps.session.Pipelined() || budget == 0 || st == nil || st.UIDValidity != status.UIDValidity || st.ResyncSince != nil || st.PausedReason != "" ||
		status.UIDNext <= st.SettledUID+1 {
		return 0, 0, false
	}
	until := min(uint64(status.UIDNext-1), uint64(st.SettledUID)+uint64(min(budget, markedUIDs)))
	return st.SettledUID + 1, uint32(until), true
}

// clearInFlight takes back that messages are being handled: the pass ends before
// them, and was not killed by one.
func (f *folderPass) clearInFlight(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishPatience)
	defer cancel()
	if len(f.cursor.InFlight) == 0 {
		return nil
	}
	f.cursor.clearInFlight()
	err := f.runner.Store.ClearInFlight(ctx, f.fence, f.status.Name)
	if errors.Is(err, db.ErrFenced) {
		return nil // the run that took over writes its own
	}
	return err
}

// load reads the cursor, or makes one for a folder seen for the first time or
// numbered anew.
func (f *folderPass) load(ctx context.Context) error {
	st := f.states[f.status.Name]
	if st == nil {
		f.fresh = true
		start, err := f.startUID()
		if err != nil {
			return err
		}
		return f.store(ctx, firstCursor(f.status, start))
	}
	f.cursor = &cursor{FolderState: *st}
	if f.cursor.PausedReason != "" {
		return PausedFolder(&f.cursor.FolderState)
	}
	reason, err := f.numberedAnew()
	if err != nil {
		return err
	}
	if reason != "" {
		return f.renumbered(ctx, reason)
	}
	f.cursor.handled, err = f.runner.Store.HandledAbove(ctx, f.ref, f.status.Name, f.cursor.UIDValidity, f.cursor.SettledUID)
	return err
}

// store writes a cursor and goes on with it.
func (f *folderPass) store(ctx context.Context, c *cursor) error {
	if err := f.runner.Store.SetFolder(ctx, f.fence, &c.FolderState); err != nil {
		return err
	}
	f.cursor = c
	return nil
}

// keepState has the pass know the folder as it was left.
func (f *folderPass) keepState() { f.states[f.status.Name] = &f.cursor.FolderState }

// startUID is where a folder that was never read begins, as the provider's start
// says: what is up to there is left alone.
func (f *folderPass) startUID() (uint32, error) {
	start := f.provider.Start
	if start == "all" {
		return 0, nil
	}
	criteria, err := startCriteria(start)
	if err != nil {
		return 0, err
	}
	uids, err := f.session.Search(1, imapsession.MaxUID, criteria)
	if err == nil && len(uids) == 0 && criteria != nil { // nothing since that date: begin behind all there is
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

// startCriteria turns since:30d or since:2026-01-31 into a search; recent and
// none look at everything.
func startCriteria(start string) (*imap.SearchCriteria, error) {
	since, ok := strings.CutPrefix(start, "since:")
	if !ok {
		return nil, nil //nolint:nilnil // no criteria means all messages
	}
	day, err := ParseSince(since, time.Now())
	if err != nil {
		return nil, config("start", err)
	}
	return &imap.SearchCriteria{Since: day}, nil
}

// search lists the UIDs to handle, ascending, and settles what is known to be
// final without them.
func (f *folderPass) search(ctx context.Context, exists uint32) ([]uint32, error) {
	var found []uint32
	var err error
	now := time.Now().UTC()
	if exists > 0 {
		if found, err = f.searchNew(); err != nil {
			return nil, err
		}
	}
	c := f.cursor
	uids := c.wanted(found)
	c.finishResync(uids)
	before := *c
	from, to, expired := c.expiredGaps(now)
	if expired && c.ResyncSince == nil {
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
	if c.searched(before, f.status.UIDNext, len(uids), f.fresh, now) {
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
