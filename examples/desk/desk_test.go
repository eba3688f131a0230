package main

import (
	"os/exec"
	"path/filepath"
	"testing"

	"imapsync/internal/mailroom"
)

func TestDesk(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "desk")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	mailroom.Desk(t, binary)
}
