package sync

import (
	"context"
	"fmt"
	"slices"
	"time"

	"imapsync/db"
	"imapsync/internal/imapsession"
	"imapsync/publish"
)

const (
	// maxRenumbered changes of the numbering in a row pause a folder: its
	// server does not keep its promise, and each change costs a search.
	maxRenumbered = 5
	// maxUnknown is how many messages may turn up unknown after a change
	// before a person is asked: a restored backup must not become tickets.
	maxUnknown = 1000
)

// numberedAnew tells, if so, how the server has given the messages of the folder new
// UIDs: by another UIDVALIDITY, or by a UIDNEXT below what was settled. UIDNEXT is a
// hint, so it is believed only when the server has nothing from there on.
func (f *folderPass) numberedAnew() (reason string, err error) {
	if f.cursor.UIDValidity != f.status.UIDValidity {
		return fmt.Sprintf("UIDVALIDITY changed from %d to %d", f.cursor.UIDValidity, f.status.UIDValidity), nil
	}
	next := f.status.UIDNext
	if next == 0 || next > f.cursor.SettledUID || f.cursor.ResyncSince != nil {
		return "", nil
	}
	above, err := f.session.Search(next, imapsession.MaxUID, nil)
	if err != nil || len(above) > 0 {
		return "", err
	}
	return fmt.Sprintf("UIDNEXT went back to %d, below %d", next, f.cursor.SettledUID), nil
}

// renumber begins a new cursor after the server has given the messages new
// UIDs. What was published before is known by its event key, so the search
// takes in more than what is surely new: all unread mail, and all that came
// since two days before the last pass, whoever has read it meanwhile.
func (f *folderPass) renumber(ctx context.Context, reason string) error {
	since := f.started
	if f.cursor.LastSearchAt != nil {
		since = *f.cursor.LastSearchAt
	}
	since = since.AddDate(0, 0, -2).Truncate(24 * time.Hour)
	if f.cursor.Backlog > 0 && f.startDay().Before(since) {
		since = f.startDay() // not all of what was wanted has been read
	}
	if oldest, err := f.runner.Store.OldestQuarantine(ctx, f.ref, f.status.Name); err != nil {
		return err
	} else if oldest != nil && oldest.AddDate(0, 0, -2).Before(since) {
		since = oldest.AddDate(0, 0, -2).Truncate(24 * time.Hour)
	}
	if old := f.cursor.ResyncSince; old != nil && old.Before(since) {
		since = *old // the last one was not finished
	}
	uids, err := f.session.Search(1, imapsession.MaxUID, nil)
	if err != nil {
		return err
	}
	last := slices.Max(append(uids, 0))
	next := f.cursor.renumbered(f.status.UIDValidity, last, since, reason)
	if next.ResyncCount >= maxRenumbered {
		next = next.paused(fmt.Sprintf("the server numbered the folder anew %d times in a row (%s)", next.ResyncCount, reason))
	}
	audit := db.Audit{
		Tenant: f.provider.Tenant, At: f.runner.now(), Actor: "imapsync", Action: "folder_renumbered", ProviderID: f.provider.ID,
		Detail: db.Detail{"folder": f.status.Name, "reason": reason, "since": since.Format(time.DateOnly)},
	}
	sameValidity := f.cursor.UIDValidity == next.UIDValidity
	if err := f.runner.Store.RenumberFolder(ctx, f.fence, &next.FolderState, sameValidity, audit); err != nil {
		return err
	}
	f.log.Warn("folder_renumbered", "reason", reason, "since", since, "times", next.ResyncCount)
	f.cursor = next
	if next.PausedReason != "" {
		return PausedFolder(next.Folder, next.PausedReason, next.ResyncCount)
	}
	return nil
}

// leaveOutKnown leaves of the UIDs of a renumbered folder those that are
// new. When there are too many, a person is asked first.
func (f *folderPass) leaveOutKnown(ctx context.Context, uids []uint32) ([]uint32, error) {
	unknown, err := f.settleKnown(ctx, uids)
	if err != nil || len(unknown) <= maxUnknown || f.cursor.ResyncReason == db.ResyncAccepted {
		return unknown, err
	}
	reason := fmt.Sprintf("%s, and %d messages are unknown, more than %d", f.cursor.ResyncReason, len(unknown), maxUnknown)
	if err := f.store(ctx, f.cursor.paused(reason)); err != nil {
		return nil, err
	}
	return nil, PausedFolder(f.cursor.Folder, f.cursor.PausedReason, f.cursor.ResyncCount)
}

// headerWindow is how many headers one FETCH asks for.
const headerWindow = 100

// settleKnown goes through messages by their headers alone and commits those
// that the ledger knows by their event key, so that only what is unknown is
// downloaded. It returns the rest.
func (f *folderPass) settleKnown(ctx context.Context, uids []uint32) ([]uint32, error) {
	var unknown []uint32
	for window := range slices.Chunk(uids, headerWindow) {
		if f.runner.Stopping() {
			return nil, ErrStopped
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

// knownByHeader fetches headers and returns the event keys of those messages that have
// been published. One without Message-ID or Date cannot be told by its header.
func (f *folderPass) knownByHeader(ctx context.Context, uids []uint32) (map[uint32]string, error) {
	headers := map[uint32]publish.Identity{}
	err := f.session.FetchBodies(uids, true, maxHeaderBytes, func(uid uint32, raw []byte) bool {
		if id := publish.IdentifyHeader(raw); id.MessageID != "" && id.Dated {
			headers[uid] = id
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, id := range headers {
		ids = append(ids, db.Clean(id.MessageID))
	}
	found, err := f.runner.Store.KnownMessages(ctx, f.ref, nil, ids)
	if err != nil {
		return nil, err
	}
	keys := map[uint32]string{}
	for uid, id := range headers {
		for _, k := range found {
			if k.MessageID == db.Clean(id.MessageID) && k.Fingerprint == id.HeaderPrint {
				keys[uid] = k.EventKey
			}
		}
	}
	return keys, nil
}
