package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// documents are what people read, by their path from the root of the tree.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	root := os.DirFS("../..")
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*.md", "examples/*/*.md", "deploy/*/*.md"} {
		paths, err := fs.Glob(root, pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			data, err := fs.ReadFile(root, path)
			if err != nil {
				t.Fatal(err)
			}
			texts[path] = string(data)
		}
	}
	if len(texts) < 15 {
		t.Fatalf("only %d documents", len(texts))
	}
	return texts
}

var fence = regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")

// spans are the words in backticks, those of blocks left out.
func spans(text string) (list []string) {
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		list = append(list, strings.Join(strings.Fields(m[1]), " "))
	}
	return list
}

// shellWords splits a line of shell as far as documents need it; what parts two
// commands is a word of its own.
func shellWords(line string) []string {
	var list []string
	for _, m := range regexp.MustCompile(`'[^']*'|"[^"]*"|#.*|\$\(|&&|\|\||[|;()]|[^\s|;()'"]+`).FindAllString(line, -1) {
		if strings.HasPrefix(m, "#") {
			break
		}
		list = append(list, m)
	}
	return list
}

// commandsIn are the arguments of each `imapsync` in a line of shell.
func commandsIn(line string) (list [][]string) {
	var args []string
	inside := false
	for _, word := range append(shellWords(line), ";") {
		switch {
		case slices.Contains([]string{"&&", "||", "|", ";", "(", ")", "$("}, word), inside && (word[0] == '<' || word[0] == '>'):
			if inside {
				list = append(list, args)
			}
			inside, args = false, nil
		case inside && word != "…":
			if word == "ID" {
				word = "648edc4d-8eb8-47b8-b465-b57bd497620d"
			}
			args = append(args, strings.Trim(word, `'"`))
		case strings.TrimPrefix(strings.TrimPrefix(word, "ExecStart="), "/usr/local/bin/") == "imapsync":
			inside = true
		}
	}
	return list
}

