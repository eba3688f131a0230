package main

import (
	"fmt"
	"slices"
	"strings"

	"imapsync/event"
)

// problems says in what the event of a mail is not as its sender wrote it.
func (w want) problems(e *event.EmailData) []string {
	var list []string
	wrong := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	if e.Subject != w.subject {
		wrong("subject %q, want %q", e.Subject, w.subject)
	}
	if e.From.Email != w.from {
		wrong("from %q, want %q", e.From.Email, w.from)
	}
	if !strings.Contains(e.Body.Text, w.text) {
		wrong("text %.60q, want it to contain %q", e.Body.Text, w.text)
	}
	if !strings.Contains(e.Body.HTML, w.html) || w.html == "" && e.Body.HTML != "" {
		wrong("html %.60q, want it to contain %q", e.Body.HTML, w.html)
	}
	var files []file
	for i, a := range e.Attachments {
		if i < len(w.files) && w.files[i].sha256 == "" {
			files = append(files, file{name: a.Name})
			continue
		}
		files = append(files, file{name: a.Name, sha256: a.SHA256, size: a.Size, inline: a.IsInline})
	}
	if !slices.Equal(files, w.files) {
		wrong("attachments %+v, want %+v", files, w.files)
	}
	if got := labels(e); !slices.Equal(got, w.labels) {
		wrong("labels %q, want %q", got, w.labels)
	}
	if flawed := len(e.Defects) > 0; flawed != w.flawed {
		wrong("defects %v, want any: %t", e.Defects, w.flawed)
	}
	if reused := slices.ContainsFunc(e.Defects, func(d event.Defect) bool { return d.Code == event.DefectMessageIDReused }); reused != w.reused {
		wrong("defect %s is there: %t, want %t", event.DefectMessageIDReused, reused, w.reused)
	}
	return list
}
