package lifecycle

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// No other package compares generations or poll numbers.
func TestOnlyThisPackageComparesGenerations(t *testing.T) {
	files := 0
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && path == filepath.Join("..", "..", "schema", "lifecycle") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		files++
		set := token.NewFileSet()
		f, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if compares(n) {
				t.Errorf("%s compares generations or poll numbers", set.Position(n.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil || files < 50 {
		t.Fatalf("%d files read (%v), want at least 50", files, err)
	}
}

// compares reports whether a node compares a field Generation or Number.
func compares(n ast.Node) bool {
	named := func(e ast.Expr, names ...string) bool {
		s, ok := e.(*ast.SelectorExpr)
		return ok && slices.Contains(names, s.Sel.Name)
	}
	switch n := n.(type) {
	case *ast.CallExpr: // x.Generation.After(y), y.After(x.Generation)
		method, ok := n.Fun.(*ast.SelectorExpr)
		if !ok || !slices.Contains([]string{"After", "Before", "Equal", "Compare", "Sub"}, method.Sel.Name) {
			return false
		}
		if named(method.X, "Generation") {
			return true
		}
		// Computing an age is not a comparison.
		return method.Sel.Name != "Sub" &&
			slices.ContainsFunc(n.Args, func(e ast.Expr) bool { return named(e, "Generation") })
	case *ast.BinaryExpr:
		comparison := []token.Token{token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ}
		return slices.Contains(comparison, n.Op) &&
			(named(n.X, "Generation", "Number") || named(n.Y, "Generation", "Number"))
	}
	return false
}
