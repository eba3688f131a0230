package verify

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// files lists the files below a directory, with their modes; of the manual pages
// only two.
func files(t *testing.T, dir string) (list []string) {
	t.Helper()
	need(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		if !strings.Contains(name, "/man1/") || name == "usr/share/man/man1/imapsync.1" || name == "usr/share/man/man1/imapsync-run.1" {
			list = append(list, info.Mode().Perm().String()+" "+name)
		}
		return nil
	}))
	slices.Sort(list)
	return list
}

func TestInstall(t *testing.T) {
	dir := t.TempDir()
	install := []string{"make", "-s", "install", "DESTDIR=" + dir, "PREFIX=/usr"}
	need(t, run(root, nil, install...))
	want := []string{
		"-rw------- etc/imapsync/imapsync.env",
		"-rw-r--r-- usr/lib/sysusers.d/imapsync.conf",
		"-rw-r--r-- usr/share/bash-completion/completions/imapsync",
		"-rw-r--r-- usr/share/fish/vendor_completions.d/imapsync.fish",
		"-rw-r--r-- usr/share/man/man1/imapsync-run.1",
		"-rw-r--r-- usr/share/man/man1/imapsync.1",
		"-rw-r--r-- usr/share/zsh/site-functions/_imapsync",
		"-rwxr-xr-x usr/bin/imapsync",
	}
	units, err := filepath.Glob(root + "/deploy/systemd/imapsync*.[st]*")
	need(t, err)
	for _, unit := range units {
		want = append(want, "-rw-r--r-- usr/lib/systemd/system/"+filepath.Base(unit))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, files(t, dir)); diff != "" {
		t.Errorf("make install (-want +got):\n%s", diff)
	}

	// Once more, over settings that somebody has made.
	settings := filepath.Join(dir, "etc/imapsync/imapsync.env")
	need(t, os.WriteFile(settings, []byte("mine\n"), 0o600))
	need(t, run(root, nil, install...))
	if data, err := os.ReadFile(settings); err != nil || string(data) != "mine\n" {
		t.Errorf("settings after a second make install: %q, %v", data, err)
	}

	need(t, run(root, nil, "make", "-s", "uninstall", "DESTDIR="+dir, "PREFIX=/usr"))
	if diff := cmp.Diff([]string{"-rw------- etc/imapsync/imapsync.env"}, files(t, dir)); diff != "" {
		t.Errorf("make uninstall (-want +got):\n%s", diff)
	}
}

// The units run the binary that was installed.
func TestInstallPrefix(t *testing.T) {
	dir, units := installedHere(t)
	for _, unit := range units {
		data, err := os.ReadFile(unit)
		need(t, err)
		if strings.HasSuffix(unit, ".service") != strings.Contains(string(data), "ExecStart="+dir+"/bin/imapsync ") {
			t.Errorf("%s does not start %s/bin/imapsync", unit, dir)
		}
	}
}

// The shells that are there take the completions; bash is everywhere.
func TestCompletions(t *testing.T) {
	dir, err := installed()
	need(t, err)
	for _, c := range [][]string{
		{"bash", "-n", "usr/share/bash-completion/completions/imapsync"},
		{"zsh", "-n", "usr/share/zsh/site-functions/_imapsync"},
		{"fish", "--no-execute", "usr/share/fish/vendor_completions.d/imapsync.fish"},
	} {
		if _, err := exec.LookPath(c[0]); err != nil && c[0] != "bash" {
			continue // two shells more are not worth an installation
		}
		if err := run(dir, nil, c...); err != nil {
			t.Error(err)
		}
	}
}
