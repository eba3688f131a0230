package main

import (
	"io"
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
	root := newRoot(&app{stderr: io.Discard})
	dir := t.TempDir()
	root.SetArgs([]string{"man", "--dir", dir})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	macros := []string{".nh", ".TH", ".SH", ".SS", ".PP", ".EX", ".EE"}
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		data, err := os.ReadFile(filepath.Join(dir, strings.ReplaceAll(cmd.CommandPath(), " ", "-")+".1"))
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
			if !f.Hidden && !strings.Contains(page, `\fB--`+f.Name+`\fP`) {
				t.Errorf("%s: no --%s", cmd.CommandPath(), f.Name)
			}
			if variable := environmentName(f.Name); !f.Hidden && f.Name != "help" && !strings.Contains(page, variable+")") {
				t.Errorf("%s: no %s", cmd.CommandPath(), variable)
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

// Lines that are indented stay lines: the table of exit codes.
func TestManPageKeepsIndentedLines(t *testing.T) {
	var page, stderr strings.Builder
	code := Main([]string{"man", "run"}, strings.NewReader(""), &page, &stderr)
	if code != 0 || !strings.Contains(page.String(), "\n.EX\n  0   done") {
		t.Errorf("exit %d\n%s%s", code, &page, &stderr)
	}
}

// Texts are for people: none names what only the code knows.
func TestHelpNamesNoCode(t *testing.T) {
	name := regexp.MustCompile(`\b(cobra|db|event|fault|mailsync|parse|pflag|provider|publish|secret|time|web)\.[A-Z]\w*`)
	var check func(cmd *cobra.Command)
	check = func(cmd *cobra.Command) {
		texts := cmd.Short + "\n" + cmd.Long + "\n" + cmd.Example + "\n" + cmd.LocalFlags().FlagUsages()
		if found := name.FindString(texts); found != "" {
			t.Errorf("%s: its help says %s", cmd.CommandPath(), found)
		}
		for _, sub := range cmd.Commands() {
			check(sub)
		}
	}
	check(newRoot(&app{}))
}
