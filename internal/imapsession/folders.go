package imapsession

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
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

// FolderStatus is what STATUS says of a folder. A zero means that the server
// did not say.
type FolderStatus struct {
	Name        string
	UIDValidity uint64
	UIDNext     uint32
	Messages    int64
}

// With is the status as it was when the folder was opened, as far as the server
// said so.
func (st FolderStatus) With(selected Examined) FolderStatus {
	st.UIDValidity = cmp.Or(selected.UIDValidity, st.UIDValidity)
	st.UIDNext = cmp.Or(selected.UIDNext, st.UIDNext)
	return st
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
		for _, st := range statuses {
			if st.Name == folders[i].Name {
				folders[i].Messages = st.Messages
			}
		}
	}
	return folders, nil
}

// LostFolderError says over which folder the connection was lost.
type LostFolderError struct {
	Folder string
	Err    error
}

func (e *LostFolderError) Error() string { return fmt.Sprintf("folder %q: %s", e.Folder, e.Err) }
func (e *LostFolderError) Unwrap() error { return e.Err }

// statusWindow is how many STATUS commands may be under way at once.
const statusWindow = 50

func statusOptions() *imap.StatusOptions {
	return &imap.StatusOptions{UIDNext: true, UIDValidity: true, NumMessages: true}
}

// statuses asks for the state of folders, all in one flight. Folders that the
// server refuses are in failed, the error is about the connection.
func (s *Session) statuses(names []string) (found []FolderStatus, failed map[string]error, err error) {
	failed = map[string]error{}
	for window := range slices.Chunk(names, statusWindow) {
		cmds := make([]*imapclient.StatusCommand, len(window))
		for i, name := range window {
			if cmds[i] = s.asked[name]; cmds[i] == nil {
				cmds[i] = s.client.Status(name, statusOptions())
			}
			delete(s.asked, name)
		}
		for i, name := range window {
			data, err := cmds[i].Wait()
			if err != nil {
				if _, refused := errors.AsType[*imap.Error](err); !refused {
					return nil, nil, &LostFolderError{name, fmt.Errorf("status: %w", s.cause(err))}
				}
				failed[name] = refusedError(fmt.Errorf("status refused: %w", err))
				continue
			}
			st := FolderStatus{Name: name, UIDValidity: data.HighestModSeq, UIDNext: uint32(data.UIDNext), Messages: -1}
			if data.NumMessages != nil {
				st.Messages = int64(*data.NumMessages)
			}
			found = append(found, st)
		}
	}
	return found, failed, nil
}

// Resolve finds out which folders a filter means and what state they are in. A
// folder that is missing fails alone, and so does one that is in lost, with why;
// the error is about the connection. Plain names are asked for directly: only a
// wildcard, or a name that the server does not know as it stands, costs a LIST.
func (s *Session) Resolve(filter []string, lost map[string]error) (found []FolderStatus, failed map[string]error, err error) {
	without := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return lost[name] != nil })
	}
	names, patterns := splitFilter(filter)
	if found, failed, err = s.statuses(without(names)); err != nil {
		return nil, nil, err
	}
	defer func() {
		if failed != nil {
			maps.Copy(failed, lost)
		}
	}()
	if len(patterns)+len(failed) == 0 {
		return found, failed, nil
	}
	folders, err := s.list()
	if err != nil && len(found) == 0 {
		return nil, failed, err
	}
	if err != nil { // the folders that are named can be read without it
		for _, pattern := range patterns {
			failed[pattern] = err
		}
		return found, failed, nil
	}
	asked := map[string]string{} // server's name → the filter's
	for name := range failed {
		f, ok := findFolder(folders, name)
		if !ok {
			failed[name] = failf("folder_missing", "the server has no such folder; it has %s", folderNames(folders))
		} else if f.Name != name {
			asked[f.Name] = name
			delete(failed, name)
		}
	}
	more := slices.Collect(maps.Keys(asked))
	for _, f := range folders {
		if f.Selectable && f.SpecialUse == "" && matchAny(patterns, f) && !slices.Contains(names, f.Name) {
			more = append(more, f.Name)
		}
	}
	slices.Sort(more)
	again, refused, err := s.statuses(without(slices.Compact(more)))
	if err != nil {
		return nil, nil, err
	}
	for _, st := range again {
		if !slices.ContainsFunc(found, func(have FolderStatus) bool { return have.Name == st.Name }) {
			found = append(found, st)
		}
	}
	for name, refusal := range refused {
		failed[cmp.Or(asked[name], name)] = refusal
	}
	return found, failed, nil
}

// CheckFolders finds the folders that a filter means and opens each of them
// read-only. It returns their names in the server's spelling; the error joins
// what is wrong with the others, by name, or is about the connection.
func (s *Session) CheckFolders(filter []string) ([]string, error) {
	found, failed, err := s.Resolve(filter, nil)
	if err != nil {
		return nil, err
	}
	var names []string
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		wrong = append(wrong, fmt.Errorf("folder %q: %w", name, failed[name]))
	}
	for _, st := range found {
		if !s.Alive() {
			break // the error of the last folder says why
		}
		if _, err := s.Examine(st.Name); err != nil {
			wrong = append(wrong, fmt.Errorf("folder %q: %w", st.Name, err))
			continue
		}
		names = append(names, st.Name)
	}
	return names, errors.Join(wrong...)
}

// maxFolders bounds a LIST answer.
const maxFolders = 20000

// startList sends LIST; what it returns waits for the answer. A goroutine takes what
// comes until the end of the answer or of the connection: go-imap's reader waits for
// that, whatever else was asked meanwhile.
func (s *Session) startList() func() ([]Folder, error) {
	cmd := s.client.List("", "*", nil)
	var folders []Folder
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		folders, err = readList(cmd)
	}()
	return func() ([]Folder, error) {
		<-done
		return folders, err
	}
}

func (s *Session) list() ([]Folder, error) {
	listed := s.askedList
	if s.askedList = nil; listed == nil {
		listed = s.startList()
	}
	folders, err := listed()
	if err != nil {
		return nil, fmt.Errorf("list folders: %w", s.cause(err))
	}
	return folders, nil
}

func readList(cmd *imapclient.ListCommand) ([]Folder, error) {
	var folders []Folder
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		if len(folders) == maxFolders {
			continue // read to the end, keep no more
		}
		f := Folder{Name: canonical(data.Mailbox), Selectable: true, Messages: -1}
		if data.Delim != 0 {
			f.Delimiter = string(data.Delim)
		}
		for _, attr := range data.Attrs {
			switch strings.ToLower(string(attr)) {
			case `\noselect`, `\nonexistent`:
				f.Selectable = false
			case `\sent`, `\drafts`, `\trash`, `\junk`, `\all`, `\archive`, `\flagged`:
				f.SpecialUse = strings.ToLower(string(attr[1:]))
			}
		}
		folders = append(folders, f)
	}
	if err := cmd.Close(); err != nil {
		return nil, err
	}
	slices.SortStableFunc(folders, func(a, b Folder) int {
		return cmp.Or(InboxFirst(a.Name, b.Name), cmp.Compare(a.Name, b.Name))
	})
	return slices.CompactFunc(folders, func(a, b Folder) bool { return a.Name == b.Name }), nil
}

// InboxFirst orders INBOX before every other name, and leaves those as they are.
func InboxFirst(a, b string) int {
	switch {
	case a == inbox && b != inbox:
		return -1
	case b == inbox && a != inbox:
		return 1
	}
	return 0
}
