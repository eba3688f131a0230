package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/internal/imapsession"
)

// numberedAnew tells, if so, how the messages of the folder have other UIDs than those
// the cursor speaks of: another account, another UIDVALIDITY, or a UIDNEXT below what
// was settled. UIDNEXT is a hint, so it is believed only when the server has nothing
// from there on.
func (f *folderPass) numberedAnew(account string) (reason string, err error) {
	switch c := f.cursor; {
	case c.Account != account && !sameUser(c.Account, account):
		return "another user name: another account", nil
	case c.Account != account:
		return "another host or port: the server moved", nil
	case c.UIDValidity != f.status.UIDValidity:
		return fmt.Sprintf("UIDVALIDITY changed from %d to %d", c.UIDValidity, f.status.UIDValidity), nil
	}
	next := f.status.UIDNext
	if next == 0 || next > f.cursor.SettledUID || f.cursor.ResyncSince != nil || f.exists == 0 {
		return "", nil
	}
	above, err := f.session.Search(next, imapsession.MaxUID, nil)
	if err == nil && len(above) == 0 {
		above, err = f.list(next, imapsession.MaxUID) // SEARCH may be silent
	}
	if err != nil || len(above) > 0 {
		return "", err
	}
	return fmt.Sprintf("UIDNEXT went back to %d, and uid %d had been settled", next, f.cursor.SettledUID), nil
}

// begin begins a folder anew that was numbered anew. A server that shows nothing of it
// shows nothing to begin with: the cursor stays until it does. Another user's folder
// begins at once, for what comes next is new.
func (f *folderPass) begin(ctx context.Context, account, reason string) error {
	if !sameUser(f.cursor.Account, account) {
		return f.beginAccount(ctx, account, reason)
	}
	if f.empty = f.exists == 0; f.empty {
		return nil
	}
	n := numbering{
		account: account, uidValidity: f.status.UIDValidity, since: f.reach(),
		old: int64(f.runner.Options.MaxOldUnknown) + f.cursor.Backlog, reason: reason,
	}
	if !f.cursor.Unstable {
		_, uids, err := f.shown()
		if err != nil {
			return err
		}
		n.last = slices.Max(append(uids, 0))
		if n.since, err = f.since(ctx); err != nil {
			return err
		}
	}
	if f.cursor.ResyncSince != nil || f.cursor.Held > 0 || f.cursor.Unstable {
		n.old = max(0, f.cursor.OldLeft) // the last change has let some in
	}
	if f.cursor.ResyncSince != nil && f.cursor.OldLeft == everything {
		n.old = allOld // another account's first look, which had not come to its end
	}
	return f.renumber(ctx, f.cursor.renumbered(n, f.runner.now()))
}

// beginAccount begins a folder of another user, as the provider's start says of what
// was there when the settings named that user. What was received since is new.
func (f *folderPass) beginAccount(ctx context.Context, account, reason string) error {
	start, _, err := f.start()
	if err != nil {
		return err
	}
	now := f.runner.now()
	since := now
	// What was noted before the cursor began is about the user before, and the settings
	// were changed since then by another program, nobody knows when.
	if at, begun := f.provider.AccountAt, f.cursor.FirstLookAt; at != nil && (begun == nil || at.After(*begun)) {
		since = *at
	}
	start, uids, err := f.beforeNew(start, since)
	if err != nil {
		return err
	}
	next := f.cursor.ofAccount(numbering{
		account: account, uidValidity: f.status.UIDValidity, start: start, last: slices.Max(append(uids, 0)), since: since,
		old: everything, reason: reason,
	}, now)
	if f.mayBeAway() {
		next = next.begunEmpty(f.oldAtFirst())
	}
	return f.renumber(ctx, next)
}

// renumber stores the cursor of a folder that was numbered anew.
func (f *folderPass) renumber(ctx context.Context, next *cursor) error {
	var audit db.Audit // none where it happens at each visit
	if !f.cursor.Unstable {
		audit = db.Audit{
			Tenant: f.provider.Tenant, At: f.runner.now(), Actor: "imapsync", Action: "folder_renumbered", ProviderID: f.provider.ID,
			Detail: db.Detail{"folder": f.status.Name, "reason": next.ResyncReason, "since": next.ResyncSince.Format(time.DateOnly)},
		}
		f.log.Warn("folder_renumbered", "reason", next.ResyncReason, "since", next.ResyncSince, "times", next.ResyncCount, "unstable", next.Unstable)
	}
	if err := f.runner.Store.RenumberFolder(ctx, f.fence, &next.FolderState, audit); err != nil {
		return err
	}
	delete(f.retries, f.status.Name) // their UIDs are those of other messages now
	f.cursor = next
	return nil
}

// since is when mail was received that a folder numbered anew is searched for: what is
// ours to publish, and besides what an unfinished search, a backlog or the quarantine
// reaches back to.
func (f *folderPass) since(ctx context.Context) (time.Time, error) {
	since := f.reach()
	earlier := func(t time.Time) {
		if t.Before(since) {
			since = t
		}
	}
	if f.cursor.ResyncSince != nil {
		earlier(*f.cursor.ResyncSince)
	}
	if f.cursor.Backlog > 0 {
		earlier(f.startDay())
	}
	// A message that failed may be older than what is ours by the server's date alone.
	oldest, err := f.runner.Store.OldestQuarantine(ctx, f.ref, f.status.Name)
	if err == nil && oldest != nil {
		earlier(oldest.AddDate(0, 0, -2))
	}
	return since, err
}

