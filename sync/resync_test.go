package sync

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"imapsync/db"
	"imapsync/internal/devenv"
)

// renumber deletes a folder and makes it again with the mails given, so that
// they have other UIDs under another UIDVALIDITY. Those in seen are read.
func renumber(t *testing.T, d *devenv.Dovecot, user, folder string, mails [][]byte, seen ...int) {
	t.Helper()
	c, err := d.Login(user)
	must(t, err)
	defer c.Close()
	must(t, c.Delete(folder).Wait())
	must(t, c.Create(folder, nil).Wait())
	for i, m := range mails {
		opts := &imap.AppendOptions{}
		if slices.Contains(seen, i) {
			opts.Flags = []imap.Flag{imap.FlagSeen}
		}
		cmd := c.Append(folder, int64(len(m)), opts)
		_, err := cmd.Write(m)
		must(t, err)
		must(t, cmd.Close())
		_, err = cmd.Wait()
		must(t, err)
	}
}

func TestFailure07_RenumberedFolderLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p", "Work"))
	old := mails(1, 40)
	must(t, d.Deliver("u", "Work", old...))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.Folders = db.FolderNames{"Work"} })
	if res := env.ok(p); res.Counts.Published != 40 {
		t.Fatalf("before: %+v", res.Counts)
	}
	// Three more came meanwhile, one of which a person has read already, and
	// they do not stand at the end.
	all := slices.Concat(mails(101, 102), old, mails(103, 103))
	renumber(t, d, "u", "Work", all, 1, 5, 6, 7)
	res := env.ok(p)
	if diff := cmp.Diff(db.Counts{Published: 3}, res.Counts); diff != "" {
		t.Errorf("after (-want +got):\n%s", diff)
	}
	if got := len(env.events()); got != 43 {
		t.Errorf("%d events, want 43", got)
	}
	if bytes := res.Bytes; bytes > 3*1000 {
		t.Errorf("downloaded %d bytes of bodies, want the three new ones alone", bytes)
	}
	if res := env.ok(p); res.Counts.Total() != 0 {
		t.Errorf("once more: %+v, want nothing", res.Counts)
	}
	log, err := env.store.AuditLog(t.Context(), p.Tenant, p.ID, 10)
	must(t, err)
	if !slices.ContainsFunc(log, func(a db.Audit) bool {
		return a.Action == "folder_renumbered" && strings.Contains(a.Detail["reason"], "UIDVALIDITY")
	}) {
		t.Errorf("no audit entry: %+v", log)
	}
	must(t, d.Deliver("u", "Work", mails(200, 201)...))
	if res := env.ok(p); res.Counts.Published != 2 {
		t.Errorf("mail that came later: %+v, want 2 published", res.Counts)
	}
}

func TestFailure07_OldUnknownMailIsHeld(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p", "Work"))
	must(t, d.Deliver("u", "Work", mails(1, 3)...))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.Folders = db.FolderNames{"Work"}; p.MaxEmailsPerSync = 5000 })
	env.ok(p)
	c, err := d.Login("u")
	must(t, err)
	must(t, c.Delete("Work").Wait())
	must(t, c.Create("Work", nil).Wait())
	must(t, c.Close())
	const restored = 120
	must(t, d.Deliver("u", "Work", mails(1000, 999+restored)...)) // a backup of mail from years ago
	if res := env.ok(p); res.Counts.Published != DefaultMaxOldUnknown {
		t.Fatalf("the restored backup: %+v, want %d published", res.Counts, DefaultMaxOldUnknown)
	}
	must(t, d.Deliver("u", "Work", newMail(2000, time.Now())))
	if res := env.ok(p); res.Counts.Published != 1 || res.HeldBack != restored-DefaultMaxOldUnknown {
		t.Errorf("new mail: %+v, %d held; want 1 published, the others held", res.Counts, res.HeldBack)
	}
	env.reconciled(p, FolderReport{Folder: "Work", OnServer: restored + 1, Exists: restored + 1, Handled: DefaultMaxOldUnknown + 1, HeldBack: restored - DefaultMaxOldUnknown})
	if res := env.ok(p); res.Counts.Total() != 0 {
		t.Errorf("once more: %+v, want nothing", res.Counts)
	}
	lock, ok, err := env.locks.TryLock(t.Context(), p.Tenant, p.ID, uuid.NewString(), time.Now())
	must(t, err)
	if !ok {
		t.Fatal("lock refused")
	}
	states, err := env.store.FolderStates(t.Context(), p.Ref())
	must(t, err)
	SearchAgain(states["Work"], beginning(), true)
	must(t, env.store.ResyncFolder(t.Context(), lock.Fence, states["Work"], db.Audit{Tenant: p.Tenant, At: time.Now()}))
	lock.Unlock()
	if res := env.ok(p); res.Counts.Published != restored-DefaultMaxOldUnknown || res.HeldBack != 0 {
		t.Errorf("accepted: %+v, %d held; want the others published", res.Counts, res.HeldBack)
	}
	env.reconciled(p, FolderReport{Folder: "Work", OnServer: restored + 1, Exists: restored + 1, Handled: restored + 1})
}

