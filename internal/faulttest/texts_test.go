package faulttest

import (
	"go/ast"
	"go/token"
	"regexp"
	"strings"
	"testing"
)

var (
	// flagOrCommand is what only the command line may say. An option stands
	// behind a blank or an opening quote; "-----BEGIN" and "xn--" do not.
	flagOrCommand = regexp.MustCompile("(?:^|[\\s\"'`(])--[a-z]|`[a-z]+ [a-z]|\\bimapsync (?:" +
		`audit|backfill|blob|completion|doctor|events|exporter|maintain|man|migrate|parse|provider|quarantine|reconcile|run|runs|secret|status|trace|verify|version|web)\b` +
		`|\bchmod \d`)
	// label is how the pages write a label or a button, and nobody else but
	// those whose mail is parsed.
	label = regexp.MustCompile(`[“”]`)
)

// Below the faces no text names a flag, a command line or a label: what to do
// about an error is a face's to say. A variable of the environment may be named
// where it is the setting's only name, as those of credentials are.
func TestNoTextBelowTheFacesSaysWhatToType(t *testing.T) {
	for _, text := range []string{"use --tls implicit", "--port", "run `imapsync migrate`: x", "see imapsync doctor", "run: chmod 600 x"} {
		if !flagOrCommand.MatchString(text) {
			t.Errorf("%q passes", text)
		}
	}
	for _, dir := range Packages(t) {
		set, files := Files(t, dir)
		for _, file := range files {
			ast.Inspect(file, func(n ast.Node) bool {
				lit, ok := n.(*ast.BasicLit)
				if !ok || lit.Kind != token.STRING {
					return true
				}
				if inner := strings.Trim(lit.Value, "`\""); flagOrCommand.MatchString(inner) || label.MatchString(inner) && !strings.HasPrefix(dir, "parse") {
					t.Errorf("%s: %s", set.Position(lit.Pos()), lit.Value)
				}
				return true
			})
		}
	}
}