// wrong says what of a command does not exist. One that only names a command
// need not have its arguments.
func wrong(args []string, named bool) error {
	root := newRoot(&app{})
	root.InitDefaultCompletionCmd()
	root.InitDefaultHelpCmd()
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	cmd.InitDefaultHelpFlag()
	err = cmd.ParseFlags(rest)
	if _, bare := errors.AsType[*pflag.ValueRequiredError](err); bare && named {
		return nil
	}
	if err != nil {
		return err
	}
	if help := cmd.Flags().Lookup("help"); help.Changed || named && cmd.Flags().NArg() == 0 {
		return nil
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

// Every `imapsync …` of every document, and of the alert rules, is a command
// that exists, with flags that exist and values that they take.
func TestDocumentedCommands(t *testing.T) {
	texts := documents(t)
	alerts, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	texts["deploy/prometheus/alerts.yaml"] = regexp.MustCompile(`\{\{[^}]*\}\}`).ReplaceAllString(string(alerts), "X")
	n := 0
	check := func(path, line string, named bool) {
		for _, args := range commandsIn(line) {
			n++
			if err := wrong(args, named); err != nil {
				t.Errorf("%s: imapsync %s: %v", path, strings.Join(args, " "), err)
			}
		}
	}
	for path, text := range texts {
		for _, block := range fence.FindAllStringSubmatch(text, -1) {
			if block[1] == "json" || block[1] == "go" {
				continue
			}
			for line := range strings.SplitSeq(strings.ReplaceAll(block[2], "\\\n", " "), "\n") {
				if block[1] == "crontab" {
					line = regexp.MustCompile(`^(\S+\s+){6}`).ReplaceAllString(line, "") // when, and who
				}
				check(path, line, false)
			}
		}
		for _, span := range spans(text) {
			if span == "imapsync" || strings.HasPrefix(span, "imapsync ") {
				check(path, span, true)
			}
		}
	}
	if n < 100 {
		t.Errorf("only %d commands were found", n)
	}
	for _, bad := range []string{"imapsync sync", "imapsync run --fast", "imapsync provider forget x", "imapsync run --workers many"} {
		for _, args := range commandsIn(bad) {
			if wrong(args, false) == nil {
				t.Errorf("%s was found in order", bad)
			}
		}
	}
}

// flagsOf are all flags of all commands.
func flagsOf(cmd *cobra.Command) (names []string) {
	add := func(f *pflag.Flag) { names = append(names, f.Name) }
	cmd.PersistentFlags().VisitAll(add)
	cmd.Flags().VisitAll(add)
	for _, sub := range cmd.Commands() {
		names = append(names, flagsOf(sub)...)
	}
	return names
}

// Every flag in backticks is one of some command's, and every variable is read
// by something.
func TestDocumentedFlagsAndVariables(t *testing.T) {
	flags := append(flagsOf(newRoot(&app{})), "help")
	known := map[string]bool{"CREDENTIALS_DIRECTORY": true}
	for _, flag := range flags {
		known[environmentName(flag)] = true
	}
	variable := regexp.MustCompile(`\b(?:IMAPSYNC|VAULT|NATS|DATABASE|LOCK|REDIS|CREDENTIALS)_[A-Z][A-Z0-9_]*[A-Z0-9]\b`)
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			if err == nil && slices.Contains([]string{".git", "node_modules", "testdata"}, d.Name()) {
				return fs.SkipDir
			}
			return err
		}
		if ext := filepath.Ext(path); strings.HasSuffix(path, "_test.go") || ext != ".go" && ext != ".js" {
			return nil
		}
		data, err := os.ReadFile(path)
		for _, name := range variable.FindAllString(string(data), -1) {
			known[name] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range documents(t) {
		for _, span := range spans(text) {
			for word := range strings.FieldsSeq(span) {
				name, ok := strings.CutPrefix(word, "--")
				if name, _, _ = strings.Cut(name, "="); ok && strings.HasPrefix(span, "--") && !slices.Contains(flags, name) {
					t.Errorf("%s: no command has the flag --%s", path, name)
				}
			}
		}
		for _, name := range variable.FindAllString(text, -1) {
			if !known[name] {
				t.Errorf("%s: nothing reads the variable %s", path, name)
			}
		}
	}
}

// slug is the anchor that a heading has on the usual sites.
func slug(heading string) string {
	heading = strings.ToLower(strings.ReplaceAll(heading, "`", ""))
	heading = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(heading, "")
	return strings.ReplaceAll(strings.TrimSpace(heading), " ", "-")
}

// Every link within the tree leads somewhere.
func TestDocumentedLinks(t *testing.T) {
	texts := documents(t)
	anchors := map[string]map[string]bool{}
	for path, text := range texts {
		anchors[path] = map[string]bool{}
		for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			anchors[path][slug(m[1])] = true
		}
	}
	for path, text := range texts {
		for _, m := range regexp.MustCompile(`\]\(([^)\s]+)\)`).FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") || strings.HasPrefix(m[1], "mailto:") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(filepath.Join("../..", target)); err != nil {
				t.Errorf("%s: %s leads nowhere", path, m[1])
			} else if anchor != "" && !anchors[target][anchor] {
				t.Errorf("%s: %s has no heading %q", path, target, anchor)
			}
		}
	}
	for path := range texts {
		if dir, name := filepath.Split(path); dir == "docs/" && name != "README.md" && !strings.Contains(texts["docs/README.md"], "]("+name+")") {
			t.Errorf("docs/README.md does not lead to %s", name)
		}
	}
}

// Each alert has its section in docs/operations.md: what is seen, what stands
// in the log, what to do; and there is no other.
func TestDocumentedAlerts(t *testing.T) {
	rules, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	texts := documents(t)
	sections := map[string]string{}
	for _, part := range strings.Split(texts["docs/operations.md"], "\n### ")[1:] {
		name, body, _ := strings.Cut(part, "\n")
		body, _, _ = strings.Cut(body, "\n## ")
		if strings.HasPrefix(name, "Imapsync") {
			sections[name] = body
		}
	}
	events := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| (?:debug|info|warn|error)").FindAllStringSubmatch(texts["docs/operations.md"], -1) {
		events[m[1]] = true
	}
	for _, m := range regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		body, ok := sections[m[1]]
		if !ok {
			t.Errorf("docs/operations.md has no section %s", m[1])
			continue
		}
		delete(sections, m[1])
		logged := regexp.MustCompile(`(?s)\*\*Symptom\.\*\* .+\*\*Log\.\*\* (.+)\*\*Action\.\*\* .+`).FindStringSubmatch(body)
		if logged == nil {
			t.Errorf("docs/operations.md, %s: Symptom, Log and Action are not all there, in this order", m[1])
			continue
		}
		for _, event := range regexp.MustCompile("`([a-z]+_[a-z_]+)`").FindAllStringSubmatch(logged[1], -1) {
			if !events[event[1]] {
				t.Errorf("docs/operations.md, %s: nothing logs %s", m[1], event[1])
			}
		}
	}
	for name := range sections {
		t.Errorf("docs/operations.md has a section %s, which is no alert", name)
	}
}
