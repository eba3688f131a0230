package publish

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var addKeys = flag.Bool("add-keys", false, "add the keys of mails that testdata/keys.txt does not have yet")

// TestKeysStay holds the keys of odd mails, and of all mails in this repository's
// test data, to what testdata/keys.txt says: event key, header key, which mail. A
// line there may never change, for by a key that moved a mail would be published a
// second time. A key that must move is a key of version 3, beside this one.
func TestKeysStay(t *testing.T) {
	const file = "testdata/keys.txt"
	data, err := os.ReadFile(file)
	if err != nil && !*addKeys {
		t.Fatal(err)
	}
	want := map[string]string{}
	for line := range strings.Lines(string(data)) {
		keys, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		want[name] = keys
	}
	mails := keyMails(t)
	for _, name := range slices.Sorted(maps.Keys(mails)) {
		id := Identify(mails[name])
		got := id.Key + " " + id.HeaderKey
		switch {
		case want[name] == "" && *addKeys:
			data = fmt.Appendf(data, "%s  %s\n", got, name)
		case want[name] == "":
			t.Errorf("%s has no key yet: go test ./publish -run KeysStay -add-keys", name)
		case want[name] != got:
			t.Errorf("%s: the keys are %s, were %s", name, got, want[name])
		}
	}
	for name := range want {
		if mails[name] == nil {
			t.Errorf("%s is there no more", name)
		}
	}
	if *addKeys {
		if err := os.WriteFile(file, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func keyMails(t *testing.T) map[string][]byte {
	mails := map[string][]byte{}
	for kind, table := range map[string]map[string][]string{"same": sameMails(), "other": otherMails()} {
		for name, list := range table {
			for i, raw := range list {
				mails[fmt.Sprintf("%s/%s/%d", kind, name, i)] = []byte(raw)
			}
		}
	}
	for name, raw := range hostile(20) {
		mails["hostile/"+name] = raw
	}
	for _, dir := range []string{"../parse/testdata", "../internal/demo/mails"} {
		paths, err := filepath.Glob(dir + "/*.eml")
		if err != nil || len(paths) == 0 {
			t.Fatalf("no mails in %s: %v", dir, err)
		}
		for _, path := range paths {
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			mails[strings.TrimPrefix(path, "../")] = raw
		}
	}
	return mails
}
