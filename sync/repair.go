package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"imapsync/db"
	"imapsync/internal/imapsession"
)

// Backfill says which old mail to publish. What the ledger knows is left out,
// so a backfill that was broken off goes on where it was when it is run again.
type Backfill struct {
	Since   time.Time
	Until   time.Time // first day that is not taken; zero for no end
	Folders []string  // empty for the provider's own
	DryRun  bool      // count only
	Rate    int       // messages a second; 0 for as fast as it goes
	OnCount func(BackfillCount)
}

// BackfillCount is what a backfill finds in one folder.
type BackfillCount struct {
	Folder string `json:"folder"`
	Found  int    `json:"found"`  // in the range of dates
	Known  int    `json:"known"`  // handled before
	ToRead int    `json:"toRead"` // the rest
}

// Backfill publishes old mail of one provider, under its lock. Dates are those
// the server received the mail on, by its own calendar (RFC 3501 SINCE, BEFORE).
func (r *Runner) Backfill(ctx context.Context, p *db.Provider, b Backfill) Result {
	return r.besides(ctx, p, func(ctx context.Context, ps *pass) error { return ps.backfill(ctx, b) })
}

// besides does other work than a pass under the provider's lock, on a connection
// of its own. When the provider is tried next is not touched.
func (r *Runner) besides(ctx context.Context, p *db.Provider, work func(context.Context, *pass) error) Result {
	r.init()
	ps, ctx, res := r.lock(ctx, p)
	if ps == nil {
		return res
	}
	defer ps.unlock()
	err := recovered(func() error {
		if err := ps.loadStates(ctx); err != nil {
			return err
		}
		if err := ps.connect(ctx, false); err != nil {
			return err
		}
		defer func() { ps.session.Close() }()
		return work(ctx, ps)
	})
	return ps.result(ctx, err)
}

func (ps *pass) backfill(ctx context.Context, b Backfill) error {
	filter := ps.provider.Folders
	if len(b.Folders) > 0 {
		filter = b.Folders
	}
	found, failed, err := ps.session.Resolve(filter, nil)
	if err != nil {
		return err
	}
	errs := ps.folderErrors(failed)
	for i, status := range found {
		if ps.runner.Stopping() {
			return fmt.Errorf("%w after %d of %d folders", ErrStopped, i, len(found))
		}
		ps.folders++
		if err := ps.backfillFolder(ctx, status, b); err != nil {
			if ps.endsPass(ctx, err) || !ps.session.Alive() {
				return fmt.Errorf("folder %q: %w", status.Name, err)
			}
			errs = append(errs, ps.folderFailed(status.Name, err))
		}
	}
	ps.partial = len(errs) > 0 && len(errs) < len(found)+len(failed)
	return errors.Join(errs...)
}

func (ps *pass) backfillFolder(ctx context.Context, status imapsession.FolderStatus, b Backfill) error {
	f, err := ps.open(ctx, status, 0)
	if err == nil && f.empty {
		err = errEmpty
	}
	if err != nil {
		return err
	}
	defer f.keepState()
	found, err := f.between(b.Since, b.Until)
	if err != nil {
		return err
	}
	known, err := ps.runner.Store.LedgerUIDs(ctx, ps.ref, status.Name, f.cursor.UIDValidity)
	if err != nil {
		return err
	}
	left := slices.DeleteFunc(slices.Clone(found), func(uid uint32) bool {
		_, handled := known[uid]
		return handled
	})
	if !b.DryRun {
		if left, err = f.leaveOutKnown(ctx, left); err != nil {
			return err
		}
	}
	if b.OnCount != nil {
		b.OnCount(BackfillCount{Folder: status.Name, Found: len(found), Known: len(found) - len(left), ToRead: len(left)})
	}
	if b.DryRun {
		return nil
	}
	marked, before, toRead := f.cursor.InFlight, f.taken, len(left)
	crashed, _, err := f.fromBefore(ctx, left)
	if err == nil {
		err = f.handleCrashed(ctx, crashed)
	}
	if err == nil {
		left = slices.DeleteFunc(left, func(uid uint32) bool { return slices.Contains(marked, int64(uid)) })
		err = f.handleSlowly(ctx, left, b.Rate)
	}
	if err == nil {
		err = f.handleFailed(ctx)
	}
	done := f.taken - before
	err = errors.Join(err, f.withheld())
	if cut := f.cutShort(done, toRead); err == nil || cut != nil && ctx.Err() != nil {
		err = cut
	}
	if err == nil && done < toRead {
		err = transient("unread", fmt.Errorf("%d of %d messages could not be handled now", toRead-done, toRead))
	}
	return errors.Join(err, f.clearInFlight(ctx))
}

// cutShort returns what ended the work before all messages that were asked for were
// handled: work that is cut short is not done.
func (ps *pass) cutShort(done, of int) error {
	switch {
	case done >= of:
	case ps.runner.Stopping():
		return fmt.Errorf("%w after %d of %d messages", ErrStopped, done, of)
	case ps.quotaLeft() <= 0:
		return transient("day_full", fmt.Errorf("%d of %d messages were handled, and the mailbox has had its bytes of the day", done, of))
	}
	return nil
}

// handleSlowly handles messages that the cursor has passed, at most rate a second.
func (f *folderPass) handleSlowly(ctx context.Context, uids []uint32, rate int) error {
	size := batchUIDs
	if rate > 0 {
		size = min(rate, batchUIDs)
	}
	for batch := range slices.Chunk(uids, size) {
		if f.runner.Stopping() || f.ill {
			break
		}
		began := f.runner.now()
		if err := f.handleApart(ctx, newMessages(batch), len(batch), len(batch)); err != nil {
			return err
		}
		if rate > 0 {
			f.runner.waitUntil(ctx, began.Add(time.Duration(len(batch))*time.Second/time.Duration(rate)))
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}
