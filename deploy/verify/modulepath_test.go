package verify

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestModulePath renames the module in a copy of the tree, twice: nothing of the
// old path is left, and it builds under the new one.
func TestModulePath(t *testing.T) {
	dir := t.TempDir()
	copyTree(t, dir)
	old := modulePath(t, dir)
	for _, path := range []string{"git.example.org/mail/imapsync", "example.com/other/mail-sync"} {
		need(t, run(dir, nil, "make", "module-path", "PATH="+path))
		if got := modulePath(t, dir); got != path {
			t.Fatalf("the module is %s, want %s", got, path)
		}
		checkNoImport(t, dir, old)
		old = path
	}
	need(t, run(dir, nil, "make", "module-path", "PATH="+old)) // it has that path already
	need(t, run(dir, nil, "go", "build", "./..."))
	need(t, run(dir, nil, "go", "vet", "./..."))
	if out, err := output(dir, nil, "go", "fmt", "./..."); err != nil || len(out) > 0 {
		t.Errorf("not formatted after it: %s (%v)", out, err)
	}
	for _, module := range modules(t, dir) {
		need(t, run(module, nil, "go", "list", "-deps", "-test", "./..."))
	}
	for _, path := range []string{"", "imapsync", "host/owner/imap sync", "-x"} {
		if out, err := output(dir, nil, "make", "module-path", "PATH="+path); err == nil || !strings.Contains(string(out), "not the path of a module") {
			t.Errorf("PATH=%s: %s (%v)", path, out, err)
		}
	}
	if out, err := output(dir, nil, "make", "module-path"); err == nil {
		t.Errorf("without a path: %s", out)
	}
}

// copyTree copies the tree, without what git and builds keep beside it.
func copyTree(t *testing.T, dir string) {
	t.Helper()
	need(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if rel == ".git" || rel == "bin" || d.Name() == "node_modules" {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(dir, rel), 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, rel), data, 0o644)
	}))
}

func modulePath(t *testing.T, dir string) string {
	t.Helper()
	out, err := output(dir, nil, "go", "list", "-m")
	need(t, err)
	return strings.TrimSpace(string(out))
}

// modules are the folders of the modules beside the product.
func modules(t *testing.T, dir string) (dirs []string) {
	t.Helper()
	for _, pattern := range []string{"*/go.mod", "*/*/go.mod"} {
		files, err := filepath.Glob(filepath.Join(dir, pattern))
		need(t, err)
		for _, file := range files {
			if !strings.HasPrefix(file, filepath.Join(dir, "internal/tools")) { // it holds no package
				dirs = append(dirs, filepath.Dir(file))
			}
		}
	}
	if len(dirs) < 3 {
		t.Fatalf("modules: %v", dirs)
	}
	return dirs
}

// checkNoImport looks for imports, requirements and layers under the old path.
func checkNoImport(t *testing.T, dir, old string) {
	t.Helper()
	named := regexp.MustCompile(`(?m)(^|[\s\["])` + regexp.QuoteMeta(old) + `(/(event|sync|db|internal)\b|\]| v0| =>|$)`)
	need(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || d.IsDir():
			return err
		case strings.HasSuffix(path, ".go"):
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
			if err != nil {
				return err
			}
			for _, i := range file.Imports {
				if name := strings.Trim(i.Path.Value, `"`); name == old || strings.HasPrefix(name, old+"/") {
					t.Errorf("%s imports %s", path, name)
				}
			}
		case d.Name() == "go.mod" || d.Name() == ".golangci.yaml":
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if left := named.Find(data); left != nil {
				t.Errorf("%s still has %q", path, left)
			}
		}
		return nil
	}))
}
