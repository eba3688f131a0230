package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
	"github.com/spf13/pflag"

	"imapsync/db"
	"imapsync/provider"
)

// version is what the build recorded: a tag, or the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	switch commit := recorded("vcs.revision"); {
	case !ok:
		return "unknown"
	case info.Main.Version != "" && info.Main.Version != "(devel)":
		return info.Main.Version
	case commit != "":
		return "devel-" + commit[:min(12, len(commit))]
	}
	return "devel"
}

// recorded is a setting of the build; "" if there is none.
func recorded(key string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == key {
				return s.Value
			}
		}
	}
	return ""
}

func newVersion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			schema, err := db.BinaryVersion()
			if err != nil {
				return err
			}
			if a.json() {
				return a.printJSON(map[string]any{"version": version(), "go": runtime.Version(), "schema": schema})
			}
			a.printf("imapsync %s (%s, schema %d)\n", version(), runtime.Version(), schema)
			return nil
		},
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

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
			if err = os.MkdirAll(dir, 0o755); err == nil { //nolint:gosec // manual pages are for everybody
				err = doc.GenManTree(root, manHeader(root), dir)
			}
			if err != nil {
				return configError("--dir: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "write the pages of all commands to this directory, which is made")
	return cmd
}

// manHeader readies the texts of all commands for their pages, and returns what
// these have in common. Their date is that of the commit, so that a page is the
// same whenever it is built.
func manHeader(root *cobra.Command) *doc.GenManHeader {
	root.InitDefaultCompletionCmd()
	root.DisableAutoGenTag = true
	manTexts(root)
	header := &doc.GenManHeader{Source: "imapsync " + version(), Manual: "imapsync"}
	if at, err := time.Parse(time.RFC3339, recorded("vcs.time")); err == nil {
		header.Date = &at
	}
	return header
}

var indentedLines = regexp.MustCompile(`(?m)^(  .*\n?)+`)

// manTexts turns the texts of a command, and of all below it, into the Markdown that
// package doc reads: lines that are indented stay lines, and a flag names its variable.
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

// addCompletion adds the scripts for shells, and what they complete besides the
// names of commands and flags: mailboxes, and values that are one of few.
func (a *app) addCompletion(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		switch {
		case strings.Contains(cmd.Use, "PROVIDER"):
			cmd.ValidArgsFunction = a.completeProvider
		case !strings.Contains(cmd.Use, "FILE"):
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name == "provider" {
				_ = cmd.RegisterFlagCompletionFunc(f.Name, func(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
					return a.completeProvider(cmd, nil, typed) // a flag takes one however many there are before
				})
			}
			if values := valuesOf(f.Name); values != nil {
				_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
			}
		})
	}
	walk(root)
	if cmd, _, err := root.Find([]string{"completion"}); err == nil {
		group(cmd)
		for _, shell := range cmd.Commands() {
			shell.Args = noArgs
		}
	}
}

func valuesOf(flag string) []cobra.Completion {
	if t := provider.Find(flag); t != nil {
		return t.Values
	}
	return map[string][]cobra.Completion{
		"log-format": {"json", "text"}, "log-level": {"debug", "info", "warn", "error"},
		"fail-on": {"all", "any"}, "state": {"retry", "dead", "released", "discarded"},
	}[flag]
}

func (a *app) completeProvider(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 || fromEnvironment(cmd.Flags()) != nil {
		return nil, directive
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second) // somebody waits for the word
	defer cancel()
	a.log = slog.New(slog.DiscardHandler)
	var names []cobra.Completion
	_ = a.withStore(ctx, func(store *db.Store) error { // nobody to tell
		list, err := store.ListProviders(ctx, "")
		for _, p := range list {
			names = append(names, cobra.CompletionWithDesc(p.Name, p.Mailbox))
		}
		return err
	})
	return names, directive
}
