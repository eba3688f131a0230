package sync

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestOneClock holds that the job tells the time and waits by the clock that it
// is given, so that a test may give it another: package time is asked in one
// place, here and in the sessions.
func TestOneClock(t *testing.T) {
	asks := map[string]bool{
		"Now": true, "Since": true, "Until": true, "After": true, "AfterFunc": true, "Tick": true,
		"NewTimer": true, "NewTicker": true, "Sleep": true,
	}
	for _, place := range []struct {
		dir     string
		allowed map[string]bool // file and function of package time
	}{
		{".", map[string]bool{"clock.go Now": true, "clock.go After": true}},
		// What is waited for there is a server's answer, not a policy.
		{"../internal/imapsession", map[string]bool{"dial.go Now": true, "session.go After": true, "fetch.go After": true}},
	} {
		files, err := filepath.Glob(filepath.Join(place.dir, "*.go"))
		must(t, err)
		if len(files) == 0 {
			t.Errorf("no files in %s", place.dir)
		}
		fset := token.NewFileSet()
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(fset, name, nil, 0)
			must(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				sel, ok := n.(*ast.SelectorExpr)
				if !ok || !asks[sel.Sel.Name] {
					return true
				}
				if pkg, ok := sel.X.(*ast.Ident); ok && pkg.Name == "time" && !place.allowed[filepath.Base(name)+" "+sel.Sel.Name] {
					t.Errorf("%s: time.%s: ask the clock", fset.Position(n.Pos()), sel.Sel.Name)
				}
				return true
			})
		}
	}
}
