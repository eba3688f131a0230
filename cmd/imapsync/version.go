package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"imapsync/db"
)

// version is what the build recorded: a tag, or the commit.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel-" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}

func newVersion(a *app) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			schema, err := db.BinaryVersion()
			if err != nil {
				return err
			}
			if output == "json" {
				return a.printJSON(map[string]any{"version": version(), "go": runtime.Version(), "schema": schema})
			}
			a.printf("imapsync %s (%s, schema %d)\n", version(), runtime.Version(), schema)
			return nil
		},
	}
	outputFlag(cmd, &output)
	return cmd
}
