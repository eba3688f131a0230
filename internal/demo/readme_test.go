package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"imapsync/event"
	"imapsync/internal/contract"
)

// The commands of the README and of docs/ are run as printed. Of their code
// blocks those that begin with ```sh are, in their order and in one shell, from
// the root of the tree, the README's first; ```sh norun sets what differs from
// one reader to the next, which here are servers of the test's own; ```console
// shows what is not to be run. That commands which are not run exist is for
// cmd/imapsync to test.

// docs are the documents that have commands to run, as they are to be run.
func docs(t *testing.T) []string {
	t.Helper()
	paths, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(paths) < 10 {
		t.Fatalf("%v: %d documents", err, len(paths))
	}
	return append([]string{"../../README.md"}, paths...)
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readme returns the README.
func readme(t *testing.T) string {
	t.Helper()
	return read(t, "../../README.md")
}

// blocks returns the code blocks that begin with the words after ```.
func blocks(text, words string) []string {
	var list []string
	for _, m := range regexp.MustCompile("(?ms)^```"+regexp.QuoteMeta(words)+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		list = append(list, m[1])
	}
	return list
}

// No block escapes the test by a word it does not know.
func TestBlocks(t *testing.T) {
	known := []string{"", "sh", "sh norun", "console", "json", "crontab", "ini", "go", "sql", "powershell"}
	for _, path := range docs(t) {
		for i, m := range regexp.MustCompile("(?m)^```(.*)$").FindAllStringSubmatch(read(t, path), -1) {
			if i%2 == 0 && !slices.Contains(known, m[1]) || i%2 == 1 && m[1] != "" {
				t.Errorf("%s: a block begins with ```%s", path, m[1])
			}
		}
	}
}

func TestCommands(t *testing.T) {
	ownTemp(t)
	var output bytes.Buffer
	p, err := open(t.Context(), &printer{w: &output})
	need(t, err)
	if err != nil {
		t.Fatalf("%v\n%s", err, output.String())
	}
	defer func() {
		if err := p.close(); err != nil {
			t.Error(err)
		}
	}()
	if err := p.dovecot.AddUser("you@example.org", "geheim"); err != nil {
		t.Fatal(err)
	}
	var mails [][]byte
	for _, m := range sixty()[:20] {
		mails = append(mails, m.raw)
	}
	if err := p.dovecot.Deliver("you@example.org", inbox, mails...); err != nil {
		t.Fatal(err)
	}
	password := filepath.Join(p.dir, "mail-password")
	if err := os.WriteFile(password, []byte("geheim\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	reader := append(p.environment(), [][2]string{{"MAIL_HOST", p.dovecot.Host}, {"MAIL_USER", "you@example.org"}, {"MAIL_PASSWORD_FILE", password}}...)

	text := readme(t)
	var script strings.Builder
	script.WriteString("set -eu\n")
	for _, block := range blocks(text, "sh norun") {
		for _, m := range regexp.MustCompile(`([A-Z_]+)=`).FindAllStringSubmatch(block, -1) {
			if !slices.ContainsFunc(reader, func(v [2]string) bool { return v[0] == m[1] }) {
				t.Errorf("the README asks for %s, which this test does not set", m[1])
			}
		}
	}
	for _, path := range docs(t) {
		script.WriteString("echo 'commands of " + path + "'\n")
		for _, block := range blocks(read(t, path), "sh") {
			script.WriteString("set -x\n" + block + "{ set +x; } 2>/dev/null\n")
		}
	}

	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", script.String())
	cmd.Dir = "../.."
	cmd.Env = p.command(t.Context()).Env
	bin := filepath.Dir(p.binary)
	for _, v := range append(reader, [][2]string{
		{"GOBIN", bin}, {"PATH", bin + ":" + os.Getenv("PATH")},
		// What a server on the Internet does not need.
		{"IMAPSYNC_CA_FILE", p.dovecot.CAFile}, {"IMAPSYNC_PORT", strconv.Itoa(p.dovecot.TLSPort)},
	}...) {
		cmd.Env = append(cmd.Env, v[0]+"="+v[1])
	}
	result, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, result)
	}
	t.Logf("%s", result)
	for _, want := range []string{"you@example.org", "Lamp flickers since Monday"} {
		if !strings.Contains(string(result), want) {
			t.Errorf("no %q in what the commands print:\n%s", want, result)
		}
	}
}

// help returns what a command prints with --help.
func help(t *testing.T, args ...string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "imapsync")
	p := &place{binary: binary}
	if err := p.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	output, err := exec.CommandContext(t.Context(), binary, append(args, "--help")...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(output)
}

// The table of the configuration has the flags of `imapsync run`, all of them,
// with their defaults and variables.
func TestReadmeConfiguration(t *testing.T) {
	type flag struct{ Environment, Default string }
	want := map[string]flag{}
	for _, m := range regexp.MustCompile(`(?m)^\s+(?:-\w, )?--([a-z-]+)(.*)$`).FindAllStringSubmatch(help(t, "run"), -1) {
		if m[1] == "help" {
			continue
		}
		f := flag{Environment: strings.ToUpper(strings.ReplaceAll(m[1], "-", "_"))}
		if !slices.Contains([]string{"DATABASE_URL", "LOCK_DATABASE_URL", "NATS_URL", "NATS_CREDS"}, f.Environment) {
			f.Environment = "IMAPSYNC_" + f.Environment
		}
		if def := regexp.MustCompile(`\(default "?(.*?)"?\)$`).FindStringSubmatch(m[2]); def != nil {
			f.Default = def[1]
		}
		want["--"+m[1]] = f
	}
	got := map[string]flag{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(--[a-z-]+)` \\| `(\\w+)` \\| `?([^`|]*?)`? ?\\|").FindAllStringSubmatch(readme(t), -1) {
		got[m[1]] = flag{m[2], m[3]}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the README and `imapsync run --help` (-help +README):\n%s", diff)
	}
}

// The table of exit codes has those of `imapsync --help`.
func TestReadmeExitCodes(t *testing.T) {
	codes := func(text, pattern string) (list []string) {
		for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
			list = append(list, m[1])
		}
		return list
	}
	want, got := codes(help(t), `(?m)^  (\d+)  `), codes(readme(t), `(?m)^\| (\d+) \|`)
	if diff := cmp.Diff(want, got); diff != "" || len(got) == 0 {
		t.Errorf("the README and `imapsync --help` (-help +README):\n%s", diff)
	}
}

// The example is an event by the schema.
func TestReadmeEvent(t *testing.T) {
	examples := blocks(readme(t), "json")
	if len(examples) != 1 {
		t.Fatalf("%d examples, want 1", len(examples))
	}
	c, err := contract.New(event.Schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Event([]byte(examples[0])); err != nil {
		t.Error(err)
	}
	var ev event.Event
	d := json.NewDecoder(strings.NewReader(examples[0]))
	d.DisallowUnknownFields()
	if err := d.Decode(&ev); err != nil {
		t.Error(err)
	}
}
