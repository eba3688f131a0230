package sync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"imapsync/db"
	"imapsync/internal/imapsession"
)

// Republish reads messages again that the stream has lost and publishes them
// under the same identity, under the provider's lock. It returns how many were
// found on the server; the others are gone there too.
func (r *Runner) Republish(ctx context.Context, p *db.Provider, lost []db.Message) (found int, res Result) {
	r.init()
	ps, ctx, res := r.lock(ctx, p)
	if ps == nil {
		return 0, res
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
		byFolder := map[string][]db.Message{}
		for _, m := range lost {
			byFolder[m.Folder] = append(byFolder[m.Folder], m)
		}
		for folder, list := range byFolder {
			n, err := ps.republish(ctx, folder, list)
			if found += n; err != nil {
				return fmt.Errorf("folder %q: %w", folder, err)
			}
		}
		return nil
	})
	return found, ps.result(ctx, err)
}

// republish publishes again what was lost of one folder.
func (ps *pass) republish(ctx context.Context, folder string, lost []db.Message) (found int, err error) {
	f, _, err := ps.open(ctx, imapsession.FolderStatus{Name: folder}, 0)
	if err != nil {
		return 0, err
	}
	slices.SortFunc(lost, func(a, b db.Message) int { return cmp.Compare(a.UID, b.UID) })
	var messages []*message
	for _, row := range lost {
		if row.UIDValidity == f.cursor.UIDValidity {
			m := newMessage(row.UID)
			m.again = true
			messages = append(messages, m)
		}
	}
	err = f.handleGroups(ctx, slices.Collect(slices.Chunk(messages, batchUIDs)))
	return f.found, errors.Join(err, f.clearInFlight(ctx))
}
