package imapserver

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Message is one mail. Its fields are fixed once it was appended, but for Seen
// and hidden.
type Message struct {
	UID    uint32
	Raw    []byte
	Date   time.Time
	Seen   bool
	hidden bool
}

// Mailbox is a folder.
type Mailbox struct {
	Name  string   // as it travels: modified UTF-7
	Attrs []string // \Sent, \Noselect, …

	srv         *Server
	mu          sync.Mutex
	messages    []*Message
	uidNext     uint32
	uidValidity uint64
	empty       bool // it shows nothing,
	forgets     bool // and UIDNEXT is 1
	late        bool // what is added is not shown
	restless    bool // it is numbered anew whenever it is looked at
}

// Mailbox returns the folder of that name, made when there is none.
func (s *Server) Mailbox(name string) *Mailbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m := s.find(name); m != nil {
		return m
	}
	m := &Mailbox{Name: name, srv: s, uidNext: 1, uidValidity: 1_700_000_000}
	s.mailboxes = append(s.mailboxes, m)
	return m
}

// find looks a folder up; INBOX is the same in any case. Callers hold mu.
func (s *Server) find(name string) *Mailbox {
	for _, m := range s.mailboxes {
		if m.Name == name || strings.EqualFold(name, "INBOX") && strings.EqualFold(m.Name, "INBOX") {
			return m
		}
	}
	return nil
}

// RemoveMailbox deletes a folder.
func (s *Server) RemoveMailbox(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mailboxes = slices.DeleteFunc(s.mailboxes, func(m *Mailbox) bool { return m.Name == name })
}

// Append adds a mail that arrived now, and returns its UID.
func (m *Mailbox) Append(raw string) uint32 {
	return m.add(&Message{Raw: []byte(raw), Date: time.Now().Truncate(time.Second)})
}

// AppendAt adds a mail that arrived at date.
func (m *Mailbox) AppendAt(raw string, date time.Time) uint32 {
	return m.add(&Message{Raw: []byte(raw), Date: date})
}

// AppendHidden gives a mail its UID without showing it until Show: a server that
// commits out of order.
func (m *Mailbox) AppendHidden(raw string) uint32 {
	return m.add(&Message{Raw: []byte(raw), Date: time.Now().Truncate(time.Second), hidden: true})
}

func (m *Mailbox) add(msg *Message) uint32 {
	m.mu.Lock()
	msg.UID = m.uidNext
	if m.uidNext++; m.uidNext == 0 {
		m.uidNext = 1<<32 - 1
	}
	msg.hidden = msg.hidden || m.late
	m.messages = append(m.messages, msg)
	m.mu.Unlock()
	m.srv.notify()
	return msg.UID
}

// Show shows what AppendHidden hid.
func (m *Mailbox) Show() {
	m.mu.Lock()
	for _, msg := range m.messages {
		msg.hidden = false
	}
	m.mu.Unlock()
	m.srv.notify()
}

// Expunge removes mails by UID; none removes all.
func (m *Mailbox) Expunge(uids ...uint32) {
	m.mu.Lock()
	m.messages = slices.DeleteFunc(m.messages, func(msg *Message) bool {
		return len(uids) == 0 || slices.Contains(uids, msg.UID)
	})
	m.mu.Unlock()
	m.srv.notify()
}

// SetEmpty has a folder show no message, as one whose store is not mounted does. With
// forgets it says UIDNEXT 1 as well.
func (m *Mailbox) SetEmpty(empty, forgets bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.empty, m.forgets = empty, forgets
}

// SetLate has what is added from then on hidden until Show.
func (m *Mailbox) SetLate(late bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.late = late
}

// SetRestless has each STATUS and EXAMINE number the folder anew, as GNU Mailutils
// does with a mailbox that it cannot write.
func (m *Mailbox) SetRestless(restless bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.restless = restless
}

// lookedAt renumbers a folder that is restless.
func (m *Mailbox) lookedAt() {
	m.mu.Lock()
	restless := m.restless
	m.mu.Unlock()
	if restless {
		m.Renumber()
	}
}

// Renumber changes UIDVALIDITY and numbers all mails from 1 again.
func (m *Mailbox) Renumber() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uidValidity++
	m.uidNext = 1
	for i, msg := range m.messages {
		c := *msg
		c.UID = m.uidNext
		m.messages[i] = &c
		m.uidNext++
	}
}

// SetUIDNext sets the UID of the next mail.
func (m *Mailbox) SetUIDNext(uid uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uidNext = uid
}

// SetUIDValidity sets UIDVALIDITY without renumbering.
func (m *Mailbox) SetUIDValidity(v uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.uidValidity = v
}

// UIDValidity is the current one.
func (m *Mailbox) UIDValidity() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.uidValidity
}

// MarkSeen sets \Seen, as a person who reads the mail does.
func (m *Mailbox) MarkSeen(uids ...uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, msg := range m.messages {
		if slices.Contains(uids, msg.UID) {
			msg.Seen = true
		}
	}
}

// Messages are the mails that are shown, by UID.
func (m *Mailbox) Messages() []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	var shown []Message
	for _, msg := range m.messages {
		if !msg.hidden && !m.empty {
			shown = append(shown, *msg)
		}
	}
	return shown
}

func (m *Mailbox) numbers() (uidNext uint32, uidValidity uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.forgets {
		return 1, m.uidValidity
	}
	return m.uidNext, m.uidValidity
}

func (m *Mailbox) noselect() bool {
	return slices.ContainsFunc(m.Attrs, func(a string) bool { return strings.EqualFold(a, `\Noselect`) })
}
