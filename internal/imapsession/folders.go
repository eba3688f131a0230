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
	Messages   int64  `json:"messages"`          // -1 when the server did not say
	Problem    string `json:"problem,omitempty"` // why no command can name it; Name is made readable then
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
	Name        string // as it is stored: the same from pass to pass
	Filter      string // the name or the pattern that means it
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
// first, then by name. Of a list that is cut, there is an error beside what there is.
func (s *Session) Folders() ([]Folder, error) {
	folders, cut, err := s.list()
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
	if cut {
		err = errTooManyFolders()
	}
	return folders, err
}

func errTooManyFolders() error {
	return failf("too_many_folders", "the server lists more than %d folders: those beyond are not known", maxFolders)
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

// statuses asks for the state of folders by STATUS, all in one flight. Folders that the
// server refuses are in failed, and with a nil those of which it says nothing; the error
// is about the connection.
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
			if st.Messages < 0 && st.UIDNext == 0 && st.UIDValidity == 0 {
				failed[name] = nil
				continue
			}
			found = append(found, st)
		}
	}
	return found, failed, nil
}

// states is statuses with EXAMINE where that brings nothing: some servers refuse STATUS,
// or say OK and no more. A folder that is missing is not opened, unless it is known by
// LIST to be there.
func (s *Session) states(names []string, listed bool) (found []FolderStatus, failed map[string]error, err error) {
	found, failed, err = s.statuses(names)
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		refusal := failed[name]
		if refusal != nil && (!listed && isMissing(refusal) || BackoffHint(refusal) > 0) {
			continue
		}
		data, err := s.startExamine(name)()
		if err != nil {
			if !s.Alive() {
				return nil, nil, &LostFolderError{name, err}
			}
			failed[name] = cmp.Or(refusal, err)
			continue
		}
		delete(failed, name)
		found = append(found, FolderStatus{Name: name, UIDValidity: data.UIDValidity, UIDNext: data.UIDNext, Messages: int64(data.Messages)})
	}
	return found, failed, err
}

// isMissing reports whether a refusal says that there is no such folder.
func isMissing(err error) bool {
	_, code := Classify(err)
	return code == "folder_missing"
}

