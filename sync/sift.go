package sync

import (
	"bytes"
	"context"
	"slices"
	"time"

	"imapsync/db"
	"imapsync/internal/imapsession"
	"imapsync/parse"
	"imapsync/publish"
)

// standing is what a message is by its header.
type standing int

const (
	unknown standing = iota // to be downloaded, and decided by its event key
	known                   // published, or a duplicate, under another numbering
	aside                   // in quarantine under another numbering
	notOurs                 // received before what is ours to publish
	held                    // unknown, and older than the folder's first look
	later                   // so is it, and it depends on what becomes of others before it
)

// sifted is a message of which the header alone was read.
type sifted struct {
	imapsession.Listed
	publish.Identity

	parsedID string    // the Message-ID as a row has it
	date     time.Time // by its header; zero when that says nothing, or lies in the future
	read     bool
	blank    bool // its header says nothing, and may have been withheld
	verdict  standing
	row      *db.Trace // that it has in the ledger, or stands for in the quarantine
	due      *db.AsideQuarantine
}

// sieve tells messages by their headers against what the ledger has of the folder
// under other numberings, one to one: a row stands for one message.
type sieve struct {
	*folderPass

	besides  uint64    // the numbering whose rows stand for messages of their own
	since    time.Time // what was received before, and is unknown, is not ours
	ageless  bool      // of whatever age
	exact    bool      // rows must be of the second, too, in which the server received the message
	late     bool      // so must they: the messages came after the folder was numbered anew
	messages []*sifted
	groups   map[likeness]*group
	waiting  []db.AsideQuarantine
	unnamed  []db.Trace // where exact: rows of mail without Message-ID
}

func (f *folderPass) newSieve(ctx context.Context, since time.Time) (*sieve, error) {
	return f.newSieveBeside(ctx, since, f.cursor.UIDValidity)
}

func (f *folderPass) newSieveBeside(ctx context.Context, since time.Time, uidValidity uint64) (*sieve, error) {
	s := &sieve{folderPass: f, besides: uidValidity, since: since, groups: map[likeness]*group{}}
	var err error
	s.waiting, err = f.runner.Store.AsideQuarantine(ctx, f.ref, f.status.Name, uidValidity)
	return s, err
}

// headerWindow is how many headers one FETCH asks for.
const headerWindow = 100

// add looks at messages, and returns them in their order.
func (s *sieve) add(ctx context.Context, uids []uint32) ([]*sifted, error) {
	list, err := s.headers(ctx, uids)
	if err != nil {
		return nil, err
	}
	if err := s.trace(ctx, list, s.status.Name); err != nil {
		return nil, err
	}
	for _, m := range list {
		if m.verdict == unknown && !(m.read && s.inQuarantine(m)) {
			m.verdict = s.age(m)
		}
	}
	s.messages = append(s.messages, list...)
	return list, nil
}

// underWay is how long a mail may take from its sender: one that was written so long
// before the first look is not old.
const underWay = time.Hour

// age tells of an unknown message whether it is ours to publish. Received is the later
// of what the server says and what the mail says: one of them may be made up.
func (s *sieve) age(m *sifted) standing {
	received := m.InternalDate
	if m.date.After(received) {
		received = m.date
	}
	written := m.date
	if written.IsZero() {
		written = m.InternalDate
	}
	switch {
	case !m.read, m.blank, s.ageless, received.Before(beginning()), s.cursor.OldLeft == everything: // 1970 is what servers say that do not know
		return unknown
	case s.cursor.wasEmpty(): // mail may have been moved there: none is left alone by its date
		if !received.Before(s.since.Add(-underWay)) {
			return unknown
		}
	case received.Before(s.since.Truncate(time.Second)):
		return notOurs
	case !written.Before(s.firstLook().Add(-underWay)):
		return unknown
	}
	switch {
	case s.cursor.OldLeft <= 0:
		return held
	case s.cursor.oldLeft() <= 0:
		return later
	}
	s.cursor.letOldIn(m.UID)
	return unknown
}

// headers reads the sizes, dates and headers of messages. Where one of them costs the
// connection, or is refused, all are read as a whole, and that one is found out.
func (s *sieve) headers(ctx context.Context, uids []uint32) ([]*sifted, error) {
	list := make([]*sifted, len(uids))
	byUID := make(map[uint32]*sifted, len(uids))
	for i, uid := range uids {
		list[i] = &sifted{Listed: imapsession.Listed{UID: uid}}
		byUID[uid] = list[i]
	}
	sizes, err := s.session.FetchSizes(uids)
	if err == nil {
		for uid, l := range sizes {
			byUID[uid].Listed = l
		}
		err = s.session.FetchBodies(uids, true, maxHeaderBytes, func(uid uint32, raw []byte) bool {
			if m := byUID[uid]; len(raw) > 0 && !m.read {
				m.read, m.blank = s.glance(m, raw), len(bytes.TrimSpace(raw)) == 0
			}
			return true
		})
	}
	if err != nil && s.atFault(ctx, err) {
		s.log.Warn("batch_failed", "messages", len(uids), "error", err.Error())
		if err = nil; !s.session.Alive() {
			err = s.reopen(ctx)
		}
	}
	return list, err
}

