package main

import (
	"runtime"
	"runtime/debug"
	"time"

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

// commitTime is when the commit was made that the build recorded; nil if none was.
func commitTime() *time.Time {
	info, _ := debug.ReadBuildInfo()
	if info == nil {
		return nil
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			if t, err := time.Parse(time.RFC3339, s.Value); err == nil {
				return &t
			}
		}
	}
	return nil
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
