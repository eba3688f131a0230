package sync

import (
	"context"
	"errors"

	"imapsync/db"
	"imapsync/internal/imapsession"
)

// serve handles what is new in the folders that a survey found. The budget of
// the pass is shared evenly, and what one folder does not use flows on. It
// returns how many messages were handled.
func (ps *pass) serve(ctx context.Context, s *survey) (taken int, err error) {
	work := s.work
	// A second round gives what was left over to folders with a backlog.
	for range 2 {
		n, unfinished, err := ps.serveRound(ctx, s, work, ps.provider.MaxEmailsPerSync-taken)
		if taken += n; err != nil {
			return taken, err
		}
		if work = unfinished; len(work) == 0 || taken == 0 {
			break
		}
		ps.retries = nil
	}
	for _, status := range s.found {
		if st := ps.states[status.Name]; st != nil {
			ps.left += int(st.Backlog)
		}
	}
	ps.partial = len(s.errs) > 0 && len(s.errs) < len(s.found)+s.failed
	return taken, joinFolders(s.errs)
}

// serveRound serves each folder once, with its share of what is left of the
// budget. It returns those that have a backlog still; the error ends the pass.
func (ps *pass) serveRound(ctx context.Context, s *survey, work []imapsession.FolderStatus, budget int) (taken int, unfinished []imapsession.FolderStatus, err error) {
	for i, status := range work {
		if taken >= budget || ps.mustEnd() {
			break
		}
		left := len(work) - i
		n, backlog, err := ps.folder(ctx, status, (budget-taken+left-1)/left)
		if taken += n; n > 0 {
			ps.served[status.Name] = true
		}
		switch {
		case err == nil && backlog > 0:
			unfinished = append(unfinished, status)
		case err == nil:
		case ps.endsPass(ctx, err):
			return taken, nil, err
		default:
			s.errs = append(s.errs, ps.folderFailed(status.Name, err))
			if ps.session.Alive() {
				continue
			}
			if err := ps.reconnect(ctx); err != nil {
				return taken, nil, errors.Join(append(s.errs, err)...)
			}
		}
	}
	return taken, unfinished, nil
}

// endsPass reports whether an error over one folder is about more than that
// folder.
func (ps *pass) endsPass(ctx context.Context, err error) bool {
	return ctx.Err() != nil || systemic(err) || errors.Is(err, db.ErrFenced)
}
