package imapsession

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/unicode/norm"

	"imapsync/internal/imapwire"
)

// splitFilter parts a filter into plain names and patterns with * or %. An
// empty filter means INBOX.
func splitFilter(filter []string) (names, patterns []string) {
	for _, name := range filter {
		if trimmed := strings.TrimSpace(name); trimmed == "" || strings.EqualFold(trimmed, inbox) {
			name = canonical(trimmed)
		}
		switch {
		case name == "" || slices.Contains(names, name):
		case strings.ContainsAny(name, "*%"):
			patterns = append(patterns, name)
		default:
			names = append(names, name)
		}
	}
	if len(names)+len(patterns) == 0 {
		names = []string{inbox}
	}
	return names, patterns
}

// maxFolderName is the longest name of a folder, in bytes: it is part of keys in the
// database.
const maxFolderName = 1000

// unaskable tells why a folder of that name cannot be asked for; "" when it can.
func unaskable(name string) string {
	switch {
	case len(name) > maxFolderName:
		return fmt.Sprintf("its name has %d bytes, more than %d", len(name), maxFolderName)
	case strings.ContainsRune(name, 0):
		return "its name has a NUL, which no command can carry"
	case strings.ContainsAny(name, "\r\n"):
		return "its name has a line break, which no command can carry"
	}
	return ""
}

// readable is a name that cannot be asked for, as it may be shown and stored.
func readable(name string) string {
	const most = 100
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return strings.NewReplacer("\x00", `\x00`, "\r", `\r`, "\n", `\n`).Replace(name)
}

// alike are the ways in which two names may mean one folder, from the strictest on.
var alike = [...]func(string) string{
	func(s string) string { return s },
	norm.NFC.String,
	folded,
	func(s string) string { return strings.TrimSpace(folded(s)) },
}

// findFolder finds the folder a person means: by its exact name, with "/" for whatever
// the server puts between levels, with accents composed otherwise, in another case, with
// other blanks at the ends, or by its name in modified UTF-7.
func findFolder(folders []Folder, name string) (Folder, bool) {
	for _, f := range folders {
		if f.Selectable && f.Name == name {
			return f, true
		}
	}
	for _, change := range alike {
		want := change(name)
		for _, f := range folders {
			if f.Selectable && (change(f.Name) == want || change(slashed(f)) == want) {
				return f, true
			}
		}
	}
	if decoded, ok := imapwire.DecodeMailbox(name); ok && decoded != name {
		return findFolder(folders, decoded)
	}
	return Folder{}, false
}

// folded is a name without its case and the ways to write its accents.
func folded(s string) string { return norm.NFC.String(strings.ToLower(norm.NFC.String(s))) }

func slashed(f Folder) string {
	if f.Delimiter == "" || f.Delimiter == "/" {
		return f.Name
	}
	return strings.ReplaceAll(f.Name, f.Delimiter, "/")
}

// matching is which folders a pattern of LIST means: * matches anything, % one level.
// One that matches none is taken less strictly.
func matching(pattern string, folders []Folder) (matched []Folder) {
	for _, change := range alike[1:] {
		want := change(pattern)
		for _, f := range folders {
			if match(want, change(f.Name), f.Delimiter) || match(want, change(slashed(f)), "/") {
				matched = append(matched, f)
			}
		}
		if len(matched) > 0 {
			break
		}
	}
	return matched
}

// mayMean reports whether a pattern means a folder that is not listed, so that nobody
// knows what parts its levels: % may stop anywhere in it.
func mayMean(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		return name == inbox && match(p, name, "/") || !strings.Contains(p, "%") && match(p, name, "/")
	})
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
	if len(names) == 0 {
		return "none"
	}
	if len(names) > 20 {
		names = append(names[:20], fmt.Sprintf("and %d more", len(names)-20))
	}
	return strings.Join(names, ", ")
}
