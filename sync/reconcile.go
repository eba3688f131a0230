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

// FolderReport compares what the server has in a folder with the ledger.
type FolderReport struct {
	Folder      string   `json:"folder"`
	UIDValidity uint64   `json:"uidValidity"`
	OnServer    int      `json:"onServer"`   // shown by the server
	Exists      int64    `json:"exists"`     // counted by it
	Unseen      int64    `json:"unseen"`     // counted and not shown: what became of them nobody can say
	UnseenOwn   bool     `json:"unseenOwn"`  // for so long that the count is taken to be wrong
	Before      int      `json:"before"`     // there before the provider's start: not ours to publish
	Handled     int      `json:"handled"`    // on the server and in the ledger
	Duplicates  int      `json:"duplicates"` // copies of mail that was published under another UID
	Elsewhere   int      `json:"elsewhere"`  // published under another UID or folder
	Waiting     int      `json:"waiting"`    // above the cursor: the next passes take them
	Quarantined int      `json:"quarantined"`
	HeldBack    int      `json:"held"`    // old and unknown, since the folder was numbered anew: a person decides
	Dead        int64    `json:"dead"`    // in quarantine, waiting for a person; those that went out by their headers are handled too
	Missing     []uint32 `json:"missing"` // passed by the cursor and unknown: must be empty
	Extra       int      `json:"extra"`   // in the ledger and no longer on the server
	Error       string   `json:"error,omitempty"`
}

// Reconcile compares every folder of a provider with the ledger. It reads only
// and takes no lock. report is called for each folder as it is done.
func (r *Runner) Reconcile(ctx context.Context, p *db.Provider, report func(FolderReport)) (err error) {
	r.init()
	done, folders := 0, 0
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = fmt.Errorf("provider %s: %w after %d of %d folders", p, stopCause(ctx), done, folders)
		}
	}()
	ps := r.unlocked(p)
	if err := ps.loadStates(ctx); err != nil {
		return err
	}
	statuses, err := r.Store.FolderStatuses(ctx, p.Tenant, p.ID)
	if err != nil {
		return err
	}
	dead := map[string]int64{}
	for _, st := range statuses {
		dead[st.Folder] = st.Dead
	}
	if err := ps.connect(ctx, false); err != nil {
		return fmt.Errorf("provider %s: %w", p, err)
	}
	defer func() { ps.session.Close() }()
	found, failed, err := ps.session.Resolve(p.Folders, nil)
	if err != nil {
		return fmt.Errorf("provider %s: %w", p, err)
	}
	folders = len(found)
	errs := ps.folderErrors(failed)
	for name, err := range failed {
		report(FolderReport{Folder: name, Error: err.Error()})
	}
	for _, status := range found {
		rep, err := ps.reconcileFolder(ctx, status)
		rep.Dead = dead[status.Name]
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if done++; err != nil {
			rep.Error = err.Error()
			errs = append(errs, fmt.Errorf("folder %q: %w", status.Name, err))
		}
		report(rep)
		if !ps.session.Alive() {
			break
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("provider %s: %w", p, err)
	}
	return nil
}

func (ps *pass) reconcileFolder(ctx context.Context, status imapsession.FolderStatus) (FolderReport, error) {
	selected, err := ps.session.Examine(status.Name)
	if err != nil {
		return FolderReport{Folder: status.Name, Missing: []uint32{}}, err
	}
	f := &folderPass{pass: ps, log: ps.log}
	f.opened(selected, status)
	exists, uids, err := f.shown()
	rep := FolderReport{
		Folder: status.Name, UIDValidity: f.status.UIDValidity, Missing: []uint32{},
		OnServer: len(uids), Exists: exists, Unseen: max(0, exists-int64(len(uids))),
	}
	if err != nil {
		return rep, err
	}
	st := ps.states[status.Name]
	if st == nil || !ps.ofAccount(st) || st.UIDValidity != rep.UIDValidity && !st.Unstable {
		rep.Waiting = len(uids) // the next pass looks at this folder for the first time
		return rep, nil
	}
	rep.UnseenOwn = rep.Unseen > 0 && rep.Unseen == st.Surplus && !Doubtful(st, ps.runner.now())
	f.cursor = &cursor{FolderState: *st}
	if st.Unstable {
		return rep, f.reconcileByPlace(ctx, uids, &rep)
	}
	ledger, err := ps.runner.Store.LedgerUIDs(ctx, ps.ref, status.Name, st.UIDValidity)
	if err != nil {
		return rep, err
	}
	var unknown []uint32
	for _, uid := range uids {
		outcome, known := ledger[uid]
		switch {
		case known && outcome == db.Quarantined:
			rep.Quarantined++
		case known && outcome == db.Duplicate:
			rep.Duplicates++
		case known && outcome == db.Held:
			rep.HeldBack++
		case known:
			rep.Handled++
		case uid <= st.StartUID && st.RenumberedAt == nil:
			rep.Before++
		case uid > st.SettledUID || st.ResyncSince != nil:
			rep.Waiting++
		default:
			unknown = append(unknown, uid)
		}
		delete(ledger, uid)
	}
	rep.Extra = len(ledger)
	return rep, f.reconcileUnknown(ctx, unknown, uids, &rep)
}

