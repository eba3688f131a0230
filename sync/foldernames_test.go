package sync

import (
	"maps"
	"slices"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
)

// A folder that the server spells in a way of its own is read, waited for, compared and
// published again as any other, and has one name in the database.
func TestFailure32_FolderSpelling(t *testing.T) {
	for raw, filter := range map[string]string{
		"&BBAEMQQyACYEMwQ0BDU-": "Абв&где",
		"Gel\u00f6scht":         "gelo\u0308scht",
		"Entw\xfcrfe":           "Entwürfe",
		" Support ":             "support", //nolint:gocritic // its blanks are what is tried
	} {
		t.Run(filter, func(t *testing.T) {
			t.Parallel()
			env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) {
				deadlines(p, patient)
				p.Folders = db.FolderNames{filter}
			})
			env.folders = []string{raw}
			deliver := func(n int) {
				for range n {
					env.srv.Mailbox(raw).Append(env.letter("Folder"))
				}
			}
			deliver(3)
			env.settle()
			deliver(1)
			env.settle()
			states, err := env.store.FolderStates(t.Context(), env.provider.Ref())
			must(t, err)
			if len(states) != 1 {
				t.Fatalf("the folder has %d names: %v", len(states), states)
			}
			folder := slices.Collect(maps.Keys(states))[0]
			err = env.runner.Reconcile(t.Context(), env.provider, func(r FolderReport) {
				if r.Folder != folder || r.OnServer != 4 || len(r.Missing) > 0 || r.Error != "" {
					t.Errorf("reconcile: %+v", r)
				}
			})
			must(t, err)
			lost, err := env.store.PublishedEvents(t.Context(), env.provider.Ref(), time.Unix(1, 0))
			must(t, err)
			if rep, res := env.runner.Republish(t.Context(), env.provider, lost); rep.Published != 4 || res.Err != nil {
				t.Errorf("verify --republish: %+v, %v", rep, res.Err)
			}
			w := env.watch(WatchOptions{Interval: time.Hour})
			soon(t, "IDLE", w.idling(2)) // the neighbour is watched too
			deliver(1)
			soon(t, "the event", func() bool { return len(env.missing(raw)) == 0 })
		})
	}
}
