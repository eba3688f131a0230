//go:build deb

package verify

import (
	"debug/buildinfo"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// debianPackage is the one that make deb has made.
func debianPackage(t *testing.T) string {
	t.Helper()
	list, err := filepath.Glob(root + "/bin/imapsync_*.deb")
	need(t, err)
	if len(list) != 1 {
		t.Fatalf("packages: %v: make deb", list)
	}
	return list[0]
}

func TestPackageFiles(t *testing.T) {
	out, err := output(".", nil, "dpkg-deb", "-c", debianPackage(t))
	need(t, err)
	got := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^(\S+) (\S+) .* \./(\S+)$`).FindAllStringSubmatch(string(out), -1) {
		got[m[3]] = m[1] + " " + m[2]
	}
	for name, want := range map[string]string{
		"usr/bin/imapsync":                                  "-rwxr-xr-x root/root",
		"usr/lib/systemd/system/imapsync.service":           "-rw-r--r-- root/root",
		"usr/lib/systemd/system/imapsync.timer":             "-rw-r--r-- root/root",
		"usr/lib/systemd/system/imapsync@.service":          "-rw-r--r-- root/root",
		"usr/lib/systemd/system/imapsync-watch.service":     "-rw-r--r-- root/root",
		"usr/lib/sysusers.d/imapsync.conf":                  "-rw-r--r-- root/root",
		"usr/share/man/man1/imapsync-provider-add.1.gz":     "-rw-r--r-- root/root",
		"usr/share/bash-completion/completions/imapsync":    "-rw-r--r-- root/root",
		"usr/share/zsh/vendor-completions/_imapsync":        "-rw-r--r-- root/root",
		"usr/share/fish/vendor_completions.d/imapsync.fish": "-rw-r--r-- root/root",
		"usr/share/doc/imapsync/copyright":                  "-rw-r--r-- root/root",
		"usr/share/doc/imapsync/changelog.gz":               "-rw-r--r-- root/root",
		"etc/imapsync/":                                     "drwx------ root/root",
		"etc/imapsync/imapsync.env":                         "-rw------- root/root",
	} {
		if got[name] != want {
			t.Errorf("%s: %q, want %q", name, got[name], want)
		}
	}
	for name := range got {
		// What stands here would enable a unit, or lie where packages must not put things.
		if strings.Contains(name, ".wants/") || strings.HasPrefix(name, "usr/local") || strings.HasPrefix(name, "etc/systemd") {
			t.Errorf("the package holds %s", name)
		}
	}
}

func TestPackageControl(t *testing.T) {
	path := debianPackage(t)
	control, err := output(".", nil, "dpkg-deb", "-f", path)
	need(t, err)
	for _, want := range []string{`^Package: imapsync$`, `^Version: \d+\.\d+\.\d+`, `^Architecture: (amd64|arm64)$`, `^Maintainer: .+ <.+@.+>$`, `^Depends: ca-certificates$`, `^Description: .+`} {
		if !regexp.MustCompile(`(?m)` + want).Match(control) {
			t.Errorf("no %s in\n%s", want, control)
		}
	}
	dir := t.TempDir()
	need(t, run(".", nil, "dpkg-deb", "-e", path, dir))
	conffiles, err := os.ReadFile(dir + "/conffiles")
	need(t, err)
	if diff := cmp.Diff("/etc/imapsync/imapsync.env\n", string(conffiles)); diff != "" {
		t.Error(diff)
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		need(t, run(dir, nil, "sh", "-n", script))
		data, err := os.ReadFile(filepath.Join(dir, script))
		need(t, err)
		if regexp.MustCompile(`systemctl.*( enable | start |restart .*\|\|)`).Match(data) {
			t.Errorf("%s starts something by itself:\n%s", script, data)
		}
	}
}

// The bill of materials names every module that is in the binary, with its version.
func TestPackageSBOM(t *testing.T) {
	var bom struct {
		BOMFormat string `json:"bomFormat"`
		Metadata  struct {
			Component struct{ Name, Version string }
		}
		Components []struct{ Name, Version, PURL string }
	}
	need(t, json.Unmarshal([]byte(read(t, "bin/imapsync.cdx.json")), &bom))
	if bom.BOMFormat != "CycloneDX" || bom.Metadata.Component.Version == "" {
		t.Errorf("%+v", bom.Metadata)
	}
	var got []string
	for _, c := range bom.Components {
		if c.Name != "std" {
			got = append(got, c.Name+" "+c.Version)
		}
	}
	info, err := buildinfo.ReadFile(root + "/bin/imapsync")
	need(t, err)
	var want []string
	for _, m := range info.Deps {
		want = append(want, m.Path+" "+m.Version)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 10 {
		t.Errorf("modules (-binary +bill):\n%s", diff)
	}
}
