// Package verify holds tests alone: that what ships imapsync (cronjob.yaml, the
// Dockerfile, the compose file, the units, make install, the workflows) is what
// Kubernetes, compose and systemd would take, and names only flags and variables
// that the binary has. It is a module of its own for what it reads them with.
package verify

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// root is the top of the tree.
const root = "../.."

// installed is where make install has put everything, once for all tests.
var installed = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "imapsync-install-")
	if err != nil {
		return "", err
	}
	return dir, run(root, nil, "make", "-s", "install", "DESTDIR="+dir, "PREFIX=/usr")
})

func TestMain(m *testing.M) {
	code := m.Run()
	if dir, err := installed(); err == nil {
		os.RemoveAll(dir)
	}
	os.Exit(code)
}

// commandError is a command that failed, and what it said.
type commandError struct {
	args   []string
	output []byte
	err    error
}

func (e *commandError) Error() string {
	return strings.Join(e.args, " ") + ": " + e.err.Error() + "\n" + string(e.output)
}

// run runs a command in a directory, with more environment than the test's.
func run(dir string, env []string, args ...string) error {
	_, err := output(dir, env, args...)
	return err
}

func output(dir string, env []string, args ...string) ([]byte, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "IMAPSYNC_") || strings.HasPrefix(v, "MAKE") || strings.HasPrefix(v, "MFLAGS")
	}), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return out, &commandError{args, out, err}
	}
	return out, nil
}

// need ends the test when there is an error.
func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// tool is the path of a program that `make deps` installs.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("IMAPSYNC_TEST_REQUIRE") == "1" {
			t.Fatalf("%v: make deps", err)
		}
		t.Skipf("%v: make deps", err)
	}
	return path
}

// read returns a file of the tree.
func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	need(t, err)
	return string(data)
}

// binary is the installed binary.
func binary(t *testing.T) string {
	t.Helper()
	dir, err := installed()
	need(t, err)
	return filepath.Join(dir, "usr/bin/imapsync")
}

// checkArgs sees to it that the binary takes the arguments.
func checkArgs(t *testing.T, where string, args []string) {
	t.Helper()
	words := args[:slices.IndexFunc(append(args, "-"), func(a string) bool { return strings.HasPrefix(a, "-") })]
	command := strings.Join(append([]string{"imapsync"}, words...), " ")
	if out, err := output(".", nil, append([]string{binary(t)}, append(args, "--help")...)...); err != nil {
		t.Errorf("%s: %v", where, err)
	} else if !bytes.Contains(out, []byte("Usage:\n  "+command+" [")) {
		t.Errorf("%s: `%s` is no command", where, command)
	}
}

// manPages is the text of all manual pages, which name the variable of each flag.
var manPages = sync.OnceValues(func() (string, error) {
	dir, err := installed()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = fs.WalkDir(os.DirFS(dir), "usr/share/man/man1", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		b.Write(data)
		return err
	})
	return b.String(), err
})

// checkVariable sees to it that imapsync reads an environment variable: that of a
// flag, or one that the binary has by name.
func checkVariable(t *testing.T, where, name string) {
	t.Helper()
	pages, err := manPages()
	need(t, err)
	if regexp.MustCompile(`\b` + name + `\b`).MatchString(pages) {
		return
	}
	data, err := os.ReadFile(binary(t))
	need(t, err)
	if !bytes.Contains(data, []byte(name)) {
		t.Errorf("%s: imapsync reads no %s", where, name)
	}
}
