package imapsession

import (
	"errors"
	"fmt"
	"slices"

	"github.com/emersion/go-imap/v2"
)

func uidRange(first, last uint32) *imap.SearchCriteria {
	return &imap.SearchCriteria{UID: []imap.UIDSet{{{Start: imap.UID(first), Stop: imap.UID(last)}}}}
}

// MaxUID ends every range: `n:*` would return the last message when it is below n.
const MaxUID = 4294967295

// Search lists the UIDs from first to last that the selected folder has
// and that meet the criteria (nil for all). The order is the server's.
func (s *Session) Search(first, last uint32, criteria *imap.SearchCriteria) ([]uint32, error) {
	if first > last || first == 0 {
		return nil, nil
	}
	if a := s.prefetched; a != nil && a.searched && a.first == first && last == MaxUID && criteria == nil {
		a.searched = false // the next one wants to know what is there then
		return a.uids, nil
	}
	ask := uidRange(first, last)
	if criteria != nil {
		ask.And(criteria)
	}
	data, err := s.client.UIDSearch(ask, nil).Wait()
	if err != nil {
		err = s.cause(err)
		if _, refused := errors.AsType[*imap.Error](err); refused && criteria == nil && s.Alive() {
			return s.ListUIDs(first, last)
		}
		return nil, fmt.Errorf("search: %w", err)
	}
	return between(data.AllUIDs(), first, last), nil
}

// between leaves out what was not asked for.
func between(all []imap.UID, first, last uint32) (uids []uint32) {
	for _, uid := range all {
		if uint32(uid) >= first && uint32(uid) <= last {
			uids = append(uids, uint32(uid))
		}
	}
	return uids
}

// ListUIDs lists the UIDs from first to last that the selected folder has, ascending,
// by FETCH: where SEARCH is refused, or not to be believed.
func (s *Session) ListUIDs(first, last uint32) ([]uint32, error) {
	s.wire.KeepUIDs()
	err := s.client.Fetch(imap.UIDSet{{Start: imap.UID(first), Stop: imap.UID(last)}}, &imap.FetchOptions{UID: true}).Close()
	uids := s.wire.KeptUIDs()
	if err != nil {
		return nil, fmt.Errorf("list uids: %w", s.cause(err))
	}
	return slices.DeleteFunc(uids, func(uid uint32) bool { return uid < first || uid > last }), nil
}
