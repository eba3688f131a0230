package sync

import (
	"context"
	"math"

	"imapsync/db"
	"imapsync/event"
)

// published is what has been published of a mailbox, as far as the messages of one
// chunk need to know it: by the ledger, or by the chunks on their way there.
type published struct {
	byKey map[string]*copyOf
	byID  map[string]*copyOf // the last one of a Message-ID
	sent  []*copyOf          // those on their way
}

// copyOf is one message that was published.
type copyOf struct {
	db.Known
	message *message // on its way to the ledger; nil when it is there
}

// lookUp finds out which messages of a chunk have been published. The same key is
// the same mail. The same Message-ID under another key is the sender's doing, and
// said in the event.
func (f *folderPass) lookUp(ctx context.Context, c *chunk) error {
	known, err := f.published(ctx, c)
	if err != nil {
		return err
	}
	var sent []*message
	for _, m := range c.messages {
		if !m.toPublish() {
			continue
		}
		key := m.summary.key
		twin, err := f.twin(ctx, known, m)
		if err != nil {
			return err
		}
		if twin != nil {
			if m.known, m.twin, m.leader = true, &twin.Known, twin.message; m.bodyOf != "" {
				sent = append(sent, m)
			}
			continue
		}
		id := m.summary.MessageID
		if before := known.byID[db.Clean(id)]; id != "" && before != nil && before.EventKey != m.summary.key {
			m.sameAs = event.ID(f.provider.Tenant, f.provider.ID, before.EventKey)
		}
		if m.sameAs != "" || m.summary.key != key {
			f.parse(m)
		}
		known.add(f.status.Name, m)
		sent = append(sent, m)
	}
	f.sent = sent
	return nil
}

// published asks the ledger about the messages of a chunk, and adds those of the
// chunk before it, which may not be there yet.
func (f *folderPass) published(ctx context.Context, c *chunk) (*published, error) {
	known := &published{byKey: map[string]*copyOf{}, byID: map[string]*copyOf{}}
	var keys, headerKeys, ids []string
	for _, m := range c.messages {
		if !m.toPublish() {
			continue
		}
		if keys = append(keys, m.summary.key); m.headerOnly {
			keys = append(keys, m.summary.sizedKey)
		} else {
			headerKeys = append(headerKeys, m.summary.headerKey, m.summary.sizedKey)
		}
		if m.summary.MessageID != "" {
			ids = append(ids, db.Clean(m.summary.MessageID))
		}
	}
	if len(keys) == 0 {
		return known, nil
	}
	rows, err := f.runner.Store.KnownMessages(ctx, f.ref, keys, headerKeys, ids)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		found := &copyOf{Known: row}
		known.byKey[row.EventKey] = found
		if row.Latest {
			known.byID[row.MessageID] = found
		}
	}
	for _, m := range f.sent {
		known.add(f.status.Name, m)
	}
	return known, nil
}

// add notes that a message is on its way.
func (k *published) add(folder string, m *message) {
	if m.bodyOf != "" {
		if header := k.byKey[m.bodyOf]; header != nil {
			header.BodyKey = m.summary.key
		}
		return
	}
	found := &copyOf{message: m, Known: db.Known{
		Folder: folder, UID: m.UID, EventKey: m.summary.key, MessageID: m.summary.MessageID, Size: m.Size,
		ByHeader: m.byHeader(),
	}}
	k.byKey[m.summary.key] = found
	k.byID[db.Clean(m.summary.MessageID)] = found
	k.sent = append(k.sent, found)
}

// twin returns what a message is another copy of, nil when it is new. Where of one
// of the two the header alone was read, that and the size must do.
func (f *folderPass) twin(ctx context.Context, known *published, m *message) (*copyOf, error) {
	if m.again != "" {
		return nil, nil
	}
	same, sized := known.byKey[m.summary.key], m.summary.sizedKey
	if same != nil && m.headerOnly && !m.mayBe(same.Size) { // two mails of one header
		m.summary.key, m.summary.headerKey = sized, sized
		same = known.byKey[sized]
	}
	if same != nil {
		return same, nil
	}
	if m.headerOnly {
		return f.twinByHeader(ctx, known, m)
	}
	for _, key := range []string{m.summary.headerKey, sized} {
		header := known.byKey[key]
		switch {
		case header == nil || !header.ByHeader:
		case header.BodyKey == m.summary.key:
			return header, nil
		case header.BodyKey == "" && m.mayBe(header.Size):
			header.BodyKey, m.bodyOf = m.summary.key, header.EventKey
			return header, nil
		}
	}
	return nil, nil
}

// twinByHeader finds the mail, its body read, that a message is the header of.
func (f *folderPass) twinByHeader(ctx context.Context, known *published, m *message) (*copyOf, error) {
	for _, sent := range known.sent {
		body := sent.message
		if !body.byHeader() && body.summary.MessageID == m.summary.MessageID && body.summary.HeaderPrint == m.summary.HeaderPrint &&
			m.mayBe(body.Size) {
			return sent, nil
		}
	}
	most := m.spare(m.Size)
	if m.Size == 0 && m.summary.Telling() {
		most = math.MaxInt64
	}
	found, err := f.runner.Store.KnownBody(ctx, f.ref, db.Body{
		MessageID: db.Clean(m.summary.MessageID), Fingerprint: m.summary.HeaderPrint,
		Least: m.Size - most, Most: m.Size + most,
	})
	if found == nil || err != nil {
		return nil, err
	}
	return &copyOf{Known: *found}, nil
}

// mayBe reports whether a message may be one of that size, the headers being the
// same. 0 is a size that the server did not say.
func (m *message) mayBe(size int64) bool {
	if (size == 0 || m.Size == 0) && m.summary.Telling() {
		return true
	}
	return max(m.Size-size, size-m.Size) <= m.spare(max(m.Size, size))
}

// spare is by how much two servers may differ in what they call a mail's size: a
// tenth, or 64 KiB. Where the header does not say which mail it is, they must agree.
func (m *message) spare(size int64) int64 {
	if !m.summary.Telling() {
		return 0
	}
	return max(size/10, 64<<10)
}