// glance reads a header. One that the parser panics on is not read: handled as a
// whole, it is that message's failure.
func (s *sieve) glance(m *sifted, raw []byte) (ok bool) {
	defer func() { ok = recover() == nil }()
	m.Identity = publish.IdentifyHeader(raw)
	header := s.runner.parse(raw, parse.Limits{})
	if m.parsedID = header.MessageID; header.Date.Before(s.runner.now()) {
		m.date = header.Date
	}
	return true
}

// settle commits what needs no download: rows go along to the new UIDs, and what is
// held, or is late and not ours, is noted. What is due in the quarantine is tried by this
// pass.
func (s *sieve) settle(ctx context.Context) (passed uint32, err error) {
	now := s.runner.now()
	step := db.Commit{At: now}
	var done []db.Message   // what the cursor is told
	var due []db.Quarantine // under their new UIDs
	for _, m := range s.messages {
		row := db.Message{
			UID: m.UID, EventKey: m.HeaderKey, MessageID: db.Clean(m.MessageID), Fingerprint: m.HeaderPrint, Size: m.Size, ProcessedAt: now,
		}
		if !m.InternalDate.IsZero() {
			row.InternalDate = &m.InternalDate
		}
		switch {
		case m.verdict == known && s.exact: // its row would have to move at each pass
			continue
		case m.verdict == known, m.verdict == aside:
			if m.verdict == aside && m.due.Due(now) {
				due = append(due, m.due.At(s.cursor.UIDValidity, m.UID))
			}
			step.Moved = append(step.Moved, db.Move{UIDValidity: m.row.UIDValidity, UID: m.row.UID, To: m.UID})
			done = append(done, db.Message{UID: m.UID})
			continue
		case m.verdict == held:
			row.Outcome = db.Held
		case m.verdict == notOurs && s.late:
			row.Outcome, row.Reason = db.Skipped, "before_first_look"
		case m.verdict == notOurs:
			passed = max(passed, m.UID)
			continue
		default:
			continue
		}
		step.Messages, done = append(step.Messages, row), append(done, row)
	}
	if len(done) == 0 {
		return passed, nil
	}
	next := s.cursor.committed(done, nil, now)
	step.State = &next.FolderState
	counts, err := s.runner.Store.Commit(ctx, s.fence, step)
	if err != nil {
		return passed, err
	}
	s.cursor = next
	s.counts.Plus(counts)
	s.retry(due)
	s.log.Info("renumbered", "known", len(step.Moved), "held_or_skipped", len(step.Messages), "unknown", len(s.unknown()))
	return passed, nil
}

// unknown are the UIDs to download.
func (s *sieve) unknown() []uint32 { return s.those(unknown) }

func (s *sieve) those(verdict standing) (uids []uint32) {
	for _, m := range s.messages {
		if m.verdict == verdict {
			uids = append(uids, m.UID)
		}
	}
	return uids
}

// A sieve takes so many messages, for so long, before what it has found is committed.
const (
	maxSifted    = 10_000
	siftPatience = time.Minute
)

// sift goes through messages by their headers, in their order, until so many are to be
// downloaded, or what becomes of those is to be known first. It commits what need not be,
// and returns the UIDs of the others, how many messages it got through, and the highest
// UID that is left alone without a row. late says that the messages came after the folder
// was numbered anew.
func (f *folderPass) sift(ctx context.Context, uids []uint32, since time.Time, most int, late bool) (left []uint32, through int, passed uint32, err error) {
	s, err := f.newSieve(ctx, since)
	if err != nil {
		return nil, 0, 0, err
	}
	s.late = late
	began := f.runner.now()
	for through < len(uids) && len(s.unknown()) < most && through < maxSifted && f.runner.since(began) < siftPatience && !f.mustEnd() {
		window := uids[through:min(len(uids), through+headerWindow)]
		list, err := s.add(ctx, window)
		if err != nil {
			return nil, 0, 0, err
		}
		if wait := slices.IndexFunc(list, func(m *sifted) bool { return m.verdict == later }); wait >= 0 {
			through += wait
			break
		}
		through += len(window)
	}
	passed, err = s.settle(ctx)
	return s.unknown(), through, passed, err
}

// firstLook is when the folder was first read: since then its mail is ours, whatever
// was there before.
func (f *folderPass) firstLook() time.Time {
	if f.cursor.FirstLookAt != nil {
		return *f.cursor.FirstLookAt
	}
	return f.provider.CreatedAt
}

// reach is when mail was received that is ours to publish: since the folder's first
// look, or from where the provider's start reaches back to. What was received before
// the ledger's horizon and has no row was handled, and has left the ledger.
func (f *folderPass) reach() time.Time {
	since := f.firstLook()
	if day := f.startDay(); f.startsInThePast() && day.Before(since) {
		since = day
	}
	return f.withinLedger(since)
}

// withinLedger is a time, or the ledger's horizon where that is later: what was received
// before it and has no row was handled, and has left the ledger.
func (f *folderPass) withinLedger(since time.Time) time.Time {
	if horizon := f.cursor.HorizonAt; horizon != nil && horizon.After(since) {
		return *horizon
	}
	return since
}
