package sync

import (
	"context"
	"maps"
	"slices"

	"imapsync/parse"
	"imapsync/publish"
)

// headerWindow is how many headers one FETCH asks for.
const headerWindow = 100

// settleKnown goes through messages by their headers alone and commits those
// that the ledger knows by their event key, so that only what is unknown is
// downloaded. It returns the rest.
func (f *folderPass) settleKnown(ctx context.Context, uids []uint32) ([]uint32, error) {
	var unknown []uint32
	for window := range slices.Chunk(uids, headerWindow) {
		if f.runner.stopping() {
			return nil, nil
		}
		known, err := f.knownByHeader(ctx, window)
		if err != nil && f.atFault(ctx, err) {
			// One header among them is at fault: the whole messages are asked
			// for, and that one is found out.
			f.log.Warn("batch_failed", "messages", len(window), "error", err.Error())
			if err = nil; !f.session.Alive() {
				err = f.reopen(ctx)
			}
		}
		if err != nil {
			return nil, err
		}
		c := &chunk{}
		for _, uid := range window {
			if key, ok := known[uid]; ok {
				m := newMessage(uid)
				m.known, m.summary.key = true, key
				c.messages = append(c.messages, m)
			} else {
				unknown = append(unknown, uid)
			}
		}
		if len(c.messages) > 0 {
			if err := f.commit(ctx, c); err != nil {
				return nil, err
			}
		}
	}
	return unknown, nil
}

// knownByHeader fetches headers and returns the event keys of those messages
// that have been published. One without Message-ID cannot be told by its
// header.
func (f *folderPass) knownByHeader(ctx context.Context, uids []uint32) (map[uint32]string, error) {
	keys := map[uint32]string{}
	err := f.session.FetchBodies(uids, true, maxHeaderBytes, func(uid uint32, raw []byte) {
		if key, ok := f.headerKey(raw); ok {
			keys[uid] = key
		}
	})
	if err != nil {
		return nil, err
	}
	found, err := f.runner.Store.KnownMessages(ctx, f.ref, slices.Collect(maps.Values(keys)), nil)
	if err != nil {
		return nil, err
	}
	published := make(map[string]bool, len(found))
	for _, k := range found {
		published[k.EventKey] = true
	}
	maps.DeleteFunc(keys, func(_ uint32, key string) bool { return !published[key] })
	return keys, nil
}

// headerKey is the event key by a header. One that the parser panics on is
// unknown: handled as a whole, it is that message's failure.
func (f *folderPass) headerKey(raw []byte) (key string, ok bool) {
	defer func() {
		if recover() != nil {
			key, ok = "", false
		}
	}()
	return publish.HeaderKey(f.runner.parse(raw, parse.Limits{}))
}
