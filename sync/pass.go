package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/internal/imapsession"
	"imapsync/oauth"
	"imapsync/publish"
)

// pass is one pass over one provider, under its lock.
type pass struct {
	runner   *Runner
	provider *db.Provider
	ref      db.Ref
	fence    db.Fence
	log      *slog.Logger
	started  time.Time
	limits   publish.Limits

	session    *imapsession.Session
	kept       bool // the session is that of the last pass, and may have died unseen
	reconnects int
	states     map[string]*db.FolderState
	served     map[string]bool            // folders of which messages were handled
	retries    map[string][]db.Quarantine // due, by folder

	counts  db.Counts
	folders int
	left    int
	bytes   atomic.Int64
	partial bool // some folders were served before or after one failed
}

func newRunID() string { return uuid.NewString() }

// maxRetries is how many quarantined messages one pass tries again.
const maxRetries = 20

// run reads what is new in every folder of the provider.
func (ps *pass) run(ctx context.Context) error {
	store := ps.runner.Store
	var err error
	if ps.states, err = store.FolderStates(ctx, ps.ref); err != nil {
		return err
	}
	due, err := store.QuarantineDue(ctx, ps.ref, time.Now().UTC(), maxRetries)
	if err != nil {
		return err
	}
	ps.retries = map[string][]db.Quarantine{}
	for _, q := range due {
		ps.retries[q.Folder] = append(ps.retries[q.Folder], q)
	}
	if err := ps.connect(ctx, true); err != nil {
		return err
	}
	defer ps.release()
	for {
		taken, err := ps.allFolders(ctx)
		if err != nil || !ps.runner.Options.Drain || taken == 0 || ps.left == 0 || ps.runner.stopping() || ps.quotaUsed() {
			return err
		}
		ps.retries = nil
	}
}

// release ends the pass's connection, or keeps it for the next pass.
func (ps *pass) release() {
	if !ps.runner.Options.Keep {
		ps.session.Close()
		return
	}
	ps.runner.sessions.Put(ps.ref, ps.session)
}

