package imapsession

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// maxRangesPerCommand keeps command lines short enough for every server.
const maxRangesPerCommand = 200

// Listed is what the server says of a message before its body is asked for.
type Listed struct {
	UID          uint32
	Size         int64     // RFC822.SIZE in bytes; a hint, some servers are off. 0: the server said nothing that can be believed
	InternalDate time.Time // zero when the server did not say
}

// Examined is what the server says of a folder when it is opened. A zero means that it
// did not say.
type Examined struct {
	UIDValidity uint64
	UIDNext     uint32
	Messages    uint32
}

// Examine opens a folder read-only: \Seen is not ours to set.
func (s *Session) Examine(name string) (Examined, error) {
	data, err := s.startExamine(name)()
	if err != nil {
		return s.examineAsListed(name, err)
	}
	return data, nil
}

// examineAsListed opens a folder whose name the server did not know as it stands, if it
// lists one that is meant.
func (s *Session) examineAsListed(name string, refusal error) (Examined, error) {
	if s.listed || !s.Alive() || !unknownName(refusal) {
		return Examined{}, refusal
	}
	folders, _, err := s.list()
	if err != nil {
		return Examined{}, refusal
	}
	f, ok := findFolder(folders, name)
	if !ok {
		return Examined{}, refusal
	}
	return s.startExamine(f.Name)()
}

// startExamine sends EXAMINE; what it returns waits for the answer.
func (s *Session) startExamine(name string) func() (Examined, error) {
	s.prefetched = nil
	cmd := s.client.Select(name, &imap.SelectOptions{ReadOnly: true})
	return func() (Examined, error) {
		data, err := cmd.Wait()
		if err != nil {
			return Examined{}, refusedError(fmt.Errorf("examine: %w", s.cause(err)))
		}
		// The wire gives UIDVALIDITY the name of a number that is wide enough.
		return Examined{data.HighestModSeq, uint32(data.UIDNext), data.NumMessages}, nil
	}
}

// prefetched is what was asked for together with EXAMINE.
type prefetched struct {
	first    uint32 // of the search, which went up to MaxUID
	searched bool   // uids is not taken yet
	uids     []uint32
	sizes    map[uint32]Listed
}

// ExaminePrefetch opens a folder, searches it from first on and asks for the sizes up
// to last, all in one flight. What comes of the search and the sizes is taken by the
// next Search and by FetchSizes; when they are refused, those ask again.
func (s *Session) ExaminePrefetch(name string, first, last uint32) (Examined, error) {
	examined := s.startExamine(name)
	searching := s.client.UIDSearch(uidRange(first, MaxUID), nil)
	sized := s.startSizes(imap.UIDSet{{Start: imap.UID(first), Stop: imap.UID(last)}})
	data, err := examined()
	sizes := map[uint32]Listed{} // first: their answers may come before that of the search
	sizeErr := sized(sizes)
	found, searchErr := searching.Wait()
	if err != nil {
		return s.examineAsListed(name, err)
	}
	if searchErr == nil && sizeErr == nil {
		s.prefetched = &prefetched{first, true, between(found.AllUIDs(), first, MaxUID), sizes}
	}
	return data, nil
}

// FetchSizes asks for size and date of messages. Those that the server leaves
// out are not in the answer.
func (s *Session) FetchSizes(uids []uint32) (map[uint32]Listed, error) {
	found := make(map[uint32]Listed, len(uids))
	if s.prefetched != nil {
		uids = slices.DeleteFunc(slices.Clone(uids), func(uid uint32) bool {
			l, ok := s.prefetched.sizes[uid]
			if ok {
				found[uid] = l
				delete(s.prefetched.sizes, uid)
			}
			return ok
		})
	}
	for window := range windows(uids) {
		if err := s.startSizes(window)(found); err != nil {
			return nil, fmt.Errorf("fetch sizes: %w", s.cause(err))
		}
	}
	return found, nil
}

// startSizes sends a FETCH of sizes; what it returns reads the answers, as far as
// they are about messages that were asked for.
func (s *Session) startSizes(asked imap.UIDSet) func(found map[uint32]Listed) error {
	cmd := s.client.Fetch(asked, &imap.FetchOptions{UID: true, RFC822Size: true, InternalDate: true})
	return func(found map[uint32]Listed) error {
		for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
			var l Listed
			for item := msg.Next(); item != nil; item = msg.Next() {
				switch item := item.(type) {
				case imapclient.FetchItemDataUID:
					l.UID = uint32(item.UID)
				case imapclient.FetchItemDataRFC822Size:
					l.Size = item.Size
				case imapclient.FetchItemDataInternalDate:
					l.InternalDate = item.Time.UTC()
				}
			}
			if asked.Contains(imap.UID(l.UID)) {
				found[l.UID] = l
			}
		}
		return cmd.Close()
	}
}

