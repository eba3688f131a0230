package sync

import (
	"context"
	"slices"

	"imapsync/db"
)

// likeness is what two messages have in common that their headers do not tell apart.
type likeness struct {
	id, header string
	size       int64
	received   int64
}

// group is such messages, with the rows that fit them.
type group struct {
	likeness
	messages []*sifted
	rows     []*db.Trace
}

// trace finds the rows of messages in the ledger: those of a folder under other
// numberings, or all when it is empty.
func (s *sieve) trace(ctx context.Context, messages []*sifted, folder string) error {
	var ids []string
	for _, m := range messages {
		if m.telling(s.exact) {
			ids = append(ids, db.Clean(m.MessageID), db.Clean(m.parsedID))
		}
	}
	if len(ids) == 0 {
		return nil
	}
	slices.Sort(ids)
	ids = slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return id == "" })
	rows, err := s.runner.Store.Traces(ctx, s.ref, folder, s.besides, ids)
	if err != nil {
		return err
	}
	byID := map[string][]*db.Trace{}
	rows = append(rows, s.unnamed...)
	for i := range rows {
		byID[rows[i].MessageID] = append(byID[rows[i].MessageID], &rows[i])
	}
	for _, m := range messages {
		if !m.telling(s.exact) {
			continue
		}
		p := likeness{id: m.MessageID, header: m.HeaderPrint, size: m.Size}
		if s.exact || s.late {
			p.received = m.InternalDate.Unix()
		}
		g := s.groups[p]
		if g == nil {
			g = &group{likeness: p}
			s.groups[p] = g
			for id := range map[string]bool{db.Clean(m.MessageID): true, db.Clean(m.parsedID): true} {
				g.rows = append(g.rows, slices.DeleteFunc(slices.Clone(byID[id]), func(row *db.Trace) bool { return !s.fits(m, row) })...)
			}
		}
		g.messages = append(g.messages, m)
		s.match(g)
	}
	return nil
}

// telling reports whether a header says enough to know a message without its body.
func (m *sifted) telling(exact bool) bool {
	return m.read && (exact || m.MessageID != "" && m.Dated && m.Size > 0)
}

func (s *sieve) fits(m *sifted, row *db.Trace) bool {
	return (row.Fingerprint == m.HeaderPrint || row.Fingerprint == "" && m.V1Key != "" && row.EventKey == m.V1Key) &&
		(row.Size == m.Size || s.exact && row.Size*m.Size == 0) &&
		(!s.exact && !s.late || row.InternalDate == nil || row.InternalDate.Unix() == m.InternalDate.Unix())
}

// match gives each message of a group a row, if there are enough of them and they are
// all of one event: else only their bodies tell, and those of others of the group too that
// this pass finds later.
func (s *sieve) match(g *group) {
	enough := len(g.rows) >= len(g.messages) && !s.doubtful[g.likeness]
	for _, row := range g.rows {
		enough = enough && (s.exact || row.EventKey == g.rows[0].EventKey)
	}
	if !enough {
		if s.doubtful == nil {
			s.doubtful = map[likeness]bool{}
		}
		s.doubtful[g.likeness] = true
	}
	for i, m := range g.messages {
		switch {
		case enough:
			m.verdict, m.row = known, g.rows[i]
		case m.verdict == known:
			m.verdict, m.row = unknown, nil
		}
	}
}

// inQuarantine finds the entry of a message in the quarantine. What failed before
// anything was read of it is told by its size and the second in which the server
// received it; that is not enough to leave a message to a person.
func (s *sieve) inQuarantine(m *sifted) bool {
	at := slices.IndexFunc(s.waiting, func(q db.AsideQuarantine) bool {
		sameID := q.MessageID != "" && (q.MessageID == db.Clean(m.MessageID) || q.MessageID == db.Clean(m.parsedID)) &&
			(q.Fingerprint == "" || q.Fingerprint == m.HeaderPrint)
		sameTime := q.InternalDate != nil && q.InternalDate.Unix() == m.InternalDate.Unix()
		if s.exact && q.Size*m.Size == 0 { // else it has one more entry at each visit
			return sameTime && q.Tried() && (sameID || q.MessageID == "")
		}
		return q.Size == m.Size && m.Size > 0 && (sameID || q.MessageID == "" && sameTime && q.Tried())
	})
	if at < 0 {
		return false
	}
	q := s.waiting[at]
	s.waiting = slices.Delete(slices.Clone(s.waiting), at, at+1)
	m.verdict, m.due = aside, &q
	m.row = &db.Trace{UIDValidity: q.Numbering, UID: q.UID}
	return true
}
