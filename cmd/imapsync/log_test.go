package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Every fact has one name, which docs/operations.md lists with its level; names and
// keys are constant and in snake_case.
func TestLogEvents(t *testing.T) {
	word := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	got := map[string][]string{} // event → levels
	for _, pkg := range []string{"cmd/imapsync", "db", "event", "internal/imapsession", "internal/imapwire", "internal/observe", "oauth", "provider", "publish", "secret", "sync", "web"} {
		files, err := filepath.Glob("../../" + pkg + "/*.go")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			fset := token.NewFileSet()
			file, err := parser.ParseFile(fset, path, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				method, ok := logCall(call)
				if !ok {
					return true
				}
				where := fset.Position(call.Pos())
				args := call.Args
				if method == "Log" {
					args = args[2:]
				}
				if method != "With" {
					name, ok := text(args[0])
					if !ok || !word.MatchString(name) {
						t.Errorf("%s: the message is not a constant in snake_case", where)
					}
					if level := strings.ToLower(method); !slices.Contains(got[name], level) {
						got[name] = append(got[name], level)
					}
					args = args[1:]
				}
				for i := 0; i < len(args) && call.Ellipsis == token.NoPos; i += 2 {
					if key, ok := text(args[i]); !ok || !word.MatchString(key) {
						t.Errorf("%s: key %d is not a constant in snake_case", where, i/2+1)
					}
				}
				return true
			})
		}
	}
	if len(got) < 30 {
		t.Fatalf("only %d events found", len(got))
	}
	data, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| ((?:debug|info|warn|error)(?:, (?:warn|error))?) \\|").FindAllStringSubmatch(string(data), -1) {
		listed[row[1]] = true
		switch levels := got[row[1]]; {
		case levels == nil:
			t.Errorf("docs/operations.md lists %s, which nothing logs", row[1])
		case levels[0] != "log" && row[2] != levels[0]:
			t.Errorf("%s is logged at %v, docs/operations.md says %s", row[1], levels, row[2])
		}
	}
	for name, levels := range got {
		if !listed[name] {
			t.Errorf("docs/operations.md does not list %s (%v)", name, levels)
		}
		if len(levels) != 1 {
			t.Errorf("%s is logged at %v: one level a fact", name, levels)
		}
	}
}

// logCall recognises a call of a method of a *slog.Logger by the logger's name.
func logCall(call *ast.CallExpr) (method string, ok bool) {
	sel, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || !slices.Contains([]string{"Debug", "Info", "Warn", "Error", "Log", "With"}, sel.Sel.Name) || len(call.Args) == 0 {
		return "", false
	}
	receiver := ""
	switch x := sel.X.(type) {
	case *ast.Ident:
		receiver = x.Name
	case *ast.SelectorExpr:
		receiver = x.Sel.Name
	}
	return sel.Sel.Name, strings.EqualFold(receiver, "log") || strings.EqualFold(receiver, "logger")
}

func text(e ast.Expr) (string, bool) {
	lit, ok := e.(*ast.BasicLit)
	if !ok || lit.Kind != token.STRING {
		return "", false
	}
	s, err := strconv.Unquote(lit.Value)
	return s, err == nil
}
