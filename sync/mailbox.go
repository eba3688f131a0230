package sync

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"imapsync/db"
)

// Folder is one folder as the server lists it. Name is decoded from modified
// UTF-7 and stands in the server's own spelling.
type Folder struct {
	Name       string `json:"name"`
	Delimiter  string `json:"delimiter,omitempty"`
	SpecialUse string `json:"specialUse,omitempty"` // RFC 6154, e.g. "sent"; "" for ordinary folders
	Selectable bool   `json:"selectable"`
	Messages   int64  `json:"messages"` // -1 when the server did not say
}

const inbox = "INBOX"

// canonical folds the one name that has no case (RFC 3501 section 5.1).
func canonical(name string) string {
	if strings.EqualFold(name, inbox) {
		return inbox
	}
	return name
}

// mailboxStatus is what STATUS says of a folder. A zero means that the server
// did not say.
type mailboxStatus struct {
	Name        string
	UIDValidity uint32
	UIDNext     uint32
	Messages    int64
}

// with is the status as it was when the folder was opened, as far as the server
// said so.
func (st mailboxStatus) with(selected *imap.SelectData) mailboxStatus {
	return mailboxStatus{
		Name: st.Name, Messages: st.Messages,
		UIDValidity: cmp.Or(selected.UIDValidity, st.UIDValidity), UIDNext: cmp.Or(uint32(selected.UIDNext), st.UIDNext),
	}
}

// Folders lists every folder of the account with its number of messages, INBOX
// first, then by name.
func (s *Session) Folders() ([]Folder, error) {
	folders, err := s.list()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, f := range folders {
		if f.Selectable {
			names = append(names, f.Name)
		}
	}
	statuses, _, err := s.statuses(names)
	if err != nil {
		return nil, err
	}
	for i := range folders {
		folders[i].Messages = -1
		for _, st := range statuses {
			if st.Name == folders[i].Name {
				folders[i].Messages = st.Messages
			}
		}
	}
	return folders, nil
}

// lostAtFolder says over which folder the connection was lost.
type lostAtFolder struct {
	name string
	err  error
}

func (e *lostAtFolder) Error() string { return fmt.Sprintf("folder %q: %s", e.name, e.err) }
func (e *lostAtFolder) Unwrap() error { return e.err }

// statusWindow is how many STATUS commands may be under way at once.
const statusWindow = 50

func statusOptions() *imap.StatusOptions {
	return &imap.StatusOptions{UIDNext: true, UIDValidity: true, NumMessages: true}
}

// statuses asks for the state of folders, all in one flight. Folders that the
// server refuses are in failed, the error is about the connection.
func (s *Session) statuses(names []string) (found []mailboxStatus, failed map[string]error, err error) {
	failed = map[string]error{}
	for window := range slices.Chunk(names, statusWindow) {
		wait := make([]func() (*imap.StatusData, error), len(window))
		for i, name := range window {
			cmd := s.asked[name]
			if cmd == nil {
				cmd = s.client.Status(name, statusOptions())
			}
			delete(s.asked, name)
			wait[i] = cmd.Wait
		}
		for i, name := range window {
			data, err := wait[i]()
			if err != nil {
				if _, refused := errors.AsType[*imap.Error](err); !refused {
					return nil, nil, &lostAtFolder{name, fmt.Errorf("status: %w", s.cause(err))}
				}
				failed[name] = err
				continue
			}
			st := mailboxStatus{Name: name, UIDValidity: data.UIDValidity, UIDNext: uint32(data.UIDNext), Messages: -1}
			if data.NumMessages != nil {
				st.Messages = int64(*data.NumMessages)
			}
			found = append(found, st)
		}
	}
	return found, failed, nil
}

// resolve finds out which folders a provider's filter means and what state
// they are in. A folder that is missing fails alone; the error is about the
// connection. Plain names are asked for directly: only a wildcard, or a name
// that the server does not know as it stands, costs a LIST.
func (s *Session) resolve(filter db.FolderNames) (found []mailboxStatus, failed map[string]error, err error) {
	return s.resolveWithout(filter, nil)
}

