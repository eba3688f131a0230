package sync

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	rep := FolderReport{Folder: status.Name, UIDValidity: max(selected.UIDValidity, status.UIDValidity), Missing: []uint32{}}
	f := &folderPass{pass: ps, log: ps.log}
	f.opened(selected, status)
	exists, uids, err := f.shown()
	if err != nil {
		return rep, err
	}
	rep.OnServer, rep.Exists, rep.Unseen = len(uids), exists, max(0, exists-int64(len(uids)))
	st := ps.states[status.Name]
	if st == nil || st.UIDValidity != rep.UIDValidity {
		rep.Waiting = len(uids) // the next pass looks at this folder for the first time
		return rep, nil
	}
	rep.UnseenOwn = rep.Unseen > 0 && rep.Unseen == st.Surplus && !Doubtful(st, ps.runner.now())
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
		case known:
			rep.Handled++
		case uid <= st.StartUID:
			rep.Before++
		case uid > st.SettledUID || st.ResyncSince != nil:
			rep.Waiting++
		default:
			unknown = append(unknown, uid)
		}
		delete(ledger, uid)
	}
	rep.Extra = len(ledger)
	f.cursor = &cursor{FolderState: *st}
	for window := range slices.Chunk(unknown, headerWindow) {
		elsewhere, err := f.knownByHeader(ctx, window)
		if err != nil {
			return rep, err
		}
		rep.Elsewhere += len(elsewhere)
		for _, uid := range window {
			if _, ok := elsewhere[uid]; !ok {
				rep.Missing = append(rep.Missing, uid)
			}
		}
	}
	return rep, nil
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
