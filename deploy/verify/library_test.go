package verify

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestLibrary builds the consumer that README shows as README says: from outside,
// with the module beside it. What it links of ours is package event alone.
func TestLibrary(t *testing.T) {
	_, section, ok := strings.Cut(read(t, "README.md"), "\n## As a library\n")
	if !ok {
		t.Fatal("README.md has no section on how to use it as a library")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	commands, program := block(t, section, "sh norun"), block(t, section, "go")

	dir, err := filepath.EvalSymlinks(t.TempDir())
	need(t, err)
	here, err := filepath.Abs(root)
	need(t, err)
	need(t, os.Symlink(here, filepath.Join(dir, "imapsync")))
	dir = filepath.Join(dir, "tickets")
	need(t, os.Mkdir(dir, 0o755))
	need(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o644))
	for line := range strings.Lines(commands) {
		if line != "go mod tidy\n" { // it asks for the tests of what we depend on too
			need(t, run(dir, nil, strings.Fields(line)...))
		}
	}
	need(t, os.WriteFile(filepath.Join(dir, "go.sum"), []byte(read(t, "go.sum")), 0o644))
	env := []string{"GOFLAGS=-mod=mod"} // requirements are written down as go mod tidy would
	need(t, run(dir, env, "go", "vet", "."))
	need(t, run(dir, env, "go", "build", "-o", "tickets", "."))

	module := modulePath(t, root)
	for pkg, want := range map[string][]string{
		".":               {module + "/event"},
		module + "/parse": {module + "/parse", module + "/parse/tnef"},
	} {
		out, err := output(dir, env, "go", "list", "-deps", pkg)
		need(t, err)
		ours := slices.DeleteFunc(strings.Fields(string(out)), func(dep string) bool { return !strings.HasPrefix(dep, module+"/") })
		slices.Sort(ours)
		if !slices.Equal(ours, want) {
			t.Errorf("%s links of ours %v, want %v", pkg, ours, want)
		}
	}
}

// block is the one block of a kind in a text.
func block(t *testing.T, text, kind string) string {
	t.Helper()
	found := regexp.MustCompile("(?ms)^```"+kind+"\n(.*?)^```$").FindAllStringSubmatch(text, -1)
	if len(found) != 1 {
		t.Fatalf("%d blocks of %s", len(found), kind)
	}
	return found[0][1]
}