// Resolve finds out which folders a filter means and what state they are in. A
// folder that is missing fails alone, and so does one that is in lost, with why;
// the error is about the connection. Plain names are asked for directly: only a
// wildcard, or a name that the server does not know as it stands, costs a LIST. A LIST
// that leaves out INBOX, or folders that are known to have been there lately, is not
// believed: they are asked for all the same.
func (s *Session) Resolve(filter []string, lost map[string]error, known ...string) (found []FolderStatus, failed map[string]error, err error) {
	without := func(names []string) []string {
		return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return lost[name] != nil })
	}
	names, patterns := splitFilter(filter)
	unfit := map[string]error{}
	names = slices.DeleteFunc(names, func(name string) bool {
		why := unaskable(name)
		if why != "" {
			unfit[readable(name)] = failf("folder_name", "%s", why)
		}
		return why != ""
	})
	if found, failed, err = s.states(without(names), false); err != nil {
		return nil, nil, err
	}
	for i := range found {
		found[i].Filter = found[i].Name
	}
	defer func() {
		if failed != nil {
			maps.Copy(failed, lost)
			maps.Copy(failed, unfit)
		}
	}()
	if len(patterns)+len(failed) == 0 {
		return found, failed, nil
	}
	folders, cut, err := s.list()
	if err != nil && len(found) == 0 {
		return nil, failed, err
	}
	if err != nil { // the folders that are named can be read without it
		for _, pattern := range patterns {
			failed[pattern] = err
		}
		return found, failed, nil
	}
	have := map[string]bool{} // by the server's names
	for _, st := range found {
		f, _ := findFolder(folders, st.Name)
		have[st.Name], have[f.Name] = true, true
	}
	meant := map[string]string{} // server's name → the filter's
	for name, refusal := range failed {
		switch f, ok := findFolder(folders, name); {
		case ok && (have[f.Name] || f.Name != name && slices.Contains(names, f.Name)):
			delete(failed, name) // another name in the filter means it
		case ok && (f.Name == name || unknownName(refusal)):
			meant[f.Name] = name
			delete(failed, name)
		case !ok && cut:
			failed[name] = errTooManyFolders()
		case !ok:
			failed[name] = failf("folder_missing", "the server has no such folder; it has %s", folderNames(folders))
		}
	}
	unlisted := map[string]bool{}
	for _, name := range append(known, inbox) {
		unlisted[name] = mayMean(patterns, name) && !slices.Contains(names, name) &&
			!slices.ContainsFunc(folders, func(f Folder) bool { return f.Name == name })
		if unlisted[name] {
			meant[name] = name
		}
	}
	for _, pattern := range patterns {
		matched := matching(pattern, folders)
		for _, f := range matched {
			switch {
			case f.Problem != "":
				failed[f.Name] = failf("folder_name", "%s", f.Problem)
			case f.Selectable && f.SpecialUse == "" && !have[f.Name] && meant[f.Name] == "" && !slices.Contains(names, f.Name):
				meant[f.Name] = pattern
			}
		}
		if cut {
			failed[pattern] = errTooManyFolders()
		} else if len(matched) == 0 && len(names)+len(patterns) == 1 && len(meant) == 0 {
			failed[pattern] = failf("folder_missing", "no folder of the server matches; it has %s", folderNames(folders))
		}
	}
	more, refused, err := s.states(without(slices.Sorted(maps.Keys(meant))), true)
	if err != nil {
		return nil, nil, err
	}
	for _, st := range more {
		st.Filter = meant[st.Name]
		found = append(found, st)
	}
	for name, refusal := range refused {
		if unlisted[name] {
			continue // gone it is, or the next pass asks again
		}
		if slices.Contains(names, meant[name]) {
			name = meant[name]
		}
		failed[name] = refusal
	}
	return found, failed, nil
}

// unknownName reports whether the refusal of a name may be for its spelling. Of a server
// that is ill no other spelling is tried: it would be stored as another folder.
func unknownName(refusal error) bool {
	if refusal == nil {
		return false
	}
	_, code := Classify(refusal)
	return code == "folder_missing" || code == "refused"
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

// listing is the answer to a LIST.
type listing struct {
	folders []Folder
	cut     bool // there were more
	err     error
}

// startList sends LIST; what it returns waits for the answer. A goroutine takes what
// comes until the end of the answer or of the connection: go-imap's reader waits for
// that, whatever else was asked meanwhile.
func (s *Session) startList() func() listing {
	cmd := s.client.List("", "*", nil)
	var l listing
	done := make(chan struct{})
	go func() {
		defer close(done)
		l = readList(cmd)
	}()
	return func() listing {
		<-done
		return l
	}
}

// list lists the folders, and reports whether there are more. From then on names are
// asked for as the server spells them.
func (s *Session) list() (folders []Folder, cut bool, err error) {
	listed := s.askedList
	if s.askedList = nil; listed == nil {
		listed = s.startList()
	}
	l := listed()
	if l.err != nil {
		return nil, false, fmt.Errorf("list folders: %w", s.cause(l.err))
	}
	s.listed = true
	return l.folders, l.cut, nil
}

func readList(cmd *imapclient.ListCommand) (l listing) {
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		if l.cut = len(l.folders) == maxFolders; l.cut {
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
		if f.Problem = unaskable(f.Name); f.Problem != "" {
			f.Name, f.Selectable = readable(f.Name), false
		}
		l.folders = append(l.folders, f)
	}
	if l.err = cmd.Close(); l.err != nil {
		return l
	}
	slices.SortStableFunc(l.folders, func(a, b Folder) int {
		return cmp.Or(InboxFirst(a.Name, b.Name), cmp.Compare(a.Name, b.Name))
	})
	l.folders = slices.CompactFunc(l.folders, func(a, b Folder) bool { return a.Name == b.Name })
	return l
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
