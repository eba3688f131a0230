package verify

import (
	"bytes"
	"crypto/sha256"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// instruction is one of a Dockerfile: RUN and its command, say.
type instruction struct{ word, rest string }

// dockerfile reads the stages of the Dockerfile, by name; the last has none.
func dockerfile(t *testing.T) map[string][]instruction {
	t.Helper()
	stages, stage := map[string][]instruction{}, ""
	var joined string
	for line := range strings.Lines(read(t, "Dockerfile")) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if before, ok := strings.CutSuffix(line, `\`); ok {
			joined += before
			continue
		}
		word, rest, _ := strings.Cut(joined+line, " ")
		joined = ""
		if word == "FROM" {
			_, stage, _ = strings.Cut(rest, " AS ")
		}
		stages[stage] = append(stages[stage], instruction{word, rest})
	}
	return stages
}

// copyContext copies what `COPY . .` would: the tree without .git, which may be
// anywhere, and without what .dockerignore names.
func copyContext(t *testing.T, to string) {
	t.Helper()
	ignored := append(strings.Fields(read(t, ".dockerignore")), ".git") // words of comments do no harm
	need(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		switch {
		case slices.Contains(ignored, name) && d.IsDir():
			return fs.SkipDir
		case slices.Contains(ignored, name):
			return nil
		case d.IsDir():
			return os.MkdirAll(filepath.Join(to, name), 0o755)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(to, name), data, 0o644)
	}))
}

// buildImage runs the build stage in a directory, and returns what the image holds.
func buildImage(t *testing.T) (rootfs string) {
	t.Helper()
	dir := t.TempDir()
	src := filepath.Join(dir, "src")
	rootfs = filepath.Join(dir, "rootfs")
	copyContext(t, src)
	for _, i := range dockerfile(t)["build"] {
		switch {
		case i.word == "RUN":
			need(t, run(src, []string{"ROOTFS=" + rootfs, "TARGETOS=" + runtime.GOOS, "TARGETARCH=" + runtime.GOARCH, "GOFLAGS="}, "sh", "-ec", i.rest))
		case !slices.Contains([]string{"FROM", "ARG", "WORKDIR", "COPY"}, i.word):
			t.Fatalf("the test does not know %s", i.word)
		}
	}
	return rootfs
}

// The image holds one static binary, certificates and time zones, under 25 MB, and
// is the same wherever it is built.
func TestImage(t *testing.T) {
	rootfs, again := buildImage(t), buildImage(t)
	var size int64
	got := files(t, rootfs)
	for _, line := range got {
		_, name, _ := strings.Cut(line, " ")
		info, err := os.Stat(filepath.Join(rootfs, name))
		need(t, err)
		size += info.Size()
	}
	if want := []string{"-rw-r--r-- etc/ssl/certs/ca-certificates.crt", "-rw-r--r-- usr/share/zoneinfo.zip", "-rwxr-xr-x usr/bin/imapsync"}; !slices.Equal(got, want) {
		t.Errorf("the image holds %q, want %q", got, want)
	}
	if size > 25_000_000 {
		t.Errorf("%d bytes, want 25 MB at most", size)
	}
	t.Logf("%.1f MB", float64(size)/1e6)
	if info, err := os.Stat(rootfs + "/tmp"); err != nil || info.Mode() != fs.ModeDir|fs.ModeSticky|0o777 {
		t.Errorf("/tmp: %v, %v", info.Mode(), err)
	}
	first, err := os.ReadFile(rootfs + "/usr/bin/imapsync")
	need(t, err)
	second, err := os.ReadFile(again + "/usr/bin/imapsync")
	need(t, err)
	if sha256.Sum256(first) != sha256.Sum256(second) {
		t.Error("built in another directory the binary is another")
	}
	if bytes.Contains(first, []byte(filepath.Dir(rootfs))) {
		t.Error("the binary knows where it was built")
	}
	if runtime.GOOS == "linux" {
		if out, _ := exec.Command("ldd", rootfs+"/usr/bin/imapsync").CombinedOutput(); !bytes.Contains(out, []byte("not a dynamic executable")) && !bytes.Contains(out, []byte("statically linked")) {
			t.Errorf("not static: %s", out)
		}
	}
	// With nothing else around it, as in the image.
	if os.Geteuid() == 0 {
		cmd := exec.Command("chroot", "--userspec=65532:65532", rootfs, "/usr/bin/imapsync", "version")
		cmd.Env = []string{}
		if out, err := cmd.CombinedOutput(); err != nil || !bytes.HasPrefix(out, []byte("imapsync ")) {
			t.Errorf("in a chroot: %v\n%s", err, out)
		}
	}
}

// The last stage takes what the first made, for a user that is not root.
func TestImageFinal(t *testing.T) {
	final := dockerfile(t)[""]
	for _, want := range []instruction{
		{"FROM", "scratch"}, {"COPY", "--from=build /rootfs /"}, {"USER", "65532:65532"},
		{"ENTRYPOINT", `["/usr/bin/imapsync"]`}, {"ENV", "ZONEINFO=/usr/share/zoneinfo.zip"},
	} {
		if !slices.Contains(final, want) {
			t.Errorf("no %s %s", want.word, want.rest)
		}
	}
	if !slices.Contains(dockerfile(t)["build"], instruction{"ARG", "ROOTFS=/rootfs"}) {
		t.Error("the stages do not agree where the files are")
	}
	// The flags are those of make build.
	const flags = `-trimpath -buildvcs=auto -ldflags='-s -w'`
	for _, file := range []string{"Dockerfile", "Makefile"} {
		if !strings.Contains(read(t, file), "build "+flags) {
			t.Errorf("%s builds without %s", file, flags)
		}
	}
}

// What .dockerignore leaves out git ignores too, or the version would be dirty.
func TestDockerignore(t *testing.T) {
	ignored := read(t, ".gitignore")
	for line := range strings.Lines(read(t, ".dockerignore")) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "#") && !strings.Contains(ignored, "/"+line) {
			t.Errorf("%s is left out of the image's build, but not of git", line)
		}
	}
}