func TestBackfillReconcileAndRepublish(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	for month := range 6 {
		when := time.Date(2026, time.Month(month+1), 15, 12, 0, 0, 0, time.UTC)
		must(t, d.Append("u", "INBOX", when, mails(month*10, month*10+9)...))
	}
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.Start, p.MaxEmailsPerSync = "recent", 10 })
	if res := env.ok(p); res.Counts.Published != 10 {
		t.Fatalf("the newest: %+v", res.Counts)
	}
	env.reconciled(p, FolderReport{Folder: "INBOX", OnServer: 60, Exists: 60, Before: 50, Handled: 10})

	day := func(m, d int) time.Time { return time.Date(2026, time.Month(m), d, 0, 0, 0, 0, time.UTC) }
	var counts []BackfillCount
	march := Backfill{Since: day(3, 1), Until: day(4, 1), OnCount: func(c BackfillCount) { counts = append(counts, c) }}
	dry := march
	dry.DryRun = true
	if res := env.runner.Backfill(t.Context(), p, dry); res.Err != nil || res.Counts.Total() != 0 {
		t.Errorf("dry run: %+v", res)
	}
	if res := env.runner.Backfill(t.Context(), p, march); res.Err != nil || res.Counts.Published != 10 {
		t.Errorf("March: %+v, want 10 published", res)
	}
	if res := env.runner.Backfill(t.Context(), p, march); res.Err != nil || res.Counts.Total() != 0 {
		t.Errorf("March again: %+v, want nothing", res)
	}
	want := []BackfillCount{{"INBOX", 10, 0, 10}, {"INBOX", 10, 0, 10}, {"INBOX", 10, 10, 0}}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if res := env.ok(p); res.Counts.Total() != 0 {
		t.Errorf("a pass after the backfill: %+v, want nothing", res.Counts)
	}
	if got := len(env.events()); got != 20 {
		t.Errorf("%d events, want 20", got)
	}

	// The broker loses everything; the ledger knows what was on it.
	env.purge()
	published, err := env.store.PublishedEvents(t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID}, time.Now().Add(-time.Hour))
	must(t, err)
	rep, res := env.runner.Republish(t.Context(), p, published)
	if rep.Published != 20 || res.Err != nil {
		t.Errorf("republished %+v (%v), want 20", rep, res.Err)
	}
	if got := len(env.events()); got != 20 {
		t.Errorf("%d events after republish, want 20", got)
	}
	env.reconciled(p, FolderReport{Folder: "INBOX", OnServer: 60, Exists: 60, Before: 40, Handled: 20})
}

// reconciled compares the report on a provider's one folder.
func (env *testEnv) reconciled(p *db.Provider, want FolderReport) {
	env.t.Helper()
	var got []FolderReport
	must(env.t, env.runner.Reconcile(env.t.Context(), p, func(r FolderReport) { got = append(got, r) }))
	if len(got) != 1 {
		env.t.Fatalf("%d folders, want 1", len(got))
	}
	got[0].UIDValidity, got[0].Missing = 0, slices.Clip(got[0].Missing)
	if len(got[0].Missing) == 0 {
		got[0].Missing = nil
	}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		env.t.Errorf("reconcile (-want +got):\n%s", diff)
	}
}

func TestReconcileFindsWhatWasPassedOver(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	must(t, d.Deliver("u", "INBOX", mails(1, 5)...))
	p := env.provider(d, "u", "p", nil)
	env.ok(p)
	must(t, env.forget(p, 3))
	env.reconciled(p, FolderReport{Folder: "INBOX", OnServer: 5, Exists: 5, Handled: 4, Missing: []uint32{3}})
}
