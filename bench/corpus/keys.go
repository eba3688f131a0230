package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"imapsync/publish"
)

// printKeys prints one SHA-256 over the event keys of all mails, in the order of
// expected.jsonl: it stays what it is for as long as no key moves. Besides it counts
// the mails that share a key though their bytes differ, as copies by another way do,
// and with verbose names them.
func printKeys(w io.Writer, dir string, verbose bool) error {
	expected, err := load(filepath.Join(dir, "expected.jsonl"))
	if err != nil {
		return err
	}
	digest := sha256.New()
	byKey := map[string]map[[sha256.Size]byte][]string{} // the paths, by the bytes of the mail
	copies, moved := 0, 0
	for _, e := range expected {
		raw, err := os.ReadFile(filepath.Join(dir, e.Path))
		if err != nil {
			return err
		}
		key := publish.Identify(raw).Key
		fmt.Fprintf(digest, "%s\n", key)
		sum := sha256.Sum256(raw)
		if byKey[key] == nil {
			byKey[key] = map[[sha256.Size]byte][]string{}
		}
		if byKey[key][sum] != nil {
			copies++
		}
		byKey[key][sum] = append(byKey[key][sum], e.Path)
		other := bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
		if len(other) == len(raw) {
			other = bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
		}
		if publish.Identify(other).Key != key {
			moved++
			fmt.Fprintf(w, "%s: another key with its line ends changed\n", e.Path)
		}
	}
	shared := 0
	for _, key := range slices.Sorted(maps.Keys(byKey)) {
		if len(byKey[key]) < 2 {
			continue
		}
		shared++
		var paths []string
		for _, same := range byKey[key] {
			paths = append(paths, same[0])
		}
		slices.SortFunc(paths, cmp.Compare)
		if verbose {
			fmt.Fprintf(w, "one key of %d mails: %s\n", len(paths), strings.Join(paths, " "))
		}
	}
	_, err = fmt.Fprintf(w, "event keys: SHA-256 %x; %d mails, %d keys, of which %d are of mails whose bytes differ; %d mails are copies, byte for byte; %d keys move with the line ends\n",
		digest.Sum(nil), len(expected), len(byKey), shared, copies, moved)
	return err
}
