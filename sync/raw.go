package sync

import (
	"context"
	"errors"
	"fmt"

	"imapsync/db"
)

// ReadRaw reads one message from the server as it stands there.
func (r *Runner) ReadRaw(ctx context.Context, p *db.Provider, folder string, uidValidity, uid uint32) ([]byte, error) {
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
	err = ps.session.FetchBodies([]uint32{uid}, false, limit, func(_ uint32, body []byte) { raw = body })
	if err == nil && raw == nil {
		err = errors.New("the server does not give it; it may have been expunged")
	}
	if err != nil {
		return nil, fmt.Errorf("provider %s: folder %q: uid %d: %w", p, folder, uid, err)
	}
	return raw, nil
}
