package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

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
				failed = append(failed, a.parseArgument(arg, defects)...)
			}
			if len(failed) > 0 {
				return &exitError{exitFailed, errors.Join(failed...)}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&defects, "defects", false, "list what is wrong with each mail instead, for people")
	return cmd
}

func (a *app) parseArgument(arg string, defects bool) []error {
	if arg == "-" {
		raw, err := io.ReadAll(a.stdin)
		if err != nil {
			return []error{fmt.Errorf("standard input: %w", err)}
		}
		return a.parseBytes("standard input", raw, defects)
	}
	var failed []error
	err := filepath.WalkDir(arg, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if pe, ok := errors.AsType[*fs.PathError](err); ok {
				err = fmt.Errorf("%s: %w", path, pe.Err)
			}
			failed = append(failed, err)
			return nil
		}
		if d.IsDir() {
			return nil
		}
		raw, err := os.ReadFile(path) //nolint:gosec // reading the named files is what the command is for
		if err != nil {
			failed = append(failed, err)
			return nil
		}
		failed = append(failed, a.parseBytes(path, raw, defects)...)
		return nil
	})
	return append(failed, nonNil(err)...)
}

func nonNil(err error) []error {
	if err == nil {
		return nil
	}
	return []error{err}
}

func (a *app) parseBytes(name string, raw []byte, defects bool) []error {
	for i, mail := range splitMbox(raw) {
		m := parse.Parse(mail, parse.Limits{})
		if defects {
			for _, d := range m.Defects {
				a.printf("%s: message %d: %s: %s\n", name, i+1, d.Code, provider.OneLine(d.Detail))
			}
			continue
		}
		enc := json.NewEncoder(a.stdout)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(publish.EmailDataFrom(m, int64(len(mail)), publish.Limits{})); err != nil {
			return []error{fmt.Errorf("%s: %w", name, err)}
		}
	}
	return nil
}

// splitMbox parts an mbox at its From_ lines (RFC 4155) and takes the escape
// off lines that begin with >From. Anything else is one mail.
func splitMbox(raw []byte) [][]byte {
	separator := []byte("From ")
	if !bytes.HasPrefix(raw, separator) {
		return [][]byte{raw}
	}
	var mails [][]byte
	for len(raw) > 0 {
		_, body, _ := bytes.Cut(raw, []byte("\n"))
		end := len(body)
		for at := 0; ; {
			i := bytes.Index(body[at:], []byte("\nFrom "))
			if i < 0 {
				break
			}
			at += i + 1
			if blankBefore(body, at) {
				end = at
				break
			}
		}
		mails = append(mails, unescapeFrom(body[:end]))
		raw = body[end:]
	}
	return mails
}

// blankBefore reports whether an empty line, or nothing, stands before at.
func blankBefore(b []byte, at int) bool {
	return at == 0 || bytes.HasSuffix(b[:at], []byte("\n\n")) || bytes.HasSuffix(b[:at], []byte("\r\n\r\n"))
}

func unescapeFrom(mail []byte) []byte {
	return bytes.ReplaceAll(mail, []byte("\n>From "), []byte("\nFrom "))
}
