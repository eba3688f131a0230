package sync

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"imapsync/db"
	"imapsync/internal/imapsession"
)

// folderPass is the pass over one folder.
type folderPass struct {
	*pass
	log    *slog.Logger
	status imapsession.FolderStatus
	exists int64    // messages in it, by EXISTS or, where EXAMINE does not say, by STATUS
	cursor *cursor  // as it was stored last, or is about to be
	toMark []uint32 // what the next commits mark as being handled
	first  bool     // there was no cursor before this pass
	empty  bool     // numbered anew, with no message to see yet
	taken  int      // messages handled
	unseen int64    // messages that EXISTS counts and that were not found

	unlisted int64 // those of a folder that was numbered anew

	examined int64 // EXISTS when it was opened

	sent []*message // published by the chunk before, and maybe not in the ledger yet

	doubtful map[likeness]bool // in a folder that was numbered anew: headers do not tell which of them a row stands for

	// What the server does not give, in this pass. Connections are counted by the pass.
	tried        map[uint32]bool // asked for in vain
	suspects     []*message      // failed together with others, or only once: tried again, alone, at the end
	aside        []*message      // failed alone: nobody knows yet whose fault it is
	exhausted    []*message      // have had their charges: they go out by their headers
	streak       int             // failures in a row
	probed       bool            // the newest message is one of them
	wholeOn      int             // the last connection on which a body came; -1: none
	wholeSize    int64           // the largest that came on it
	reopened     int             // connections that were lost since
	controlSize  int64           // of the control that came last
	controlLeast int64           // from which size it tells as much of all that failed
	began        time.Time       // the last attempt
	lastFailure  error
	noBodies     bool // not even the control's body came
	ill          bool // so the folder is left alone for now
}

// folder handles up to budget messages of one folder, lowest UID first: it is
// opened, searched, and what is new goes from fetch to commit. It returns how
// many were handled and how many are known to be left.
func (ps *pass) folder(ctx context.Context, status imapsession.FolderStatus, budget int) (taken, backlog int, err error) {
	f, err := ps.open(ctx, status, budget)
	if err != nil {
		return 0, 0, err
	}
	if f.empty {
		return 0, 0, nil
	}
	defer f.keepState()
	err = f.read(ctx, budget)
	if err = errors.Join(err, f.clearInFlight(ctx)); err == nil && f.unseen > 0 {
		err = Mismatch(f.exists, f.unseen)
	}
	return f.taken, int(f.cursor.Backlog), err
}

// read handles what is new in the folder. One that was numbered anew is gone through by
// headers first.
func (f *folderPass) read(ctx context.Context, budget int) error {
	if f.cursor.Unstable {
		return f.readByPlace(ctx, budget)
	}
	uids, err := f.search(ctx)
	if err != nil {
		return err
	}
	if len(uids) > 0 {
		f.log.Info("new_messages", "count", len(uids), "taking", min(len(uids), budget))
	}
	switch {
	case f.cursor.ResyncSince != nil:
		return f.sweep(ctx, uids, budget)
	case f.cursor.guarded(f.runner.now()):
		return f.handleUnknown(ctx, uids, budget)
	}
	return f.handle(ctx, uids, budget)
}

// open selects a folder read-only and loads its cursor. When up to budget new messages
// are going to be read, and the server takes several commands at once, it is asked for
// them right away.
func (ps *pass) open(ctx context.Context, status imapsession.FolderStatus, budget int) (f *folderPass, err error) {
	f = &folderPass{pass: ps, status: status, log: ps.log.With("folder", status.Name), wholeOn: -1}
	var selected imapsession.Examined
	if first, last, ok := ps.predictRange(status, budget); ok {
		selected, err = ps.session.ExaminePrefetch(status.Name, first, last)
	} else {
		selected, err = ps.session.Examine(status.Name)
	}
	if err != nil {
		return nil, err
	}
	f.opened(selected, status)
	if f.status.UIDValidity == 0 {
		return nil, transient("uidvalidity_unknown", errors.New("the server gives no UIDVALIDITY, so no place in the folder can be kept; nothing was read"))
	}
	return f, f.load(ctx)
}

// opened takes what the server says of the folder that it has opened, and of it before.
func (f *folderPass) opened(selected imapsession.Examined, status imapsession.FolderStatus) {
	f.status, f.examined = status.With(selected), int64(selected.Messages)
	if f.exists = f.examined; f.exists == 0 { // or it does not say
		f.exists = max(0, status.Messages)
	}
}

// predictRange gives the UIDs that a pass will look at in a folder whose cursor
// and state say so.
func (ps *pass) predictRange(status imapsession.FolderStatus, budget int) (first, last uint32, ok bool) {
	st := ps.states[status.Name]
	if !ps.session.Pipelined() || budget == 0 || st == nil || st.UIDValidity != status.UIDValidity || st.ResyncSince != nil || st.Unstable || !ps.ofAccount(st) ||
		status.UIDNext <= st.SettledUID+1 {
		return 0, 0, false
	}
	until := min(uint64(status.UIDNext-1), uint64(st.SettledUID)+uint64(min(budget, markedUIDs)))
	return st.SettledUID + 1, uint32(until), true
}

// load reads the cursor, or makes one for a folder seen for the first time or
// numbered anew.
func (f *folderPass) load(ctx context.Context) error {
	st, account := f.states[f.status.Name], AccountKey(f.provider)
	if st == nil {
		f.first = true
		start, messages, err := f.begins()
		if err != nil {
			return err
		}
		c := firstCursor(f.status, start, messages, account, f.runner.now())
		if f.mayBeAway() {
			c = c.begunEmpty(f.oldAtFirst())
		}
		return f.store(ctx, c)
	}
	f.cursor = &cursor{FolderState: *st}
	f.cursor.adopt(account)
	reason, err := f.numberedAnew(account)
	if err == nil && reason == "" && f.cursor.Unstable && f.cursor.trusts() {
		f.cursor, reason = f.cursor.trusted(), "UIDVALIDITY holds again"
	}
	if err == nil && reason != "" {
		err = f.begin(ctx, account, reason)
	}
	if err != nil {
		return err
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

// clearInFlight takes back that messages are being handled: the pass ends before
// them, and was not killed by one. Those that the server did not give are noted.
func (f *folderPass) clearInFlight(ctx context.Context) error {
	before := f.cursor.Unfetched
	f.cursor.notGiven(slices.Collect(maps.Keys(f.tried)))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishPatience)
	defer cancel()
	if len(f.cursor.InFlight) == 0 && slices.Equal(before, f.cursor.Unfetched) {
		return nil
	}
	f.cursor.clearInFlight()
	err := f.runner.Store.ClearInFlight(ctx, f.fence, f.status.Name, f.cursor.Unfetched)
	if errors.Is(err, db.ErrFenced) {
		return nil // the run that took over writes its own
	}
	return err
}
