package main

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"imapsync/event"
	"imapsync/internal/contract"
)

// What `imapsync parse` prints of a mail, however broken, is the emailData of
// the schema.
func TestParseConforms(t *testing.T) {
	schema, err := contract.New(event.Schema)
	if err != nil {
		t.Fatal(err)
	}
	var mails []string
	for _, root := range []string{"../../internal/demo/mails", "../../parse/testdata"} {
		err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
			if strings.HasSuffix(path, ".eml") {
				mails = append(mails, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var out, problems bytes.Buffer
	if code := Main(append([]string{"parse"}, mails...), strings.NewReader(""), &out, &problems); code != exitOK {
		t.Fatalf("exit %d\n%s", code, problems.String())
	}
	n := 0
	for line := range bytes.Lines(out.Bytes()) {
		n++
		if err := schema.EmailData(line); err != nil {
			t.Errorf("%v\n%.500s", err, line)
		}
	}
	if n != len(mails) || n < 40 {
		t.Errorf("%d lines of %d mails", n, len(mails))
	}
}
