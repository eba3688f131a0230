package imapsession

import (
	"fmt"
	"slices"
	"strings"
)

// splitFilter parts a filter into plain names and patterns with * or %. An
// empty filter means INBOX.
func splitFilter(filter []string) (names, patterns []string) {
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
	return slices.ContainsFunc(patterns, func(p string) bool { return match(p, f.Name, f.Delimiter) || match(p, slashed(f), "/") })
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
