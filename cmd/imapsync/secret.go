package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"imapsync/secret"
)

// exitCodesPointer ends the help of commands with few codes of their own.
const exitCodesPointer = "\n\nExit codes: `imapsync --help`."

func newSecret(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "secret", Short: "Keys for stored credentials", Args: noArgs, RunE: helpOnly,
		Long: "Keys for stored credentials. Passwords are kept in Postgres, sealed (AES-256-GCM) under a key\n" +
			"that Postgres never sees: it is in the file that IMAPSYNC_SECRET_KEY_FILE names." + exitCodesPointer,
	}
	cmd.AddCommand(newSecretKeygen(a))
	return cmd
}

func newSecretKeygen(a *app) *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use: "keygen", Short: "Make the key that seals stored credentials",
		Long: "Make a key and write it to a new file, or to standard output. Keep a copy in a safe place:\n" +
			"without the key the stored passwords cannot be opened and must be given again. To rotate,\n" +
			"put the new line above the old ones in the key file: the first seals, all of them open." + exitCodesPointer,
		Example: "  imapsync secret keygen --out imapsync.key\n  export IMAPSYNC_SECRET_KEY_FILE=$PWD/imapsync.key",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			key, err := secret.GenerateKey()
			if err != nil {
				return err
			}
			if out == "" {
				a.printf("%s\n", key.Reveal())
				a.notef("save this line to a file of mode 0600 and name it: export IMAPSYNC_SECRET_KEY_FILE=/path/to/it\n" +
					"or let `imapsync secret keygen --out imapsync.key` do both")
				return nil
			}
			if err := writeKey(out, key); err != nil {
				return err
			}
			if full, err := filepath.Abs(out); err == nil {
				out = full
			}
			a.notef("wrote %s: keep a copy in a safe place\nnext: export IMAPSYNC_SECRET_KEY_FILE=%s", out, shellQuote(out))
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "new file for the key, mode 0600; never overwritten")
	return cmd
}

// writeKey makes a file that only its owner may read.
func writeKey(path string, key secret.Value) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return usageError("--out %s: it exists already and is never overwritten: the credentials sealed under it would be lost", path)
	case err != nil:
		return configError("--out: %w", err)
	}
	_, err = fmt.Fprintln(f, key.Reveal())
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return configError("--out: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// shellQuote writes s so that a person can paste it into a command.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+=:,@", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
