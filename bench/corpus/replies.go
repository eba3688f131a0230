package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"imapsync/parse"
)

// printReplies prints the new part that was found in each mail of a source
// whose mails are replies, for a person to judge.
func printReplies(w io.Writer, dir, source string) error {
	mails, err := filepath.Glob(filepath.Join(dir, source, "*.eml"))
	if err != nil {
		return err
	}
	if len(mails) == 0 {
		return fmt.Errorf("no mails in %s", filepath.Join(dir, source))
	}
	t := tabwriter.NewWriter(w, 2, 0, 2, ' ', 0)
	found := 0
	for _, path := range mails {
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		r := parse.Parse(raw, parse.Limits{}).Reply
		if r == nil {
			fmt.Fprintf(t, "%s\t-\n", filepath.Base(path))
			continue
		}
		found++
		fmt.Fprintf(t, "%s\t%s\t%s\t%.80q\n", filepath.Base(path), r.Strategy, r.Confidence, r.Text)
	}
	fmt.Fprintf(t, "%d of %d told apart\n", found, len(mails))
	return t.Flush()
}
