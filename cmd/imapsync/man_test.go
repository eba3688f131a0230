package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Every command has a page, with every flag, and nothing in it that man would
// take for a macro.
func TestManPages(t *testing.T) {
	root := newRoot(&app{})
	root.InitDefaultCompletionCmd()
	dir := t.TempDir()
	if err := writeManPages(root, dir); err != nil {
		t.Fatal(err)
	}
	macros := []string{".TH", ".SH", ".TP", ".PP", ".nf", ".fi"}
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		data, err := os.ReadFile(filepath.Join(dir, manName(cmd)+".1"))
		if err != nil {
			t.Error(err)
			return
		}
		page := string(data)
		for line := range strings.Lines(page) {
			word := regexp.MustCompile(`^[.'][^ \n]*`).FindString(line)
			if word != "" && !slices.Contains(macros, word) {
				t.Errorf("%s: a line begins with %s", cmd.CommandPath(), word)
			}
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !strings.Contains(page, `\fB`+roff("--"+f.Name)+`\fR`) {
				t.Errorf("%s: no --%s", cmd.CommandPath(), f.Name)
			}
		})
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				check(sub)
			}
		}
	}
	check(root)
}

func TestRoff(t *testing.T) {
	for in, want := range map[string]string{`a\b --c`: `a\eb \-\-c`, ".TH\n'x": "\\&.TH\n\\&'x", "one…": "one..."} {
		if got := roff(in); got != want {
			t.Errorf("roff(%q) = %q, want %q", in, got, want)
		}
	}
	if got, want := roffText("Codes:\n  0  a\n\nb"), "Codes:\n.nf\n  0  a\n.PP\n.fi\nb\n"; got != want {
		t.Errorf("roffText: %q, want %q", got, want)
	}
}
