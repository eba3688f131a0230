package sync

import (
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapsync/db"
)

// reIdle is how often IDLE is begun anew: servers may end one of 30 minutes
// (RFC 2177), and what stands between forgets a silent connection far sooner.
const reIdle = 9 * time.Minute

// unilateral is what the server says unasked of the folder that is open.
type unilateral struct {
	messages atomic.Uint32
	arrived  chan struct{} // capacity 1: there are more messages than before
}

func newUnilateral() *unilateral { return &unilateral{arrived: make(chan struct{}, 1)} }

// handler takes note of EXISTS and EXPUNGE. An EXISTS that tells nothing new,
// as some servers send with every IDLE, is no arrival.
func (u *unilateral) handler() *imapclient.UnilateralDataHandler {
	return &imapclient.UnilateralDataHandler{
		Mailbox: func(data *imapclient.UnilateralDataMailbox) {
			if data.NumMessages == nil || u.messages.Swap(*data.NumMessages) >= *data.NumMessages {
				return
			}
			select {
			case u.arrived <- struct{}{}:
			default:
			}
		},
		Expunge: func(uint32) {
			if n := u.messages.Load(); n > 0 {
				u.messages.Store(n - 1) // only go-imap's reader writes while a command is not under way
			}
		},
	}
}

// canIdle reports whether the server offers IDLE.
func (s *Session) canIdle() bool { return s.caps.Has(imap.CapIdle) }

// idle opens a folder and begins IDLE on it. missed says that messages came
// since the folder was last searched, when its UIDNEXT was searched: then there
// is no IDLE, and nothing to end.
func (s *Session) idle(folder string, searched uint32) (cmd *imapclient.IdleCommand, missed bool, err error) {
	select {
	case <-s.unasked.arrived:
	default:
	}
	data, err := s.examine(folder)
	if err != nil {
		return nil, false, err
	}
	s.unasked.messages.Store(data.NumMessages)
	if searched != 0 && uint32(data.UIDNext) > searched {
		return nil, true, nil
	}
	cmd, err = s.client.Idle()
	if err != nil {
		return nil, false, fmt.Errorf("idle: %w", s.cause(err))
	}
	return cmd, false, nil
}

// endIdle ends IDLE and waits for the server to say so.
func (s *Session) endIdle(cmd *imapclient.IdleCommand) error {
	if err := cmd.Close(); err != nil {
		return fmt.Errorf("idle: %w", s.cause(err))
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("idle: %w", s.cause(err))
	}
	s.answered = time.Now()
	return nil
}

// idleFolder is the folder to sit in: INBOX, or the first one named when a
// provider does not want that.
func idleFolder(p *db.Provider) string {
	names, patterns := splitFilter(p.Folders)
	if len(patterns) > 0 || slices.Contains(names, inbox) {
		return inbox
	}
	return names[0]
}
