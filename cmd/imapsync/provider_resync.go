package main

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"imapsync/db"
)

func newProviderResync(a *app) *cobra.Command {
	var tenant, since string
	var folders []string
	var accept bool
	cmd := &cobra.Command{
		Use: "resync PROVIDER", Short: "Go through folders again for mail that was missed",
		Long: "Begin a new cursor in the provider's folders: the next run goes through all unread mail and\n" +
			"all mail since a day, by headers first. What was published before is known and left out, so\n" +
			"nothing is doubled. It also lets folders go on that were paused because the server had\n" +
			"numbered them anew." + exitCodesPointer,
		Example: "  imapsync provider resync support\n  imapsync provider resync support --folder INBOX --since 7d",
		Args:    oneProvider,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			from, _, err := dateRange(since, "", time.Now())
			if err != nil {
				return err
			}
			return a.withProvider(ctx, args[0], tenant, func(store *db.Store, p *db.Provider) error {
				n, err := resync(ctx, store, p, folders, from, accept, actor())
				if err != nil {
					return err
				}
				a.notef("%s: the next run goes through %d folders again, from %s on", p.Name, n, from.Format(time.DateOnly))
				return nil
			})
		},
	}
	fs := cmd.Flags()
	fs.StringSliceVar(&folders, "folder", nil, "only this folder (repeatable; default: all that were read before)")
	fs.StringVar(&since, "since", "7d", "from this day on: "+sinceForms)
	fs.BoolVar(&accept, "accept", false, "publish unknown messages however many they are")
	tenantFlag(cmd, &tenant)
	return cmd
}

// resync sets the cursors back, under the provider's lock.
func resync(ctx context.Context, store *db.Store, p *db.Provider, folders []string, since time.Time, accept bool, by string) (int, error) {
	locks, err := store.OpenLocks(ctx)
	if err != nil {
		return 0, err
	}
	defer locks.Close()
	lock, ok, err := locks.TryLock(ctx, p.Tenant, p.ID, uuid.NewString(), time.Now().UTC())
	if err != nil {
		return 0, err
	}
	if !ok {
		return 0, withMore(busyError(p), "try again when it has ended")
	}
	defer lock.Unlock()
	states, err := store.FolderStates(ctx, ref(p))
	if err != nil {
		return 0, err
	}
	if len(folders) == 0 {
		for name := range states {
			folders = append(folders, name)
		}
	}
	reason := "asked for by a person"
	if accept {
		reason = db.ResyncAccepted
	}
	for _, name := range folders {
		st := states[name]
		if st == nil {
			return 0, usageError("--folder %q: was never read: `imapsync status %s` shows the folders", name, p.Name)
		}
		st.ResyncSince, st.ResyncReason, st.ResyncCount, st.PausedReason = &since, reason, 0, ""
		st.LastUID, st.SettledUID, st.StartUID, st.GapPasses = max(st.LastUID, st.SettledUID), 0, 0, 0
		entry := audit(p, by, "folder_resynced", db.Detail{"folder": name, "since": since.Format(time.DateOnly), "reason": reason})
		if err := store.RenumberFolder(ctx, lock.Fence, st, false, entry); err != nil {
			return 0, err
		}
	}
	return len(folders), nil
}
