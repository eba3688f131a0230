package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestEveryNumberIsBounded gives every duration, count and size of every command
// a value below all sense. It is refused before anything is connected to: exit
// 64, and one line that names the flag, the value, and what is allowed.
func TestEveryNumberIsBounded(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	senseless := map[string]string{"duration": "-1s", "int": "-1", "int64": "-1", "uint16": "-1"}
	seen := 0
	try := func(path []string, f *pflag.Flag, value string) {
		t.Helper()
		args := append(slices.Clip(path), fmt.Sprintf("--%s=%s", f.Name, value))
		var out, diagnostics bytes.Buffer
		code := Main(args, strings.NewReader(""), &out, &diagnostics)
		said := diagnostics.String()
		if code != exitUsage || strings.Count(said, "\n") != 1 || !strings.Contains(said, "--"+f.Name) || !strings.Contains(said, value) {
			t.Errorf("%q: exit %d, want %d and one line naming flag and value:\n%s", args, code, exitUsage, said)
		}
		seen++
	}
	var walk func(cmd *cobra.Command, path []string)
	walk = func(cmd *cobra.Command, path []string) {
		for _, sub := range cmd.Commands() {
			walk(sub, append(slices.Clip(path), sub.Name()))
		}
		for _, word := range strings.Fields(cmd.Use)[1:] {
			switch word {
			case "PROVIDER":
				path = append(path, "somebody")
			case "ID":
				path = append(path, "7f3c9a52-0000-4000-8000-000000000001")
			case "--since":
				path = append(path, "--since=30d")
			}
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if _, ok := f.Value.(*textValue); ok {
				return // checked with all else of a provider, and told by its own test
			}
			if value, ok := senseless[f.Value.Type()]; ok {
				try(path, f, value)
			}
		})
	}
	walk(newRoot(&app{}), nil)
	if seen < 35 {
		t.Errorf("only %d flags were tried", seen)
	}
}

// Where zero means nothing, it is refused too; where it has a meaning, what lies
// between it and the least is.
func TestBounds(t *testing.T) {
	t.Setenv("DATABASE_URL", "")
	for _, tt := range []struct{ args, want string }{
		{"run --workers=0", "--workers 0: at least 1"},
		{"run --pass-timeout=-5s", "--pass-timeout -5s: 0, or at least 100ms"},
		{"run --connect-timeout=10ms", "--connect-timeout 10ms: 0, or at least 100ms"},
		{"run --repeat=500ms --for=55s", "--repeat 500ms: at least 1s, or leave it out"},
		{"run --max-message-bytes=0", "--max-message-bytes 0: at least 1"},
		{"run --watch-interval=999ms", "--watch-interval 999ms: at least 1s"},
		{"run --max-watched=12001", "--max-watched 12001: 1 to 12000"},
		{"run --publish-timeout=0s", "--publish-timeout 0s: at least 1s"},
		{"backfill p --since=3d --max-attachments=0", "--max-attachments 0: at least 1"},
		{"verify --since=0s", `--since: "0s" is neither a time ago like 30d or 48h nor a date like 2026-01-31`},
		{"backfill p --since=3d --command-timeout=1ms", "--command-timeout 1ms: 0, or at least 100ms"},
		{"reconcile p --literal-timeout=1ms", "--literal-timeout 1ms: 0, or at least 100ms"},
		{"verify --connect-timeout=1ms", "--connect-timeout 1ms: 0, or at least 100ms"},
		{"verify --max-raw-mime-bytes=0", "--max-raw-mime-bytes 0: at least 1"},
		{"runs --limit=0", "--limit 0: at least 1"},
		{"runs --since=-1h", `--since: "-1h" is neither a time ago like 30d or 48h nor a date like 2026-01-31`},
		{"audit --limit=0", "--limit 0: at least 1"},
		{"quarantine list --limit=0", "--limit 0: at least 1"},
		{"maintain --keep-runs=1h", "--keep-runs 1h0m0s: 0, or at least 24h0m0s"},
		{"maintain --keep-ledger=24h", "--keep-ledger 24h0m0s: 0, or at least 720h0m0s"},
		{"provider auth p --timeout=0s", "--timeout 0s: at least 1ms"},
		{"events tail --idle=-1s", "--idle -1s: 0, or at least 1ms"},
		{"events tail --count=-1", "--count -1: at least 0"},
	} {
		var out, diagnostics bytes.Buffer
		code := Main(strings.Fields(tt.args), strings.NewReader(""), &out, &diagnostics)
		if got := strings.TrimSpace(diagnostics.String()); code != exitUsage || got != "imapsync: "+tt.want {
			t.Errorf("%s: exit %d, %q; want %d, %q", tt.args, code, got, exitUsage, tt.want)
		}
	}
}
