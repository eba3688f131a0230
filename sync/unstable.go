package sync

import (
	"context"
	"slices"
)

// LeastHeaders is the least that half of a pass over such a folder takes.
const LeastHeaders = headerWindow

// knownInARow messages at the top say that nothing new lies below them.
const knownInARow = 200

// readByPlace reads a folder whose numbering never holds: its UIDs last as long as the
// connection, and all that tells its messages are their headers. Of so many headers a
// pass, half are read at the top, from the newest down until so many in a row are
// known, and the others further down, from where the last pass ended. Messages that
// are known keep their rows, so that the ledger does not grow.
func (f *folderPass) readByPlace(ctx context.Context, budget int) error {
	_, uids, err := f.shown()
	if err != nil {
		return err
	}
	s, err := f.newSieve(ctx, f.reach())
	if err != nil {
		return err
	}
	s.exact = true
	if s.unnamed, err = f.runner.Store.UnnamedTraces(ctx, f.ref, f.status.Name, f.cursor.UIDValidity); err != nil {
		return err
	}
	headers := f.runner.Options.MaxHeaders
	top, row := len(uids), 0
	for top > 0 && len(uids)-top < headers/2 && row < knownInARow && !f.mustEnd() {
		if row, err = s.down(ctx, uids, &top, row); err != nil {
			return err
		}
	}
	place := top
	if left := int(f.cursor.SweepLeft); 0 < left && left < top {
		place = left
	}
	for begun := place; place > 0 && begun-place < headers/2 && len(s.unknown()) < budget && !f.mustEnd(); {
		if _, err = s.down(ctx, uids, &place, 0); err != nil {
			return err
		}
	}
	if err := s.settleByPlace(ctx); err != nil {
		return err
	}
	left := s.unknown()
	slices.Sort(left)
	slices.Reverse(left) // the newest first: what is new never waits for what is old
	if err := f.handle(ctx, left[:min(len(left), budget)], budget); err != nil {
		return err
	}
	left = append(f.cursor.wanted(left), s.those(later)...)
	for _, uid := range left { // to be found again
		if at, _ := slices.BinarySearch(uids, uid); at < top {
			place = max(place, at+1)
		}
	}
	return f.store(ctx, f.cursor.sweptTo(place, f.status.UIDNext, len(left), int64(f.runner.Options.MaxOldUnknown), f.runner.now()))
}

// down looks at the messages of a window below a place, which it moves. It returns how
// many in a row, of those last looked at, need not be read.
func (s *sieve) down(ctx context.Context, uids []uint32, place *int, row int) (int, error) {
	window := uids[max(0, *place-headerWindow):*place]
	*place -= len(window)
	list, err := s.add(ctx, s.cursor.wanted(window))
	for _, m := range slices.Backward(list) {
		if row++; m.verdict == unknown || m.verdict == later {
			row = 0
		}
	}
	return row + len(window) - len(list), err
}

// settleByPlace notes what is held and was not before, and moves what is due in the
// quarantine to the UID of this pass.
func (s *sieve) settleByPlace(ctx context.Context) error {
	keys := map[string]int{}
	if s.cursor.Held > 0 {
		var err error
		if keys, err = s.runner.Store.HeldKeys(ctx, s.ref, s.status.Name); err != nil {
			return err
		}
	}
	now := s.runner.now()
	for _, m := range s.messages {
		switch {
		case m.verdict == held && keys[m.HeaderKey] > 0:
			keys[m.HeaderKey]--
			m.verdict = known
		case m.verdict == aside && !m.due.Due(now):
			m.verdict = known
		}
	}
	_, err := s.settle(ctx)
	return err
}