// reconcileUnknown looks at messages that have no row: they may be from before what is
// ours, or published under another UID or folder, whose message is another than those
// that the server still has.
func (f *folderPass) reconcileUnknown(ctx context.Context, unknown, onServer []uint32, rep *FolderReport) error {
	for window := range slices.Chunk(unknown, headerWindow) {
		window, err := f.sinceStart(window, rep)
		if err != nil {
			return err
		}
		s := &sieve{folderPass: f, since: f.reach(), groups: map[likeness]*group{}}
		list, err := s.headers(ctx, window)
		if err != nil {
			return err
		}
		if err := s.trace(ctx, list, ""); err != nil {
			return err
		}
		for _, m := range list {
			_, stands := slices.BinarySearch(onServer, m.uidOfRow(f))
			switch {
			case m.verdict == known && !stands:
				rep.Elsewhere++
			case m.UID <= f.cursor.StartUID && s.age(m) == notOurs:
				rep.Before++
			default:
				rep.Missing = append(rep.Missing, m.UID)
			}
		}
	}
	return nil
}

// sinceStart leaves of messages those that the server did not receive before what is
// ours. In a folder that was numbered anew a UID alone does not say that.
func (f *folderPass) sinceStart(uids []uint32, rep *FolderReport) ([]uint32, error) {
	if uids[0] > f.cursor.StartUID {
		return uids, nil
	}
	listed, err := f.session.FetchSizes(uids)
	return slices.DeleteFunc(slices.Clone(uids), func(uid uint32) bool {
		received := listed[uid].InternalDate
		before := uid <= f.cursor.StartUID && !received.Before(beginning()) && received.Before(f.reach().Truncate(time.Second))
		if before {
			rep.Before++
		}
		return before
	}), err
}

// uidOfRow is the UID of a message's row in the present numbering of the folder; 0 when
// it is of another.
func (m *sifted) uidOfRow(f *folderPass) uint32 {
	if m.row == nil || m.row.Folder != f.status.Name || uint64(m.row.UIDValidity) != f.cursor.UIDValidity {
		return 0
	}
	return m.row.UID
}

// reconcileByPlace compares a folder whose numbering never holds, by headers.
func (f *folderPass) reconcileByPlace(ctx context.Context, uids []uint32, rep *FolderReport) error {
	for part := range slices.Chunk(uids, maxSifted) {
		s, err := f.newSieveBeside(ctx, f.reach(), 0) // rows under any numbering
		if err != nil {
			return err
		}
		s.exact = true
		if s.unnamed, err = f.runner.Store.UnnamedTraces(ctx, f.ref, f.status.Name, 0); err != nil {
			return err
		}
		for window := range slices.Chunk(part, headerWindow) {
			list, err := s.add(ctx, window)
			if err != nil {
				return err
			}
			for _, m := range list {
				switch m.verdict {
				case known:
					rep.Handled++
				case aside:
					rep.Quarantined++
				case held:
					rep.HeldBack++
				case notOurs:
					rep.Before++
				case unknown, later:
					rep.Waiting++ // found when the sweep comes by
				}
			}
		}
	}
	return nil
}

// unlocked is a pass that only reads, and takes no lock.
func (r *Runner) unlocked(p *db.Provider) *pass {
	return &pass{runner: r, provider: p, ref: db.Ref{Tenant: p.Tenant, ID: p.ID}, log: r.Log}
}

// ReadRaw reads one message from the server as it stands there.
func (r *Runner) ReadRaw(ctx context.Context, p *db.Provider, folder string, uidValidity uint64, uid uint32) ([]byte, error) {
	r.init()
	ps := r.unlocked(p)
	if err := ps.connect(ctx, false); err != nil {
		return nil, fmt.Errorf("provider %s: %w", p, err)
	}
	defer func() { ps.session.Close() }()
	selected, err := ps.session.Examine(folder)
	if err != nil {
		return nil, fmt.Errorf("provider %s: folder %q: %w", p, folder, err)
	}
	if selected.UIDValidity != 0 && selected.UIDValidity != uidValidity {
		return nil, fmt.Errorf("provider %s: folder %q: the server has numbered the folder anew, uid %d is no longer that message", p, folder, uid)
	}
	var raw []byte
	limit := r.Options.MaxMessageBytes + r.Options.MaxMessageBytes/2
	err = ps.session.FetchBodies([]uint32{uid}, false, limit, func(_ uint32, body []byte) bool { raw = body; return true })
	if err == nil && raw == nil {
		err = errors.New("the server does not give it; it may have been expunged")
	}
	if err != nil {
		return nil, fmt.Errorf("provider %s: folder %q: uid %d: %w", p, folder, uid, err)
	}
	return raw, nil
}
