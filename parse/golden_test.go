package parse

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

// golden is what a mail of testdata is read as: the Message, and of each file
// what comes out of it.
type golden struct {
	Message *Message
	Files   []goldenFile `json:",omitempty"`
}

type goldenFile struct {
	Size   int64
	SHA256 string
}

func newGolden(t *testing.T, raw []byte) golden {
	m := Parse(raw, Limits{})
	g := golden{Message: m}
	for _, a := range m.Attachments {
		h := sha256.New()
		n, err := io.Copy(h, a.Open())
		if err != nil {
			t.Errorf("attachment %s: %v", a.ID, err)
		}
		g.Files = append(g.Files, goldenFile{n, hex.EncodeToString(h.Sum(nil))})
	}
	return g
}

// TestGolden reads every testdata/*.eml and compares with the .json beside it.
func TestGolden(t *testing.T) {
	mails, err := filepath.Glob("testdata/*.eml")
	if err != nil || len(mails) == 0 {
		t.Fatalf("no mails: %v", err)
	}
	for _, path := range mails {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".eml"), func(t *testing.T) {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.MarshalIndent(newGolden(t, raw), "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, '\n')
			file := strings.TrimSuffix(path, ".eml") + ".json"
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatalf("%v (go test ./parse -run TestGolden -update writes it)", err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
