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

// Republication is what became of events that were to be published again.
type Republication struct {
	Published int
	Gone      []string // keys of events whose mail is no longer on the server
	Failed    []string // keys of those whose mail is there, and cannot be published

	unsure bool // mail that is not there may turn up: its folder is being numbered anew, or may be in disorder
}

// Republish reads messages again that the stream has lost and publishes them
// under the same identity, under the provider's lock.
func (r *Runner) Republish(ctx context.Context, p *db.Provider, lost []db.PublishedEvent) (rep Republication, res Result) {
	res = r.besides(ctx, p, func(ctx context.Context, ps *pass) (err error) {
		if rep, err = ps.republish(ctx, lost, false); err == nil {
			err = ps.cutShort(rep.Published+len(rep.Gone), len(lost))
		}
		return err
	})
	return rep, res
}

// republish looks for the mails of events wherever they stood, and publishes them. With
// patience a folder that is missing may come back with its mails.
func (ps *pass) republish(ctx context.Context, lost []db.PublishedEvent, patience bool) (rep Republication, err error) {
	if len(lost) == 0 {
		return rep, nil
	}
	keys := make([]string, len(lost))
	for i, e := range lost {
		keys[i] = e.EventKey
	}
	places, err := ps.runner.Store.EventPlaces(ctx, ps.ref, keys)
	if err != nil {
		return rep, err
	}
	byFolder := map[string][]db.EventPlace{}
	var folders []string
	for _, place := range places {
		if byFolder[place.Folder] == nil {
			folders = append(folders, place.Folder)
		}
		byFolder[place.Folder] = append(byFolder[place.Folder], place)
	}
	slices.SortFunc(folders, func(a, b string) int { return cmp.Or(imapsession.InboxFirst(a, b), cmp.Compare(a, b)) })
	ps.again = map[string]bool{}
	look := sighting{patience: patience, seen: map[string]bool{}}
	if len(folders) > 0 {
		err = ps.republishFolders(ctx, folders, byFolder, &look)
	}
	rep.unsure = look.unsure
	for _, key := range keys {
		switch {
		case ps.again[key]:
			rep.Published++
		case look.seen[key]:
			rep.Failed = append(rep.Failed, key)
		case err == nil && !ps.mustEnd():
			rep.Gone = append(rep.Gone, key)
			ps.log.Error("event_gone", "event_key", key)
		}
	}
	if rep.Published > 0 {
		ps.log.Warn("republished", "events", rep.Published, "gone", len(rep.Gone), "failed", len(rep.Failed))
	}
	ps.republished += rep.Published
	return rep, err
}

// sighting is what a look for the mails of lost events has shown.
type sighting struct {
	patience bool            // that of republish
	seen     map[string]bool // by event key: the server has the mail, for all that is known
	unsure   bool            // that of Republication
}

// mayReturn notes that mails which are not there are not known to be gone.
func (l *sighting) mayReturn(places ...db.EventPlace) {
	l.unsure = true
	for _, place := range places {
		l.seen[place.EventKey] = true
	}
}

// republishFolders goes through folders, and notes which events have a mail there. The
// error ends the work; a folder that fails alone has its mails, for all that is known.
func (ps *pass) republishFolders(ctx context.Context, folders []string, places map[string][]db.EventPlace, look *sighting) error {
	found, failed, err := ps.session.Resolve(folders, nil)
	if err != nil {
		return err
	}
	for _, status := range found {
		if err := ps.republishFolder(ctx, status, places[status.Name], look); err != nil {
			if ps.endsPass(ctx, err) || !ps.session.Alive() {
				return fmt.Errorf("folder %q: %w", status.Name, err)
			}
			failed[status.Name] = err
		}
	}
	for folder, err := range failed {
		if _, code := Classify(err); code == "folder_missing" {
			if look.patience {
				look.mayReturn(places[folder]...)
			}
			continue // else its mail is gone with it
		}
		_ = ps.folderFailed(folder, err)
		for _, place := range places[folder] {
			look.seen[place.EventKey] = true
		}
	}
	return nil
}

// republishFolder publishes those again of a folder that no other folder gave, and
// notes which the server has.
func (ps *pass) republishFolder(ctx context.Context, status imapsession.FolderStatus, places []db.EventPlace, look *sighting) error {
	f, err := ps.open(ctx, status, 0)
	if err == nil && f.empty {
		err = errEmpty
	}
	if err != nil {
		return err
	}
	defer f.keepState()
	var uids []uint32
	byUID := map[uint32]db.EventPlace{}
	anew := f.empty || f.cursor.ResyncSince != nil
	disorder := f.cursor.disorder(f.exists, f.runner.now())
	for _, place := range places {
		switch {
		case ps.again[place.EventKey]:
		case place.UIDValidity == f.cursor.UIDValidity && !f.empty:
			uids, byUID[place.UID] = append(uids, place.UID), place
		case anew: // its UID now is not known, which is no evidence
			look.mayReturn(place)
		case f.cursor.Unstable:
			look.seen[place.EventKey] = true
		}
	}
	slices.Sort(uids)
	uids = slices.Compact(uids)
	absent := 0
	for batch := range slices.Chunk(uids, batchUIDs) {
		listed, err := f.session.FetchSizes(batch)
		if err != nil {
			return err
		}
		var messages []*message
		for _, uid := range batch {
			l, ok := listed[uid]
			place := byUID[uid]
			if !ok {
				if absent++; disorder {
					look.mayReturn(place)
				}
				continue
			}
			look.seen[place.EventKey] = true
			m := newMessage(uid)
			m.again, m.released = place.EventKey, place.ByHeader && l.Size <= f.maxMessageBytes()
			messages = append(messages, m)
		}
		if len(messages) > 0 {
			if err = f.handleApart(ctx, messages, len(messages), len(messages)); err == nil {
				err = f.handleFailed(ctx)
			}
			err = errors.Join(err, f.withheld(), f.clearInFlight(ctx))
		}
		if err != nil || ps.mustEnd() {
			return err
		}
	}
	if absent > 0 {
		_, err := f.complete() // else what is not listed is not known to be gone
		return err
	}
	return nil
}

// commitAgain waits until the broker has acknowledged what was published again, and
// records where it stands now. A mail that failed stays lost: the ledger goes on
// calling it published, and keeps its key.
func (f *folderPass) commitAgain(ctx context.Context, c *chunk) error {
	now := f.runner.now()
	var events []db.PublishedEvent
	for _, m := range c.messages {
		seq, err := m.acknowledged(ctx)
		if err != nil {
			return err
		}
		if m.ack != nil && m.failure == nil {
			events = append(events, db.PublishedEvent{EventKey: m.again, StreamSeq: seq})
		}
		if m.failure != nil {
			f.log.Warn("mail_not_republished", "uid", m.UID, "event_key", m.again, "stage", m.failure.stage, "code", m.failure.code, "error", m.failure.err.Error())
		}
	}
	if len(events) > 0 {
		if err := f.runner.Store.PublishAgain(ctx, f.fence, events, c.bytes, now); err != nil {
			return err
		}
	}
	for _, e := range events {
		f.again[e.EventKey] = true
	}
	for _, m := range c.messages {
		m.done = true
	}
	return nil
}
