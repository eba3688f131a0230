package secret

import (
	"encoding/base64"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeFile(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadFile(t *testing.T) {
	for _, tt := range []struct {
		name, content, want string
		mode                os.FileMode
		err                 error
	}{
		{"plain", "pass", "pass", 0o600, nil},
		{"one newline", "pass\n", "pass", 0o600, nil},
		{"windows newline", "pass\r\n", "pass", 0o400, nil},
		{"only one newline", "pass\n\n", "pass\n", 0o600, nil},
		{"blanks are part of it", " p \" ü ", " p \" ü ", 0o600, nil},
		{"group may read", "pass", "pass", 0o640, nil},
		{"kubernetes", "pass", "pass", 0o440, nil},
		{"others may read", "pass", "", 0o644, ErrMode},
		{"others may write", "pass", "", 0o602, ErrMode},
		{"others may execute", "pass", "", 0o601, ErrMode},
		{"group may write", "pass", "", 0o660, ErrMode},
		{"empty", "", "", 0o600, ErrEmpty},
		{"only a newline", "\n", "", 0o600, ErrEmpty},
		{"at the limit", strings.Repeat("a", maxFileBytes), strings.Repeat("a", maxFileBytes), 0o600, nil},
		{"over the limit", strings.Repeat("a", maxFileBytes+1), "", 0o600, ErrTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, tt.content, tt.mode)
			got, err := ReadFile(path)
			if !errors.Is(err, tt.err) || got.Reveal() != tt.want {
				t.Fatalf("ReadFile: %v, want %v", err, tt.err)
			}
			if err == nil {
				return
			}
			if _, ok := errors.AsType[*FileError](err); !ok || !strings.Contains(err.Error(), path) {
				t.Errorf("%v does not name the file", err)
			}
			if errors.Is(tt.err, ErrMode) && !strings.Contains(err.Error(), path+": mode ") {
				t.Errorf("%v does not give the command to run", err)
			}
		})
	}
}

func TestReadFileThatIsNone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "absent")
	_, err := ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) || strings.Count(err.Error(), path) != 1 {
		t.Errorf("absent: %v, want fs.ErrNotExist naming the path once", err)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadFile(dir); err == nil || !strings.Contains(err.Error(), "directory") {
		t.Errorf("directory: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(writeFile(t, "pass", 0o440), link); err != nil {
		t.Fatal(err)
	}
	if got, err := ReadFile(link); err != nil || got.Reveal() != "pass" {
		t.Errorf("through a link: %v", err)
	}
}

func TestRead(t *testing.T) {
	got, err := Read(strings.NewReader("pass\n"), "standard input")
	if err != nil || got.Reveal() != "pass" {
		t.Errorf("Read: %v", err)
	}
	if _, err := Read(strings.NewReader(""), "standard input"); !errors.Is(err, ErrEmpty) || err.Error() != "standard input: it is empty" {
		t.Errorf("Read of nothing: %v", err)
	}
}

func TestReadKeyFile(t *testing.T) {
	good := base64.StdEncoding.EncodeToString(make([]byte, keyBytes))
	for _, tt := range []struct {
		name, content string
		line          int
		err           error
		ids           string
	}{
		{"one key", "k1:" + good, 0, nil, "k1"},
		{"several, comments, windows newlines", "# keys\r\n\r\nk2:" + good + "\r\n k-1.a_b: " + good + "\n", 0, nil, "k2,k-1.a_b"},
		{"empty", "", 0, ErrEmpty, ""},
		{"only comments", "# none\n", 0, ErrEmpty, ""},
		{"no colon", "k1:" + good + "\n" + good, 2, ErrMalformed, ""},
		{"no id", ":" + good, 1, ErrMalformed, ""},
		{"bad id", "k 1:" + good, 1, ErrMalformed, ""},
		{"long id", strings.Repeat("k", 65) + ":" + good, 1, ErrMalformed, ""},
		{"not base64", "k1:***", 1, ErrMalformed, ""},
		{"short key", "k1:" + base64.StdEncoding.EncodeToString(make([]byte, 16)), 1, ErrMalformed, ""},
		{"long key", "k1:" + base64.StdEncoding.EncodeToString(make([]byte, 33)), 1, ErrMalformed, ""},
		{"same id twice", "k1:" + good + "\n\nk1:" + good, 3, ErrMalformed, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ring, err := ReadKeyFile(writeFile(t, tt.content, 0o600))
			if !errors.Is(err, tt.err) {
				t.Fatalf("ReadKeyFile: %v, want %v", err, tt.err)
			}
			if err == nil {
				if got := strings.Join(ring.IDs(), ","); got != tt.ids {
					t.Errorf("ids %s, want %s", got, tt.ids)
				}
				return
			}
			fileErr, ok := errors.AsType[*FileError](err)
			if !ok || fileErr.Line != tt.line {
				t.Errorf("%v: want line %d", err, tt.line)
			}
			for _, part := range []string{good, good[:20], "***"} {
				if strings.Contains(err.Error(), part) {
					t.Errorf("%v shows what the file holds", err)
				}
			}
		})
	}
	if _, err := ReadKeyFile(writeFile(t, "k1:"+good, 0o644)); !errors.Is(err, ErrMode) {
		t.Errorf("world-readable: %v, want ErrMode", err)
	}
	if _, err := ReadKeyFile(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("absent: %v", err)
	}
}
