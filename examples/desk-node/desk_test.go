// Package desknode tests the ticket desk in desk.js.
package desknode

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"imapsync/internal/devenv"
	"imapsync/internal/mailroom"
)

func TestDesk(t *testing.T) {
	node, npm := devenv.TestProgram(t, "node", "nodejs"), devenv.TestProgram(t, "npm", "npm")
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "desk.js"} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	install := exec.CommandContext(t.Context(), npm, "ci", "--prefer-offline", "--no-audit", "--no-fund")
	install.Dir = dir
	if output, err := install.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v\n%s", err, output)
	}
	mailroom.Desk(t, node, filepath.Join(dir, "desk.js"))
}