// connect takes the connection that the last pass left, if it still lives, or
// makes one; with survey, the state of
// its folders is asked for next.
func (ps *pass) connect(ctx context.Context, survey bool) error {
	opts := ps.runner.sessionOptions(ps.provider)
	opts.Survey = survey
	s := ps.runner.sessions.Get(ps.ref, accountOf(ps.provider, opts))
	if s != nil && ps.tokenDue() {
		s.Close()
		s = nil
	}
	if s != nil {
		err := s.Resume(ctx)
		if err == nil {
			ps.session, ps.kept = s, true
			return nil
		}
		s.Close()
		ps.log.Info("disconnect", "host", ps.provider.Host, "error", err.Error())
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	credential, err := ps.runner.Credential(ctx, ps.provider, ps.fence)
	if err != nil {
		return credentialError(err)
	}
	started := time.Now()
	opts.Credential = credential
	session, err := Connect(ctx, ps.provider, opts)
	if err != nil {
		return err
	}
	ps.session = session
	ps.log.Debug("connect", "host", ps.provider.Host, "port", ps.provider.Port, "tls", ps.provider.TLS,
		"duration_ms", time.Since(started).Milliseconds())
	return nil
}

// tokenDue reports whether the token that the provider logged in with is to be
// renewed. A connection that is kept would outlive it, and with it the refresh
// token, which dies unused.
func (ps *pass) tokenDue() bool {
	end := ps.provider.TokenExpiresAt
	return ps.provider.AuthType == db.AuthOAuth2 && end != nil && time.Until(*end) <= oauth.Early
}

// allFolders serves every folder that has something new: INBOX first, then the
// least recently served. The budget is shared evenly, and what one folder does
// not use flows on. It returns how many messages were handled.
func (ps *pass) allFolders(ctx context.Context) (taken int, err error) {
	found, failed, err := ps.survey(ctx)
	if err != nil {
		return 0, err
	}
	ps.folders, ps.left = len(found), 0
	errs := ps.folderErrors(failed)
	now := time.Now().UTC()
	var work []imapsession.FolderStatus
	for _, status := range found {
		if nothingNew(ps.states[status.Name], status, now) && len(ps.retries[status.Name]) == 0 {
			continue
		}
		work = append(work, status)
	}
	slices.SortStableFunc(work, ps.servedBefore)
	budget := ps.provider.MaxEmailsPerSync
	// A second round gives what was left over to folders with a backlog.
	for range 2 {
		var unfinished []imapsession.FolderStatus
		for i, status := range work {
			if budget <= 0 || ps.runner.stopping() || ps.quotaUsed() {
				break
			}
			share := (budget + len(work) - i - 1) / (len(work) - i)
			n, backlog, err := ps.folder(ctx, status, share)
			taken += n
			budget -= n
			if n > 0 {
				ps.served[status.Name] = true
			}
			if err != nil {
				if ctx.Err() != nil || systemic(err) || errors.Is(err, db.ErrFenced) {
					return taken, err
				}
				errs = append(errs, ps.folderFailed(status.Name, err))
				if !ps.session.Alive() {
					if err := ps.reconnect(ctx); err != nil {
						return taken, errors.Join(append(errs, err)...)
					}
				}
				continue
			}
			if backlog > 0 {
				unfinished = append(unfinished, status)
			}
		}
		if work = unfinished; len(work) == 0 || taken == 0 {
			break
		}
		ps.retries = nil
	}
	for _, status := range found {
		if st := ps.states[status.Name]; st != nil {
			ps.left += int(st.Backlog)
		}
	}
	ps.partial = len(errs) > 0 && len(errs) < len(found)+len(failed)
	return taken, joinFolders(errs)
}

// maxLostFolders is how many folders may cost the connection when they are
// asked for their state, before the fault is taken to be the server's.
const maxLostFolders = 3

// survey finds the folders to serve and their state. A folder that costs the
// connection fails alone: the others are asked for on a new one.
func (ps *pass) survey(ctx context.Context) (found []imapsession.FolderStatus, failed map[string]error, err error) {
	lost := map[string]error{}
	for {
		found, failed, err = ps.session.Resolve(ps.provider.Folders, lost)
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

// quotaUsed reports whether the provider has had its bytes of the day.
func (ps *pass) quotaUsed() bool {
	quota := ps.provider.MaxBytesPerDay
	return quota > 0 && ps.provider.BytesToday(ps.started)+ps.bytes.Load() >= quota
}

// maxMessageBytes is the provider's own limit, else that of the run.
func (ps *pass) maxMessageBytes() int64 { return ps.runner.maxMessageBytes(ps.provider) }

func (r *Runner) maxMessageBytes(p *db.Provider) int64 {
	return cmp.Or(p.MaxMessageBytes, r.Options.MaxMessageBytes)
}

// sessionOptions are those of a provider's passes, but for the credential.
func (r *Runner) sessionOptions(p *db.Provider) SessionOptions {
	return SessionOptions{Timeouts: r.Options.Timeouts, MaxMessageBytes: r.maxMessageBytes(p), dialer: &r.dialer}
}

// servedBefore orders folders: INBOX, then the least recently served.
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

// maxNamed is how many of the folders that failed the error of a pass names;
// the log has them all.
const maxNamed = 10

func joinFolders(errs []error) error {
	if more := len(errs) - maxNamed; more > 0 {
		errs = append(slices.Clip(errs[:maxNamed]), fmt.Errorf("and %d more folders", more))
	}
	return errors.Join(errs...)
}

func (ps *pass) folderFailed(name string, err error) error {
	class, code := Classify(err)
	ps.log.Warn("folder_failed", "folder", name, "class", class, "code", code, "error", err.Error())
	return fmt.Errorf("folder %q: %w", name, err)
}

// One folder may cost so many connections, so that it does not starve the
// others, and one pass so many.
const (
	maxFolderReconnects = 5
	maxReconnects       = 20
)

// reconnect replaces a session that died in the middle of a pass.
func (ps *pass) reconnect(ctx context.Context) error {
	if ps.reconnects++; ps.reconnects > maxReconnects {
		return transient("connection", fmt.Errorf("the connection was lost %d times in one pass", ps.reconnects))
	}
	ps.session.Close()
	ps.kept = false
	ps.log.Info("reconnect", "attempt", ps.reconnects)
	return ps.connect(ctx, false)
}
