package main

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
)

func newMigrate(a *app) *cobra.Command {
	var dryRun bool
	var output string
	up := func(cmd *cobra.Command, _ []string) error {
		opts, err := a.dbOptions()
		if err != nil {
			return err
		}
		if dryRun {
			return a.migrationStatus(cmd, opts, output, true)
		}
		applied, err := db.Migrate(cmd.Context(), opts, a.log)
		if err != nil {
			return err
		}
		if output == "json" {
			return a.printJSON(append([]db.Migration{}, applied...))
		}
		for _, m := range applied {
			a.printf("applied %s\n", m.Name)
		}
		if len(applied) == 0 {
			a.printf("nothing to do: the schema is up to date\n")
		}
		return nil
	}
	cmd := &cobra.Command{
		Use: "migrate", Short: "Bring the database schema to this version", Args: noArgs, RunE: up,
		Long: "Bring the database schema to this version. `run` never does it: it exits 76 when\nthe schema does not fit. Several may run at once; one works, the others wait.",
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "list what would be applied")
	outputFlag(cmd, &output)
	upCmd := &cobra.Command{Use: "up", Short: "Apply what is pending (the default)", Args: noArgs, RunE: up}
	upCmd.Flags().BoolVar(&dryRun, "dry-run", false, "list what would be applied")
	outputFlag(upCmd, &output)
	status := &cobra.Command{
		Use: "status", Short: "List the migrations and when each was applied", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts, err := a.dbOptions()
			if err != nil {
				return err
			}
			return a.migrationStatus(cmd, opts, output, false)
		},
	}
	outputFlag(status, &output)
	cmd.AddCommand(upCmd, status)
	return cmd
}

func (a *app) migrationStatus(cmd *cobra.Command, opts db.Options, output string, pendingOnly bool) error {
	list, err := db.MigrationStatus(cmd.Context(), opts)
	if err != nil {
		return err
	}
	if pendingOnly {
		var pending []db.Migration
		for _, m := range list {
			if m.AppliedAt.IsZero() {
				pending = append(pending, m)
			}
		}
		list = pending
	}
	if output == "json" {
		return a.printJSON(append([]db.Migration{}, list...))
	}
	for _, m := range list {
		when := "pending"
		if !m.AppliedAt.IsZero() {
			when = m.AppliedAt.Format(time.RFC3339)
		}
		a.printf("%-30s %s\n", m.Name, when)
	}
	if len(list) == 0 {
		a.printf("nothing to do: the schema is up to date\n")
	}
	return nil
}

// outputFlag adds -o, with what it may be.
func outputFlag(cmd *cobra.Command, output *string, more ...string) {
	formatFlag(cmd, output, append([]string{"text", "json"}, more...)...)
}

// formatFlag adds -o with these formats, the first if it is not given.
func formatFlag(cmd *cobra.Command, output *string, formats ...string) {
	choice := formats[len(formats)-1]
	if len(formats) > 1 {
		choice = strings.Join(formats[:len(formats)-1], ", ") + " or " + choice
	}
	cmd.Flags().StringVarP(output, "output", "o", formats[0], choice)
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	previous := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if !slices.Contains(formats, *output) {
			return usageError("-o %q: use %s", *output, choice)
		}
		if previous != nil {
			return previous(cmd, args)
		}
		return nil
	}
}

// printJSON writes v as indented JSON.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
