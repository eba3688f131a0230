// Package faulttest finds the codes of errors in the source, for the tests of
// the tables of words.
package faulttest

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

	"imapsync/internal/fault"
	"imapsync/internal/imapsession"
)

// Packages are those that make errors for the faces to word: all below cmd and
// web that know a database, a broker or a server. They are paths from the root
// of the module.
func Packages(t testing.TB) []string {
	t.Helper()
	var found []string
	for _, dir := range []string{"db", "event", "internal/imapsession", "internal/imapwire", "internal/netrule", "oauth", "parse", "parse/tnef",
		"provider", "publish", "secret", "sync"} {
		if _, err := os.Stat(filepath.Join(root(t), dir)); err == nil {
			found = append(found, dir)
		}
	}
	if len(found) < 6 {
		t.Fatalf("only %v: the list of packages is out of date", found)
	}
	return found
}

// Files parses the files of a package that ship.
func Files(t testing.TB, dir string) (*token.FileSet, []*ast.File) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(root(t), dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return set, files
}

// root is the root of the module.
func root(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			return dir
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	t.Fatal("no go.mod above the test")
	return ""
}

// classes are the names that stand before a code in the source.
var classes = map[string]fault.Class{
	"Ours": fault.Ours, "Transient": fault.Transient, "Auth": fault.Auth, "Config": fault.Config, "Message": fault.Message, "Bug": fault.Bug,
	"Unavailable": fault.Transient, "Refused": fault.Auth, "Wrong": fault.Config,
	"StepWarn": unsaid, "StepWrong": unsaid,
}

// unsaid is the class of a step's code, which says only what there is to do: an
// error may have the code too, and a class.
const unsaid fault.Class = "unsaid"

// makers are the functions that are given a code, and as which argument.
var makers = map[string]struct {
	class  fault.Class
	arg    int
	method bool
}{
	"ours": {class: fault.Ours}, "transient": {class: fault.Transient}, "config": {class: fault.Config}, "wrong": {class: fault.Config},
	"warn": {fault.Transient, 1, true}, "add": {fault.Config, 1, false}, // steps of a diagnosis, problems of a stream
}

var code = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)

// Codes are the codes that errors are made with, by their class: those of
// package imapsession, and each literal that stands behind a class, is given to
// one of makers or to something called Code.
func Codes(t testing.TB) map[string]fault.Class {
	t.Helper()
	codes := imapsession.Codes()
	for _, dir := range Packages(t) {
		for code, class := range codesIn(t, dir) {
			if codes[code] == "" || codes[code] == unsaid {
				codes[code] = class
			}
		}
	}
	for code, class := range codes {
		if class == unsaid {
			codes[code] = fault.Config
		}
	}
	return codes
}

// CheckWords fails the test where an error is made with a code that no row of
// words names, and where a row names one that nothing makes. More are those that
// errors have by other means: the words of a token endpoint, and credentials.
func CheckWords(t testing.TB, words fault.Words, more ...string) {
	t.Helper()
	codes := Codes(t)
	for code := range codes {
		if !words.Names(code) {
			t.Errorf("%s: no row names it", code)
		}
	}
	for _, word := range words {
		for code := range strings.FieldsSeq(word.Codes) {
			if codes[code] == "" && !slices.Contains(more, code) {
				t.Errorf("%s: nothing makes it", code)
			}
		}
	}
}

func codesIn(t testing.TB, dir string) map[string]fault.Class {
	t.Helper()
	codes := map[string]fault.Class{}
	found := func(class fault.Class, e ast.Expr) {
		lit, ok := e.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			return
		}
		if text, err := strconv.Unquote(lit.Value); err == nil && code.MatchString(text) && codes[text] == "" {
			codes[text] = class
		}
	}
	row := func(list []ast.Expr) {
		for i := range len(list) - 1 {
			if class, ok := classes[nameOf(list[i])]; ok {
				found(class, list[i+1])
			}
		}
	}
	_, files := Files(t, dir)
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				row(n.Args)
				_, method := n.Fun.(*ast.SelectorExpr)
				if made, ok := makers[nameOf(n.Fun)]; ok && method == made.method && len(n.Args) > 1 {
					found(made.class, n.Args[made.arg])
				}
			case *ast.CompositeLit:
				row(n.Elts)
				class := fault.Transient
				for _, e := range n.Elts {
					pair, keyed := e.(*ast.KeyValueExpr)
					if !keyed {
						continue
					}
					if named, ok := classes[nameOf(pair.Value)]; ok {
						class = named
					}
					if nameOf(pair.Key) == "Code" {
						found(class, pair.Value)
					}
				}
			case *ast.ReturnStmt:
				row(n.Results)
			case *ast.AssignStmt:
				row(n.Rhs)
				for i := range min(len(n.Lhs), len(n.Rhs)) {
					if nameOf(n.Lhs[i]) == "Code" {
						found(fault.Transient, n.Rhs[i])
					}
				}
			}
			return true
		})
	}
	return codes
}

// nameOf is the last name of an identifier or a selector.
func nameOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}
