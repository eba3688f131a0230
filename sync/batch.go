package sync

import (
	"context"
	"errors"
	"slices"

	"imapsync/db"
)

// handle takes UIDs through fetch, parse, publish and commit. Messages that
// something is wrong with go alone, so that they harm nothing but themselves.
func (f *folderPass) handle(ctx context.Context, uids []uint32) error {
	singly, err := f.suspects(ctx, uids)
	if err != nil {
		return err
	}
	for _, m := range singly {
		if f.runner.stopping() {
			return nil
		}
		if err := f.handleAlone(ctx, m); err != nil {
			return err
		}
	}
	uids = wanted(uids, f.state, f.handled)
	for batch := range slices.Chunk(uids, batchUIDs) {
		if f.runner.stopping() || f.quotaUsed() {
			return nil
		}
		messages := make([]*message, len(batch))
		for i, uid := range batch {
			messages[i] = &message{listed: listed{uid: uid}}
		}
		err := f.handleBatch(ctx, messages)
		if err != nil && f.connectionDied(ctx, err) {
			err = f.bisect(ctx, wanted(batch, f.state, f.handled), err)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// connectionDied reports whether err may be the doing of a message: the
// session is gone, and neither the pass nor what all providers need has ended.
func (f *folderPass) connectionDied(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !f.session.alive() && !systemic(err) && !errors.Is(err, db.ErrFenced)
}

// bisect goes on one by one after a connection died over a batch. The message
// at fault is the one that does it again alone.
func (f *folderPass) bisect(ctx context.Context, uids []uint32, cause error) error {
	f.log.Warn("batch_failed", "messages", len(uids), "error", cause.Error())
	if err := f.reopen(ctx); err != nil {
		return errors.Join(cause, err)
	}
	for _, uid := range uids {
		if f.runner.stopping() {
			return nil
		}
		if err := f.handleAlone(ctx, &message{listed: listed{uid: uid}}); err != nil {
			return err
		}
	}
	return nil
}

// handleAlone takes one message through. When the connection dies over it and
// the server is there again for a new one, the message goes to quarantine.
func (f *folderPass) handleAlone(ctx context.Context, m *message) error {
	err := f.handleBatch(ctx, []*message{m})
	if err == nil || !f.connectionDied(ctx, err) {
		return err
	}
	if reopenErr := f.reopen(ctx); reopenErr != nil {
		return errors.Join(err, reopenErr)
	}
	_, code := Classify(err)
	failed := &message{listed: m.listed, attempts: m.attempts, retry: m.retry}
	failed.fail("fetch", code, err)
	return f.commit(ctx, &chunk{messages: []*message{failed}})
}

// reopen gets a new connection on the folder.
func (f *folderPass) reopen(ctx context.Context) error {
	if err := f.reconnect(ctx); err != nil {
		return err
	}
	selected, err := f.session.examine(f.status.Name)
	if err != nil {
		return err
	}
	if selected.UIDValidity != 0 && selected.UIDValidity != f.state.UIDValidity {
		return transient("uidvalidity_changed", errors.New("UIDVALIDITY changed during the pass"))
	}
	return nil
}

// handleBatch writes down which UIDs are about to be handled, so that being
// killed by one of them counts, and then takes them through.
func (f *folderPass) handleBatch(ctx context.Context, messages []*message) error {
	next := *f.state
	next.InFlight = nil
	for _, m := range messages {
		for range m.killed + 1 {
			next.InFlight = append(next.InFlight, int64(m.uid))
		}
	}
	if err := f.runner.Store.SetFolder(ctx, f.fence, &next); err != nil {
		return err
	}
	f.state = &next
	if err := f.look(messages); err != nil {
		return err
	}
	return f.pipeline(ctx, messages)
}

// look asks for sizes and dates. What the server leaves out is looked for a
// second time, by itself; what is gone then was expunged.
func (f *folderPass) look(messages []*message) error {
	uids := make([]uint32, len(messages))
	for i, m := range messages {
		uids[i] = m.uid
	}
	found, err := f.session.fetchSizes(uids)
	if err != nil {
		return err
	}
	for _, m := range messages {
		l, ok := found[m.uid]
		if !ok {
			if l, ok, err = f.secondLook(m.uid); err != nil {
				return err
			}
		}
		switch {
		case ok:
			m.listed = l
			m.headerOnly = m.released || l.size > f.maxMessageBytes()
		default:
			still, err := f.session.searchRange(m.uid, m.uid, nil)
			if err != nil {
				return err
			}
			if len(still) == 0 {
				m.expunged = true
				continue
			}
			m.fail("fetch", "not_returned", errors.New("the server lists the message and does not give it"))
		}
	}
	return nil
}

func (f *folderPass) secondLook(uid uint32) (listed, bool, error) {
	found, err := f.session.fetchSizes([]uint32{uid})
	l, ok := found[uid]
	return l, ok, err
}