// resolveWithout leaves out folders that are known to fail, with why.
func (s *Session) resolveWithout(filter db.FolderNames, lost map[string]error) (found []mailboxStatus, failed map[string]error, err error) {
	isLost := func(name string) bool { return lost[name] != nil }
	names, patterns := splitFilter(filter)
	found, failed, err = s.statuses(slices.DeleteFunc(slices.Clone(names), isLost))
	if err != nil {
		return nil, nil, err
	}
	maps.Copy(failed, lost)
	if len(patterns) == 0 && len(failed) == len(lost) {
		return found, failed, nil
	}
	folders, err := s.list()
	if err != nil {
		if len(found) == 0 {
			return nil, failed, err
		}
		// The folders that are named can be read without it.
		for name, refusal := range failed {
			if !isLost(name) {
				failed[name] = transientUnless(refusal)
			}
		}
		for _, pattern := range patterns {
			failed[pattern] = err
		}
		return found, failed, nil
	}
	var more []string
	asked := map[string]string{} // server's name → the filter's
	for name, refusal := range failed {
		f, ok := findFolder(folders, name)
		switch {
		case isLost(name):
		case ok && f.Name == name:
			failed[name] = transientUnless(refusal)
		case ok:
			asked[f.Name] = name
			more = append(more, f.Name)
			delete(failed, name)
		default:
			failed[name] = config("folder_missing", fmt.Errorf("the server has no such folder; it has %s", folderNames(folders)))
		}
	}
	for _, f := range folders {
		if f.Selectable && f.SpecialUse == "" && matchAny(patterns, f) && !slices.Contains(names, f.Name) {
			more = append(more, f.Name)
		}
	}
	slices.Sort(more)
	again, refused, err := s.statuses(slices.DeleteFunc(slices.Compact(more), isLost))
	if err != nil {
		return nil, nil, err
	}
	for _, st := range again {
		if !slices.ContainsFunc(found, func(have mailboxStatus) bool { return have.Name == st.Name }) {
			found = append(found, st)
		}
	}
	for name, refusal := range refused {
		if filterName := asked[name]; filterName != "" {
			name = filterName
		}
		failed[name] = transientUnless(refusal)
	}
	return found, failed, nil
}

// transientUnless classes the refusal of a folder that exists.
func transientUnless(refusal error) error {
	if ie, ok := errors.AsType[*imap.Error](refusal); ok {
		class, code := classifyStatus(string(ie.Type), string(ie.Code), ie.Text)
		return &Error{class, code, fmt.Errorf("status refused: %w", refusal)}
	}
	return refusal
}

// splitFilter parts a filter into plain names and patterns with * or %. An
// empty filter means INBOX.
func splitFilter(filter db.FolderNames) (names, patterns []string) {
	for _, name := range filter {
		name = strings.TrimSpace(name)
		switch {
		case name == "":
		case strings.ContainsAny(name, "*%"):
			patterns = append(patterns, name)
		case !slices.Contains(names, canonical(name)):
			names = append(names, canonical(name))
		}
	}
	if len(names)+len(patterns) == 0 {
		names = []string{inbox}
	}
	return names, patterns
}

// findFolder finds the folder a person means: by its exact name, with "/" for
// whatever the server puts between levels, or in another case.
func findFolder(folders []Folder, name string) (Folder, bool) {
	for _, same := range []func(f Folder) bool{
		func(f Folder) bool { return f.Name == name },
		func(f Folder) bool { return slashed(f) == name },
		func(f Folder) bool { return strings.EqualFold(f.Name, name) },
		func(f Folder) bool { return strings.EqualFold(slashed(f), name) },
	} {
		for _, f := range folders {
			if f.Selectable && same(f) {
				return f, true
			}
		}
	}
	return Folder{}, false
}

func slashed(f Folder) string {
	if f.Delimiter == "" || f.Delimiter == "/" {
		return f.Name
	}
	return strings.ReplaceAll(f.Name, f.Delimiter, "/")
}

// matchAny applies LIST wildcards: * matches anything, % one level.
func matchAny(patterns []string, f Folder) bool {
	for _, p := range patterns {
		if match(p, f.Name, f.Delimiter) || match(p, slashed(f), "/") {
			return true
		}
	}
	return false
}

func match(pattern, name, delimiter string) bool {
	reach := []bool{true} // reach[i]: the pattern so far matches name[:i]
	for range name {
		reach = append(reach, false)
	}
	runes := []rune(name)
	for _, c := range pattern {
		next := make([]bool, len(reach))
		for i := range reach {
			switch {
			case c == '*' || c == '%':
				next[i] = reach[i] || i > 0 && next[i-1] && (c == '*' || string(runes[i-1]) != delimiter)
			case i > 0:
				next[i] = reach[i-1] && runes[i-1] == c
			}
		}
		reach = next
	}
	return reach[len(runes)]
}

// folderNames lists names for an error message.
func folderNames(folders []Folder) string {
	var names []string
	for _, f := range folders {
		if f.Selectable {
			names = append(names, fmt.Sprintf("%q", f.Name))
		}
	}
	if len(names) > 20 {
		names = append(names[:20], fmt.Sprintf("and %d more", len(names)-20))
	}
	return strings.Join(names, ", ")
}
