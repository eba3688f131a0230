package verify

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestTestOnlyRequirements holds that what go.mod says is for tests alone is in no
// shipped binary, and that all that is not in one stands there.
func TestTestOnlyRequirements(t *testing.T) {
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	need(t, err)
	shipped, tests, found := strings.Cut(string(mod), "\n// Tests, demo, crash:")
	if !found {
		t.Fatal("go.mod has no block of requirements for tests")
	}
	out, err := output(root, nil, "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}", "./cmd/...")
	need(t, err)
	linked := strings.Fields(string(out))
	required := regexp.MustCompile(`(?m)^\t(\S+) v`)
	for _, m := range required.FindAllStringSubmatch(tests, -1) {
		if slices.Contains(linked, m[1]) {
			t.Errorf("%s is linked into the binary", m[1])
		}
	}
	for _, m := range required.FindAllStringSubmatch(shipped, -1) {
		if !slices.Contains(linked, m[1]) && m[1] != "github.com/inconshreveable/mousetrap" { // on Windows
			t.Errorf("%s is not linked into the binary: it stands with the requirements of tests", m[1])
		}
	}
}
