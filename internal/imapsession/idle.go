package imapsession

import (
	"fmt"
	"slices"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// ReIdle is how often IDLE is begun anew: servers may end one of 30 minutes
// (RFC 2177), and what stands between forgets a silent connection far sooner.
const ReIdle = 9 * time.Minute

// unasked takes note of EXISTS and EXPUNGE. An EXISTS that tells nothing new, as some
// servers send with every IDLE, is no arrival.
func (s *Session) unasked() *imapclient.UnilateralDataHandler {
	return &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages == nil || s.messages.Swap(*data.NumMessages) >= *data.NumMessages {
				return
			}
			select {
			case s.arrived <- struct{}{}:
			default:
			}
		},
		Expunge: func(uint32) {
			if n := s.messages.Load(); n > 0 {
				s.messages.Store(n - 1) // only go-imap's reader writes while a command is not under way
			}
		},
	}
}

// CanIdle reports whether the server offers IDLE.
func (s *Session) CanIdle() bool { return s.caps.Has(imap.CapIdle) }

// Idle opens a folder and begins IDLE on it. missed says that messages came
// since the folder was last searched, when its UIDNEXT was searched: then there
// is no IDLE, and nothing to end.
func (s *Session) Idle(folder string, searched uint32) (missed bool, err error) {
	select {
	case <-s.arrived:
	default:
	}
	data, err := s.Examine(folder)
	if err != nil {
		return false, err
	}
	s.messages.Store(data.Messages)
	if searched != 0 && data.UIDNext > searched {
		return true, nil
	}
	if s.idling, err = s.client.Idle(); err != nil {
		return false, fmt.Errorf("idle: %w", s.cause(err))
	}
	return false, nil
}

// Arrived is written to when the folder that is open has more messages.
func (s *Session) Arrived() <-chan struct{} { return s.arrived }

// Closed is closed when the connection has ended.
func (s *Session) Closed() <-chan struct{} { return s.client.Closed() }

// EndIdle ends IDLE and waits for the server to say so.
func (s *Session) EndIdle() error {
	err := s.idling.Close()
	if err == nil {
		err = s.idling.Wait()
	}
	s.idling = nil
	if err != nil {
		return fmt.Errorf("idle: %w", s.cause(err))
	}
	s.answered = s.now()
	return nil
}

// IdleFolder is the folder of a filter to sit in: INBOX, or the first one named when it
// has no INBOX. Found is what the filter was resolved to.
func IdleFolder(filter []string, found []FolderStatus) string {
	names, patterns := splitFilter(filter)
	if len(patterns) > 0 || slices.Contains(names, inbox) {
		return inbox
	}
	for _, st := range found {
		if st.Filter == names[0] {
			return st.Name
		}
	}
	return names[0]
}
