package main

import (
	"cmp"
	"slices"
)

// expectation is one line of expected.jsonl; a nil field is not asserted.
type expectation struct {
	Path      string        `json:"path"`
	Source    string        `json:"source"`
	Subject   *string       `json:"subject"`
	From      *string       `json:"from"`
	NTo       *int          `json:"n_to"`
	DateUnix  *int64        `json:"date_unix"`
	TextPart  *bool         `json:"text_part"`
	Text      *string       `json:"text_alnum_sha"`
	Text200   *string       `json:"text_200"`
	HTML      *bool         `json:"html"`
	HTMLHash  *string       `json:"html_alnum_sha"`
	NFiles    *int          `json:"n_attachments"`
	Files     []fileExpects `json:"attachments"`
	RFC822    *bool         `json:"has_rfc822"`
	Confident string        `json:"confidence"`
}

type fileExpects struct {
	Size int64  `json:"size"`
	SHA  string `json:"sha256_24"`
}

// fieldNames are the fields that are checked, in the order they are printed.
var fieldNames = []string{"subject", "from", "n_to", "text", "html_present", "html", "n_attachments", "attachment_bytes", "date"}

// verdict is how one field of one mail came out.
type verdict struct {
	field string
	ok    bool
	want  any
	got   any
}

// check compares a result with what the reference parsers agree on.
func check(e expectation, r result) []verdict {
	var out []verdict
	add := func(field string, want, got any, ok bool) {
		out = append(out, verdict{field, ok, want, got})
	}
	if e.Subject != nil {
		add("subject", *e.Subject, r.Subject, squeeze(*e.Subject) == squeeze(r.Subject))
	}
	if e.From != nil {
		add("from", *e.From, r.From, *e.From == bareAddress(r.From))
	}
	if e.NTo != nil {
		add("n_to", *e.NTo, len(r.To), *e.NTo == len(r.To))
	}
	if e.Text != nil && (e.TextPart == nil || *e.TextPart) {
		var want string
		if e.Text200 != nil {
			want = *e.Text200
		}
		add("text", want, r.Text, *e.Text == alnumHash(r.Text))
	}
	if e.HTML != nil {
		add("html_present", *e.HTML, r.HTML != "", *e.HTML == (r.HTML != ""))
	}
	if e.HTMLHash != nil {
		add("html", *e.HTMLHash, r.HTML, *e.HTMLHash == alnumHash(r.HTML))
	}
	empty := 0
	want := []fileExpects{}
	for _, f := range e.Files {
		if f.Size == 0 {
			empty++
		} else {
			want = append(want, f)
		}
	}
	if e.NFiles != nil {
		add("n_attachments", *e.NFiles-empty, len(r.Attachments), *e.NFiles-empty == len(r.Attachments))
	}
	if e.Files != nil {
		got := []fileExpects{}
		for _, a := range r.Attachments {
			got = append(got, fileExpects{a.Size, a.SHA256[:24]})
		}
		sortFiles(want)
		sortFiles(got)
		add("attachment_bytes", want, got, slices.Equal(want, got))
	}
	if e.DateUnix != nil {
		add("date", *e.DateUnix, r.DateUnix, r.DateUnix != nil && *r.DateUnix == *e.DateUnix)
	}
	return out
}

func sortFiles(f []fileExpects) {
	slices.SortFunc(f, func(a, b fileExpects) int {
		return cmp.Or(cmp.Compare(a.Size, b.Size), cmp.Compare(a.SHA, b.SHA))
	})
}
