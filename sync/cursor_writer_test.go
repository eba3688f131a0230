package sync

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"imapsync/db"
)

// TestTheCursorHasOneWriter holds that the fields of a folder's row are written
// in cursor.go alone, so that all ways the cursor moves are read in one place.
func TestTheCursorHasOneWriter(t *testing.T) {
	fields := map[string]bool{}
	for f := range reflect.TypeFor[db.FolderState]().Fields() {
		fields[f.Name] = true
	}
	files, err := filepath.Glob("*.go")
	must(t, err)
	fset := token.NewFileSet()
	for _, name := range files {
		if name == "cursor.go" || strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, 0)
		must(t, err)
		written := func(e ast.Expr) {
			if sel, ok := e.(*ast.SelectorExpr); ok && fields[sel.Sel.Name] {
				t.Errorf("%s: %s is written; cursor.go alone does that", fset.Position(e.Pos()), sel.Sel.Name)
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
					t.Errorf("%s: a FolderState is made; cursor.go alone does that", fset.Position(n.Pos()))
				}
			}
			return true
		})
	}
}
