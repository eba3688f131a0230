package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"
)

func newMan(a *app) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "man [COMMAND]…", Short: "Print the manual page of a command, or write them all",
		Long: "Print the manual page of imapsync, or of the command that is named, in the language of\n" +
			"man(1): `imapsync man run | man -l -`. --dir writes the pages of all commands." + exitCodesPointer,
		Example: "  imapsync man provider add | man -l -\n  imapsync man --dir /usr/local/share/man/man1",
		RunE: func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			named, rest, err := root.Find(args)
			if err != nil || len(rest) > 0 {
				return usageError("no command `imapsync %s`: see `imapsync --help`", strings.Join(args, " "))
			}
			if dir == "" {
				return doc.GenMan(named, manHeader(root), a.stdout)
			}
			if len(args) > 0 {
				return usageError("--dir writes the pages of all commands: name none")
			}
			return writeManPages(root, dir)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "write the pages of all commands to this directory, which is made")
	return cmd
}

// writeManPages writes the pages of all commands.
func writeManPages(root *cobra.Command, dir string) error {
	err := os.MkdirAll(dir, 0o755) //nolint:gosec // manual pages are for everybody
	if err == nil {
		err = doc.GenManTree(root, manHeader(root), dir)
	}
	if err != nil {
		return configError("--dir: %w", err)
	}
	return nil
}

// manHeader readies the texts of all commands for their pages, and returns what
// these have in common. Their date is that of the commit, so that a page is the
// same whenever it is built.
func manHeader(root *cobra.Command) *doc.GenManHeader {
	root.InitDefaultCompletionCmd()
	root.DisableAutoGenTag = true
	manTexts(root)
	return &doc.GenManHeader{Source: "imapsync " + version(), Manual: "imapsync", Date: commitTime()}
}

var indentedLines = regexp.MustCompile(`(?m)^(  .*\n?)+`)

// manTexts turns the texts of a command, and of all below it, into the Markdown
// that package doc reads: lines that are indented stay lines, and a flag names its
// variable.
func manTexts(cmd *cobra.Command) {
	cmd.Long = indentedLines.ReplaceAllString(cmd.Long, "\n```\n$0\n```\n")
	cmd.InitDefaultHelpFlag()
	cmd.LocalNonPersistentFlags().VisitAll(nameVariable)
	cmd.PersistentFlags().VisitAll(nameVariable)
	for _, sub := range cmd.Commands() {
		manTexts(sub)
	}
}

func nameVariable(f *pflag.Flag) {
	if name := environmentName(f.Name); f.Name != "help" && !strings.Contains(f.Usage, name) {
		f.Usage += fmt.Sprintf(" (env %s)", name)
	}
}
