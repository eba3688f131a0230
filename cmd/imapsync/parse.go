package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/spf13/cobra"

	"imapsync/parse"
	"imapsync/provider"
	"imapsync/publish"
)

func newParse(a *app) *cobra.Command {
	var defects bool
	cmd := &cobra.Command{
		Use:   "parse [FILE|DIR|-]…",
		Short: "Print what the event says of a mail, without any server",
		Long: "Print the emailData of the event as JSON, one line a message. It reads files, mbox files,\n" +
			"all files of a directory, and standard input for - or without an argument. A file that\n" +
			"cannot be read is named, the others are read, and the exit code is 1.",
		Example: "  imapsync parse mail.eml | jq .subject\n  imapsync parse --defects inbox.mbox",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"-"}
			}
			var failed []error
			for _, arg := range args {
				failed = append(failed, a.parseArgument(arg, defects))
			}
			if err := errors.Join(failed...); err != nil {
				return &exitError{exitFailed, err}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&defects, "defects", false, "list what is wrong with each mail instead, for people")
	return cmd
}

func (a *app) parseArgument(arg string, defects bool) error {
	if arg == "-" {
		raw, err := io.ReadAll(a.stdin)
		if err != nil {
			return fmt.Errorf("standard input: %w", err)
		}
		return a.parseBytes("standard input", raw, defects)
	}
	var failed []error
	_ = filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error { // it goes on whatever fails
		if pe, ok := errors.AsType[*fs.PathError](err); ok {
			err = fmt.Errorf("%s: %w", path, pe.Err)
		}
		if err == nil && !d.IsDir() {
			var raw []byte
			if raw, err = os.ReadFile(path); err == nil { //nolint:gosec // reading the named files is what the command is for
				err = a.parseBytes(path, raw, defects)
			}
		}
		failed = append(failed, err)
		return nil
	})
	return errors.Join(failed...)
}

func (a *app) parseBytes(name string, raw []byte, defects bool) error {
	for i, mail := range splitMbox(raw) {
		m := parse.Parse(mail, parse.Limits{})
		if defects {
			for _, d := range m.Defects {
				a.printf("%s: message %d: %s: %s\n", name, i+1, d.Code, provider.OneLine(d.Detail))
			}
		} else if err := a.printJSONLine(publish.EmailDataFrom(m, int64(len(mail)), publish.Limits{})); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// fromLine is the From_ line before a mail (RFC 4155): the first line of an
// mbox, or one behind an empty line of the mail before.
var fromLine = regexp.MustCompile(`(?:^|\n\n|\r\n\r\n)(From [^\n]*\n?)`)

// splitMbox parts an mbox at its From_ lines and takes the escape off lines that
// begin with >From. Anything else is one mail.
func splitMbox(raw []byte) [][]byte {
	if !bytes.HasPrefix(raw, []byte("From ")) {
		return [][]byte{raw}
	}
	var mails [][]byte
	lines := fromLine.FindAllSubmatchIndex(raw, -1)
	for i, line := range lines {
		end := len(raw)
		if i+1 < len(lines) {
			end = lines[i+1][2]
		}
		mails = append(mails, bytes.ReplaceAll(raw[line[3]:end], []byte("\n>From "), []byte("\nFrom ")))
	}
	return mails
}