// errBodyTooLarge says that a server sent more than it announced.
var errBodyTooLarge = errors.New("body is larger than the limit")

// FetchBodies reads whole messages, or their headers alone, one FETCH for all
// of them, and gives each to use as soon as it is complete. A message that the
// server leaves out is never given, one that it says has no body (NIL) is nil, and one
// that has none is empty: an ill store says any of these. The error is about the connection: what
// was given before it is whole. All of them together may have limit bytes: a
// server that lies about sizes must not fill the memory. Where use wants no more of
// them, the connection is given up, for the server goes on sending.
func (s *Session) FetchBodies(uids []uint32, headerOnly bool, limit int64, use func(uid uint32, raw []byte) (more bool)) error {
	if len(uids) == 0 {
		return nil // a FETCH of nothing is no command
	}
	section := &imap.FetchItemBodySection{Peek: true}
	if headerOnly {
		section.Specifier = imap.PartSpecifierHeader
	}
	cmd := s.client.Fetch(uidSet(uids), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}})
	given := 0
	left := limit // of what several may have together
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		uid, raw, answered, err := s.readBody(msg, left)
		if err != nil {
			return s.abandon(cmd, fmt.Errorf("fetch uid %d: %w", uid, err))
		}
		left = max(0, left-int64(len(raw)))
		if !answered || !slices.Contains(uids, uid) {
			continue
		}
		if given++; !use(uid, raw) && given < len(uids) {
			_ = s.abandon(cmd, nil)
			return nil
		}
	}
	if err := cmd.Close(); err != nil {
		return fmt.Errorf("fetch: %w", s.cause(err))
	}
	return nil
}

// abandon gives the connection up in the middle of a FETCH. cmd.Close would read
// the body beside the client's own reader, so that is waited for instead.
func (s *Session) abandon(cmd *imapclient.FetchCommand, err error) error {
	_ = s.wire.Close()
	tooLarge := errors.Is(err, errBodyTooLarge)
	if tooLarge || err == nil {
		go func() { _ = cmd.Close() }() // takes what go-imap's reader has already
	}
	select {
	case <-s.client.Closed():
	case <-time.After(logoutPatience):
	}
	if tooLarge || err == nil {
		return err
	}
	return fmt.Errorf("fetch: %w", s.cause(err))
}

// readBody reads one FETCH answer. raw is nil when the server says that there is no
// body.
func (s *Session) readBody(msg *imapclient.FetchMessageData, limit int64) (uid uint32, raw []byte, answered bool, err error) {
	for item := msg.Next(); item != nil; item = msg.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			uid = uint32(item.UID)
		case imapclient.FetchItemDataBodySection:
			if answered = true; item.Literal == nil {
				continue
			}
			size := item.Literal.Size()
			if size > limit {
				_ = s.wire.Close()                       // what is read now fails at once,
				_, _ = io.Copy(io.Discard, item.Literal) // and the client's reader waits no longer
				return uid, nil, true, failf("over_limit", "%w: %d bytes, limit %d", errBodyTooLarge, size, limit)
			}
			raw = s.buffers.Get(size)
			if _, err := io.ReadFull(item.Literal, raw); err != nil {
				return uid, nil, true, fmt.Errorf("body broke off: %w", err)
			}
		}
	}
	return uid, raw, answered, nil
}

// windows parts UIDs so that each part is named by few ranges: new mail is mostly
// numbered without gaps, and then all of it is asked for at once.
func windows(uids []uint32) iter.Seq[imap.UIDSet] {
	return slices.Chunk(uidSet(uids), maxRangesPerCommand)
}

func uidSet(uids []uint32) imap.UIDSet {
	var set imap.UIDSet
	for _, uid := range uids {
		set.AddNum(imap.UID(uid))
	}
	return set
}

// pooledBytes is the size from which a message's memory is used again rather
// than left to the garbage collector, which lets it pile up.
const pooledBytes = 1 << 20

// Buffers keeps the memory of large messages for the next ones. It never holds
// more than Max bytes.
type Buffers struct {
	mu   sync.Mutex
	free [][]byte
	held int64
	Max  int64
}

// Get returns size bytes, not zeroed.
func (b *Buffers) Get(size int64) []byte {
	if b == nil || size < pooledBytes {
		return make([]byte, size)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, buf := range b.free {
		if int64(cap(buf)) >= size && int64(cap(buf)) <= 4*size {
			b.free = append(b.free[:i], b.free[i+1:]...)
			b.held -= int64(cap(buf))
			return buf[:size]
		}
	}
	// None fits: what is kept would only stand beside the new one.
	b.free, b.held = nil, 0
	return make([]byte, size, size+size/8)
}

// Put takes back what nobody refers to any more.
func (b *Buffers) Put(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if cap(buf) < pooledBytes || b.held+int64(cap(buf)) > b.Max {
		return
	}
	b.free = append(b.free, buf)
	b.held += int64(cap(buf))
}
