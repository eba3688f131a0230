package main

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"imapsync/provider"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// completePatience bounds a question to Postgres while somebody waits for a
// word to be completed.
const completePatience = 2 * time.Second

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
				_ = cmd.RegisterFlagCompletionFunc(f.Name, a.completeFlagProvider) // fails for no flag of the command's own
			}
			if values := valuesOf(f.Name); values != nil {
				_ = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
			}
		})
	}
	walk(root)
	if cmd, _, err := root.Find([]string{"completion"}); err == nil {
		cmd.Args, cmd.RunE = noArgs, helpOnly
		for _, shell := range cmd.Commands() {
			shell.Args = noArgs
		}
	}
}

// valuesOf are those of a flag that takes one of few.
func valuesOf(flag string) []cobra.Completion {
	switch flag {
	case "log-format":
		return []cobra.Completion{"json", "text"}
	case "log-level":
		return []cobra.Completion{"debug", "info", "warn", "error"}
	case "fail-on":
		return []cobra.Completion{"all", "any"}
	case "state":
		return []cobra.Completion{"retry", "dead", "released", "discarded"}
	}
	if t := provider.Find(flag); t != nil {
		return t.Values
	}
	return nil
}

// completeProvider lists the mailboxes, when Postgres can be asked.
func (a *app) completeProvider(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	const directive = cobra.ShellCompDirectiveNoFileComp
	if len(args) > 0 || fromEnvironment(cmd.Flags()) != nil {
		return nil, directive
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completePatience)
	defer cancel()
	a.log = slog.New(slog.DiscardHandler)
	store, err := a.openStore(ctx)
	if err != nil {
		return nil, directive // nobody to tell
	}
	defer store.Close()
	list, err := store.ListProviders(ctx, "")
	if err != nil {
		return nil, directive
	}
	var names []cobra.Completion
	for _, p := range list {
		names = append(names, cobra.CompletionWithDesc(p.Name, p.Mailbox))
	}
	return names, directive
}

// completeFlagProvider is completeProvider for a flag, which takes one however
// many there are before.
func (a *app) completeFlagProvider(cmd *cobra.Command, _ []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completeProvider(cmd, nil, typed)
}
