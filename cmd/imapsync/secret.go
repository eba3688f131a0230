package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/secret"
)

func newSecret(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use: "secret", Short: "Keys for stored credentials",
		Long: "Keys for stored credentials. Passwords are kept in Postgres, sealed (AES-256-GCM) under a key\n" +
			"that Postgres never sees: it is in the file that IMAPSYNC_SECRET_KEY_FILE names." + exitCodesPointer,
	}, newSecretKeygen(a), newSecretRotate(a))
}

func newSecretKeygen(a *app) *cobra.Command {
	var out, add string
	cmd := &cobra.Command{
		Use: "keygen", Short: "Make the key that seals stored credentials",
		Long: "Make a key and write it to a new file, or to standard output. Keep a copy in a safe place:\n" +
			"without the key the stored passwords cannot be opened and must be given again. To rotate,\n" +
			"--add puts a new key above the old ones of a key file: the first seals, all of them open.\n" +
			"Then `imapsync secret rotate`." + exitCodesPointer,
		Example: "  imapsync secret keygen --out imapsync.key\n  export IMAPSYNC_SECRET_KEY_FILE=$PWD/imapsync.key\n" +
			"  imapsync secret keygen --add imapsync.key && imapsync secret rotate",
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error {
			if out != "" && add != "" {
				return usageError("give one of --out and --add")
			}
			key, err := secret.GenerateKey()
			if err != nil {
				return err
			}
			if add != "" {
				if err := secret.AddKey(add, key); err != nil {
					return configError("--add: %w", err)
				}
				id, _, _ := strings.Cut(key.Reveal(), ":")
				a.notef("key %s is the first of %s: it seals from now on, the others open\n"+
					"next, once every machine has that file: imapsync secret rotate", id, add)
				return nil
			}
			if out == "" {
				a.printf("%s\n", key.Reveal())
				a.notef("save this line to a file of mode 0600 and name it: export IMAPSYNC_SECRET_KEY_FILE=/path/to/it\n" +
					"or let `imapsync secret keygen --out imapsync.key` do both")
				return nil
			}
			switch err := secret.CreateKeyFile(out, key); {
			case errors.Is(err, fs.ErrExist):
				return usageError("--out %s: it exists already and is never overwritten: the credentials sealed under it would be lost", out)
			case err != nil:
				return configError("--out: %w", err)
			}
			if full, err := filepath.Abs(out); err == nil {
				out = full
			}
			a.notef("wrote %s: keep a copy in a safe place\nnext: export IMAPSYNC_SECRET_KEY_FILE=%s", out, shellQuote(out))
			return nil
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "new file for the key, mode 0600; never overwritten")
	cmd.Flags().StringVar(&add, "add", "", "put the key on the first line of this key file, which others must not be able to read")
	return cmd
}

// rotateBatch is how many credentials one transaction seals again.
const rotateBatch = 200

type rotateResult struct {
	Key     string         `json:"key"`     // id of the key that seals
	Sealed  int            `json:"sealed"`  // again, under it
	Already int            `json:"already"` // were under it
	Failed  []string       `json:"failed"`  // cannot be opened
	Keys    map[string]int `json:"keys"`    // credentials by the id of their key, afterwards
}

func newSecretRotate(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "rotate", Short: "Seal every stored credential again, under the first key",
		Long: "Seal every stored credential again under the first key of IMAPSYNC_SECRET_KEY_FILE, in\n" +
			"batches. Runs may go on meanwhile, and it may be broken off and begun again. Afterwards the\n" +
			"other lines can be taken out of the key file." + exitCodesPointer,
		Example: "  imapsync secret keygen --add \"$IMAPSYNC_SECRET_KEY_FILE\"\n  imapsync secret rotate",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			box := a.box()
			key, err := box.SealingKey()
			if err != nil {
				return err
			}
			return a.withStore(cmd.Context(), func(store *db.Store) error { return a.rotateSecrets(cmd.Context(), store, box, key) })
		},
	}
	a.outputFlag(cmd, "text", "json")
	return cmd
}

func (a *app) rotateSecrets(ctx context.Context, store *db.Store, box *secret.Box, key string) error {
	r := rotateResult{Key: key, Failed: []string{}}
	for batch := (db.Reseal{}); !batch.Done; {
		var err error
		if batch, err = store.ResealSecrets(ctx, box, batch.Last, rotateBatch); err != nil {
			if ctx.Err() != nil {
				return stopped(ctx, fmt.Sprintf("after %d were sealed again and %d were already: run it again to go on", r.Sealed, r.Already))
			}
			return err
		}
		r.Sealed, r.Already, r.Failed = r.Sealed+batch.Sealed, r.Already+batch.Already, append(r.Failed, batch.Failed...)
		a.log.Debug("secrets_sealed", "sealed", r.Sealed, "already", r.Already, "failed", len(r.Failed))
	}
	var err error
	if r.Keys, err = store.SecretKeys(ctx); err != nil {
		return err
	}
	if a.json() {
		err = a.printJSON(r)
	} else {
		a.printf("%d sealed again under key %s, %d were already\n", r.Sealed, r.Key, r.Already)
		for _, id := range slices.Sorted(maps.Keys(r.Keys)) {
			a.printf("key %s: %d\n", cmp.Or(id, "(unreadable)"), r.Keys[id])
		}
	}
	if err != nil || len(r.Failed) == 0 {
		return err
	}
	return configError("%d cannot be opened, and stay as they are: give these credentials anew, or put their key back:\n%s",
		len(r.Failed), strings.Join(r.Failed, "\n"))
}

var shellPlain = regexp.MustCompile(`^[A-Za-z0-9/._+=:,@-]+$`)

// shellQuote writes s so that a person can paste it into a command.
func shellQuote(s string) string {
	if shellPlain.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
