package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"imapsync/internal/imapsession"
)

// survey is what the server says of a provider's folders.
type survey struct {
	found  []imapsession.FolderStatus
	work   []imapsession.FolderStatus // of these, those with something new, in the order to serve them
	failed int                        // folders that could not be asked for
	unread int                        // folders of which nothing could be read, those included
	errs   []error                    // of folders
}

// survey finds the folders to serve: INBOX first, then the least recently served.
func (ps *pass) survey(ctx context.Context) (*survey, error) {
	found, failed, err := ps.resolve(ctx)
	if err != nil {
		return nil, err
	}
	ps.folders, ps.left = len(found), 0
	ps.idle = imapsession.IdleFolder(ps.provider.Folders, found)
	s := &survey{found: found, failed: len(failed), unread: len(failed), errs: ps.folderErrors(failed)}
	now := ps.runner.now()
	ps.bare = !slices.ContainsFunc(found, func(s imapsession.FolderStatus) bool {
		st := ps.states[s.Name]
		return s.Messages != 0 || st != nil && ps.ofAccount(st)
	})
	for _, status := range found {
		st := ps.states[status.Name]
		if !nothingNew(st, status, now) || !ps.ofAccount(st) || ps.countDue(st, now) || len(ps.retries[status.Name]) > 0 {
			s.work = append(s.work, status)
		}
	}
	slices.SortStableFunc(s.work, ps.servedBefore)
	return s, nil
}

// maxLostFolders is how many folders may cost the connection when they are
// asked for their state, before the fault is taken to be the server's.
const maxLostFolders = 3

// resolve asks for the state of the folders. A folder that costs the connection
// fails alone: the others are asked for on a new one.
func (ps *pass) resolve(ctx context.Context) (found []imapsession.FolderStatus, failed map[string]error, err error) {
	lost := map[string]error{}
	for {
		found, failed, err = ps.session.Resolve(ps.provider.Folders, lost, ps.lately()...)
		at, ok := errors.AsType[*imapsession.LostFolderError](err)
		switch {
		case err == nil && ps.session.Alive():
			return found, failed, nil
		case err != nil && ps.kept && ctx.Err() == nil:
			// Nobody knows since when it was gone: no folder is to blame.
		case err != nil && (!ok || ctx.Err() != nil || len(lost) == maxLostFolders):
			return nil, nil, err
		case err != nil:
			lost[at.Folder] = at.Err
		}
		if reconnectErr := ps.reconnect(ctx); reconnectErr != nil {
			return nil, nil, errors.Join(err, reconnectErr)
		}
		if err == nil {
			return found, failed, nil
		}
	}
}

// listedFor is how long a folder that LIST leaves out is asked for all the same.
const listedFor = 24 * time.Hour

// lately names the folders that were there lately.
func (ps *pass) lately() (names []string) {
	now := ps.runner.now()
	for name, st := range ps.states {
		if st.LastSearchAt != nil && now.Sub(*st.LastSearchAt) < listedFor {
			names = append(names, name)
		}
	}
	return names
}

func (ps *pass) servedBefore(a, b imapsession.FolderStatus) int {
	rank := func(st imapsession.FolderStatus) time.Time {
		s := ps.states[st.Name]
		if s == nil || s.LastServedAt == nil {
			return time.Time{}
		}
		return *s.LastServedAt
	}
	return cmp.Or(imapsession.InboxFirst(a.Name, b.Name), rank(a).Compare(rank(b)), cmp.Compare(a.Name, b.Name))
}

func (ps *pass) folderErrors(failed map[string]error) []error {
	var errs []error
	for name, err := range failed {
		errs = append(errs, ps.folderFailed(name, err))
	}
	slices.SortFunc(errs, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errs
}

func (ps *pass) folderFailed(name string, err error) error {
	class, code := Classify(err)
	ps.log.Warn("folder_failed", "folder", name, "class", class, "code", code, "error", err.Error())
	return fmt.Errorf("folder %q: %w", name, err)
}

// maxNamed is how many of the folders that failed the error of a pass names;
// the log has them all.
const maxNamed = 10

func joinFolders(errs []error) error {
	if more := len(errs) - maxNamed; more > 0 {
		errs = append(slices.Clip(errs[:maxNamed]), fmt.Errorf("and %d more folders", more))
	}
	return errors.Join(errs...)
}

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
	ps.partial = len(s.errs) > 0 && s.unread < len(s.found)+s.failed
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
			if s.errs = append(s.errs, ps.folderFailed(status.Name, err)); !readInPart(err) {
				s.unread++
			}
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

// endsPass reports whether an error over one folder is about more than that folder.
func (ps *pass) endsPass(ctx context.Context, err error) bool {
	return ctx.Err() != nil || isOurs(err)
}