// startsInThePast reports whether the provider's start says of old mail that it is ours.
func (f *folderPass) startsInThePast() bool {
	return f.provider.Start == "all" || strings.HasPrefix(f.provider.Start, "since:")
}

// newestFirst is how many messages of a folder that was numbered anew are looked at before
// the others: what came just before the change is not to wait for all of them.
const newestFirst = 2 * headerWindow

// sweep goes through a folder that was numbered anew, lowest UID first, but for the newest
// messages. What has come since is not kept waiting: half of the budget is for it.
func (f *folderPass) sweep(ctx context.Context, uids []uint32, budget int) error {
	split, _ := slices.BinarySearch(uids, f.cursor.LastUID+1)
	old, fresh := uids[:split], uids[split:]
	share := budget
	if len(old) > 0 {
		share -= budget / 2
	}
	left, _, _, err := f.sift(ctx, fresh, f.reach(), share, true)
	if err != nil {
		return err
	}
	left = left[:min(len(left), share)]
	var unlooked, below []uint32 // below are to be downloaded, of what was there at the change
	var passed [2]uint32         // the highest left alone of the newest, and of the others
	newest := max(0, len(old)-newestFirst)
	for i, part := range [][]uint32{old[newest:], old[:newest]} {
		for len(part) > 0 && len(left)+len(below) < budget && !f.sweptEnough() {
			more, n, highest, err := f.sift(ctx, part, *f.cursor.ResyncSince, budget-len(left)-len(below), false)
			if err != nil {
				return err
			}
			below, part, passed[i] = append(below, more...), part[n:], max(passed[i], highest)
			if n == 0 {
				break
			}
		}
		unlooked = append(unlooked, part...)
	}
	if slices.Sort(unlooked); len(unlooked) == 0 {
		passed[1] = max(passed[1], passed[0])
	}
	handleErr := f.handle(ctx, append(left, below[:min(len(below), budget-len(left))]...), budget)
	if err := f.endSweep(ctx, uids, unlooked, f.cursor.wanted(below), passed[1]); err != nil {
		return errors.Join(handleErr, err)
	}
	return handleErr
}

// endSweep stores how far a sweep came: up to the first message that it did not look at,
// or found and did not handle. What EXISTS counts and no listing shows may yet turn up
// below, and keeps the cursor where it is for a while.
func (f *folderPass) endSweep(ctx context.Context, uids, unlooked, unhandled []uint32, passed uint32) error {
	if f.unlisted > 0 && f.cursor.guarded(f.runner.now()) {
		return nil
	}
	to := f.cursor.LastUID
	for _, rest := range [][]uint32{unlooked, unhandled} {
		if len(rest) > 0 {
			to = min(to, rest[0]-1)
		}
	}
	next := f.cursor.swept(to, passed, uids)
	if len(unlooked)+len(unhandled) > 0 {
		return f.store(ctx, next)
	}
	sameAccount, mayBeAway := next.OldLeft != everything, next.wasEmpty()
	if next = next.finishResync(); mayBeAway {
		return f.store(ctx, next)
	}
	if err := f.runner.Store.EndResync(ctx, f.fence, &next.FolderState, sameAccount, f.runner.now()); err != nil {
		return err
	}
	f.cursor = next
	return nil
}

// handleUnknown handles messages, up to a budget, of which the ledger does not know
// that they are published, in a folder that was numbered anew not long ago.
func (f *folderPass) handleUnknown(ctx context.Context, uids []uint32, budget int) error {
	left, _, _, err := f.sift(ctx, uids, f.reach(), budget, true)
	if err != nil {
		return err
	}
	return f.handle(ctx, left, budget)
}

// sweptEnough reports whether the rest of a sweep is left to the next pass: the
// runner was asked to end, or half of the pass's time is over.
func (f *folderPass) sweptEnough() bool {
	return f.mustEnd() || f.runner.since(f.started) > f.runner.Options.Timeouts.of(f.provider).Pass/2
}

// leaveOutKnown leaves of messages that a person wants those that must be downloaded.
func (f *folderPass) leaveOutKnown(ctx context.Context, uids []uint32) (left []uint32, err error) {
	for part := range slices.Chunk(uids, maxSifted) {
		s, err := f.newSieve(ctx, beginning())
		if err != nil {
			return nil, err
		}
		s.exact, s.ageless = f.cursor.Unstable, true
		for window := range slices.Chunk(part, headerWindow) {
			if f.runner.Stopping() {
				return nil, ErrStopped
			}
			if _, err := s.add(ctx, window); err != nil {
				return nil, err
			}
		}
		if _, err := s.settle(ctx); err != nil {
			return nil, err
		}
		left = append(left, s.unknown()...)
	}
	return left, nil
}

// errEmpty says of a folder that was numbered anew that there is nothing to see yet.
var errEmpty = fault.Newf(fault.Transient, "folder_empty", "the server has numbered the folder anew and shows no message of it yet")
