package sync

import (
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"imapsync/db"
	"imapsync/internal/faulttest"
)

// TestTheCursorHasOneWriter holds that the fields of a folder's row are written
// in cursor.go, gap.go and numbering.go alone, here and above, so that all ways the cursor
// moves are read in one place.
func TestTheCursorHasOneWriter(t *testing.T) {
	fields := map[string]bool{}
	for f := range reflect.TypeFor[db.FolderState]().Fields() {
		fields[f.Name] = true
	}
	for _, dir := range []string{"sync", "provider", "cmd/imapsync", "web"} {
		fset, files := faulttest.Files(t, dir)
		for _, file := range files {
			if name := filepath.Base(fset.Position(file.Pos()).Filename); name == "cursor.go" || name == "gap.go" || name == "numbering.go" {
				continue
			}
			written := func(e ast.Expr) {
				if sel, ok := e.(*ast.SelectorExpr); ok && fields[sel.Sel.Name] {
					t.Errorf("%s: %s is written; sync/cursor.go, gap.go and numbering.go alone do that", fset.Position(e.Pos()), sel.Sel.Name)
				}
			}
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.AssignStmt:
					for _, e := range n.Lhs {
						written(e)
					}
				case *ast.IncDecStmt:
					written(n.X)
				case *ast.UnaryExpr:
					if n.Op == token.AND {
						written(n.X)
					}
				case *ast.CompositeLit:
					if sel, ok := n.Type.(*ast.SelectorExpr); ok && sel.Sel.Name == "FolderState" && len(n.Elts) > 0 {
						t.Errorf("%s: a FolderState is made; sync/cursor.go, gap.go and numbering.go alone do that", fset.Position(n.Pos()))
					}
				}
				return true
			})
		}
	}
}

// The doc comment of the package names each of its files.
func TestReadingOrderIsWhole(t *testing.T) {
	t.Parallel()
	run, err := os.ReadFile("run.go")
	must(t, err)
	doc, _, _ := strings.Cut(string(run), "\npackage sync")
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, file := range files {
		if !strings.HasSuffix(file, "_test.go") && !strings.Contains(doc, file) {
			t.Errorf("%s is not in the reading order", file)
		}
	}
}
