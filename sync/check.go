package sync

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"imapsync/db"
)

// CheckFolders finds the folders that a filter means and opens each of them
// read-only. It returns their names in the server's spelling; the error joins
// what is wrong with the others, by name, or is about the connection.
func (s *Session) CheckFolders(filter db.FolderNames) ([]string, error) {
	found, failed, err := s.resolve(filter)
	if err != nil {
		return nil, err
	}
	var names []string
	var wrong []error
	for _, name := range slices.Sorted(maps.Keys(failed)) {
		wrong = append(wrong, fmt.Errorf("folder %q: %w", name, failed[name]))
	}
	for _, st := range found {
		if !s.alive() {
			break // the error of the last folder says why
		}
		if _, err := s.examine(st.Name); err != nil {
			wrong = append(wrong, fmt.Errorf("folder %q: %w", st.Name, err))
			continue
		}
		names = append(names, st.Name)
	}
	return names, errors.Join(wrong...)
}
