package sync

import (
	"cmp"
	"errors"
	"slices"
)

// askSizes asks for sizes and dates. What the server leaves out is asked for a
// second time, by itself; what is gone then was expunged. Messages whose size is
// known are left alone.
func (f *folderPass) askSizes(messages []*message) error {
	if !slices.ContainsFunc(messages, func(m *message) bool { return !m.looked }) {
		return nil
	}
	uids := make([]uint32, len(messages))
	for i, m := range messages {
		uids[i] = m.UID
	}
	found, err := f.session.FetchSizes(uids)
	if err != nil {
		return err
	}
	var missing []*message
	for _, m := range messages {
		listed, ok := found[m.UID]
		if !ok {
			again, err := f.session.FetchSizes([]uint32{m.UID})
			if err != nil {
				return err
			}
			listed, ok = again[m.UID]
		}
		if !ok {
			missing = append(missing, m)
			continue
		}
		m.Listed = listed
		m.headerOnly = m.released || m.Size > f.maxMessageBytes()
	}
	if err := f.findExpunged(missing); err != nil {
		return err
	}
	for _, m := range messages {
		m.looked = true
	}
	return nil
}

// findExpunged searches once more for messages that the server did not give, and
// parts those that are gone from those that it still lists.
func (f *folderPass) findExpunged(missing []*message) error {
	if len(missing) == 0 {
		return nil
	}
	compare := func(a, b *message) int { return cmp.Compare(a.UID, b.UID) }
	still, err := f.session.Search(slices.MinFunc(missing, compare).UID, slices.MaxFunc(missing, compare).UID, nil)
	if err != nil {
		return err
	}
	for _, m := range missing {
		if slices.Contains(still, m.UID) {
			m.fail("fetch", "not_returned", errors.New("the server lists the message and does not give it"))
		} else {
			m.expunged = true
		}
	}
	return nil
}

// withinQuota leaves of messages those that the provider's bytes of the day
// take, the last of them whole.
func (f *folderPass) withinQuota(messages []*message) []*message {
	quota := f.provider.MaxBytesPerDay
	if quota == 0 {
		return messages
	}
	left := quota - f.provider.BytesToday(f.started) - f.bytes.Load()
	for i, m := range messages {
		if left <= 0 {
			return messages[:i]
		}
		left -= m.Size
	}
	return messages
}
