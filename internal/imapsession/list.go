package imapsession

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2/imapclient"
)

// maxFolders bounds a LIST answer.
const maxFolders = 20000

// listing is a LIST under way. Its goroutine takes what comes until the end of
// the answer or of the connection: go-imap's reader waits for that, whatever
// else was asked meanwhile.
type listing struct {
	done    chan struct{}
	folders []Folder
	err     error
}

func (s *Session) startList() *listing {
	l := &listing{done: make(chan struct{})}
	cmd := s.client.List("", "*", nil)
	go func() {
		defer close(l.done)
		l.folders, l.err = readList(cmd)
	}()
	return l
}

func (s *Session) list() ([]Folder, error) {
	l := s.askedList
	if s.askedList = nil; l == nil {
		l = s.startList()
	}
	<-l.done
	if l.err != nil {
		return nil, fmt.Errorf("list folders: %w", s.cause(l.err))
	}
	return l.folders, nil
}

func readList(cmd *imapclient.ListCommand) ([]Folder, error) {
	var folders []Folder
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		if len(folders) == maxFolders {
			continue // read to the end, keep no more
		}
		f := Folder{Name: canonical(data.Mailbox), Selectable: true}
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
