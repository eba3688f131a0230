package sync

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
)

// silent has a stage of the conversation about INBOX find nothing: SEARCH says so, and
// the others say OK alone.
func silent(stage imapserver.Stage) imapserver.Quirk {
	return inInbox(imapserver.Quirk{Stage: stage, Do: func(x *imapserver.Exchange) error {
		if stage == imapserver.Search {
			return x.Untagged("* SEARCH")
		}
		return x.Untagged()
	}})
}

// hide has the server count messages of INBOX by EXISTS and show them nowhere.
func (env *scriptedEnv) hide(uids ...uint32) {
	hidden := func(uid uint32) bool { return slices.Contains(uids, uid) }
	env.srv.Play(inInbox(imapserver.Quirk{Stage: imapserver.Search, Do: func(x *imapserver.Exchange) error {
		shown := slices.DeleteFunc(slices.Clone(x.Numbers), hidden)
		return x.Untagged(strings.TrimSpace("* SEARCH " + strings.Trim(fmt.Sprint(shown), "[]")))
	}}))
	for _, stage := range []imapserver.Stage{imapserver.Fetch, imapserver.Body} {
		env.srv.Play(inInbox(imapserver.Quirk{Stage: stage, Do: func(x *imapserver.Exchange) error {
			x.Responses = slices.DeleteFunc(x.Responses, func(r imapserver.Response) bool { return hidden(r.UID) })
			return nil
		}}))
	}
}

// code is the code of an error of a pass, "" for none.
func code(res Result) string {
	if res.Err == nil {
		return ""
	}
	_, code := Classify(res.Err)
	return code
}

// all tells of mail that is not on the stream. That which is there twice fails the
// test as well.
func (env *scriptedEnv) all() {
	env.t.Helper()
	if left := env.missing(env.folders...); len(left) > 0 {
		env.t.Errorf("not on the stream: %q", left)
	}
}

// SEARCH that finds nothing, though EXISTS counts messages, is not believed: at the
// first look, and when new mail comes.
func TestFailure28_SearchFindsNothing(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	env.srv.Play(silent(imapserver.Search))
	if res := env.pass(); res.Err != nil || res.Counts.Published != 7 {
		t.Errorf("%+v, want all 7 published", res)
	}
	env.later(5 * time.Minute)
	env.append("INBOX", 2)
	if res := env.pass(); res.Err != nil || res.Counts.Published != 2 {
		t.Errorf("%+v, want 2 more published", res)
	}
	env.all()
}

// A server that shows nothing of what it counts has failed: its mail is not read, and
// neither the pass nor reconcile says that all is well.
func TestFailure28_NothingIsShown(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) { p.Folders = db.FolderNames{"INBOX"} })
	env.srv.Play(silent(imapserver.Search))
	env.srv.Play(silent(imapserver.Fetch))
	if res := env.pass(); code(res) != "exists_mismatch" || res.Partial {
		t.Errorf("%+v, want the pass failed by exists_mismatch", res)
	}
	var report FolderReport
	must(t, env.runner.Reconcile(t.Context(), env.provider, func(r FolderReport) { report = r }))
	if report.Exists != 4 || report.OnServer != 0 || report.Unseen != 4 || report.UnseenOwn {
		t.Errorf("reconcile: %+v, want 4 counted and not shown", report)
	}
	env.later(8 * time.Hour)
	env.pass() // counts the folder; for an hour or two no other pass does
	if res := env.passes(2, time.Minute); code(res) != "exists_mismatch" || res.Partial {
		t.Errorf("%+v, want each pass failed, not only those that count the folder", res)
	}
	env.srv.Behave()
	env.folders = []string{"INBOX"}
	env.settle()
	env.hide(5, 6)
	env.append("INBOX", 2)
	env.pass()
	env.srv.Behave()
	if res := env.passes(1, time.Second); res.Err != nil || res.Counts.Published != 2 {
		t.Errorf("%+v, want both published, and nothing said of what is found", res)
	}
}

// A message that EXISTS counts and nothing shows is said by each pass, and holds up
// neither new mail nor the other folders; what is shown later is read. After a day, and
// ten counts that agree, the count is the folder's own, and any other number is news.
func TestFailure28_Surplus(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	env.hide(3)
	if res := env.pass(); code(res) != "exists_mismatch" || !res.Partial || res.Counts.Published != 6 || res.NextAttemptAt != nil {
		t.Errorf("%+v, want all but one published, and no pause for it", res)
	}
	env.append("INBOX", 1)
	if res := env.passes(1, time.Minute); code(res) != "exists_mismatch" || res.Counts.Published != 1 {
		t.Errorf("%+v, want the new mail published", res)
	}
	if st := env.state("INBOX"); st.SettledUID != 2 || st.LastUID != 5 || st.Surplus != 1 {
		t.Errorf("settled %d, last %d, surplus %d; want 2, 5 and 1", st.SettledUID, st.LastUID, st.Surplus)
	}
	if res := env.passes(23, time.Hour); code(res) != "exists_mismatch" {
		t.Errorf("%+v, want the mismatch said for a day", res)
	}
	if st := env.state("INBOX"); st.SettledUID != 2 {
		t.Errorf("settled %d while something does not add up, want 2", st.SettledUID)
	}
	res := env.passes(3, time.Hour)
	if st := env.state("INBOX"); res.Err != nil || st.Surplus != 1 || st.SettledUID != 5 {
		t.Errorf("%v, surplus %d, settled %d; want 1, the folder's own, and the cursor settled", res.Err, st.Surplus, st.SettledUID)
	}
	env.srv.Forget()
	if env.pass(); slices.ContainsFunc(env.srv.Commands(), func(c imapserver.Command) bool { return strings.Contains(c.Line, "EXAMINE INBOX") }) {
		t.Error("the folder is opened again though its number stays")
	}
	// What was given up on is read when it shows up: in the count of the day at last.
	env.srv.Behave()
	env.passes(25, time.Hour)
	env.all()
	if st := env.state("INBOX"); st.Surplus != 0 {
		t.Errorf("surplus %d when all is shown", st.Surplus)
	}
}

// A message that is shown late, when the cursor has passed it and no number of the
// folder changes by it, is found by the count of the day.
func TestFailure28_CountOfTheDay(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	inbox := env.srv.Mailbox("INBOX")
	inbox.AppendHidden(env.letter("INBOX"))
	env.append("INBOX", 1)
	env.pass()
	env.passes(5, 5*time.Minute)
	if st := env.state("INBOX"); st.SettledUID != 6 {
		t.Fatalf("settled %d, want 6", st.SettledUID)
	}
	env.remember()
	inbox.Show()
	inbox.Expunge(1)
	env.passes(25, time.Hour)
	env.all()
}

// A folder that is empty for an hour loses nothing and doubles nothing, also of what
// was not handled yet, whether UIDNEXT stays or not.
func TestFailure28_EmptyForAnHour(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for _, uidNextToo := range []bool{false, true} {
		t.Run(fmt.Sprintf("UIDNEXT too %v", uidNextToo), func(t *testing.T) {
			env := l.start(t, imapserver.TLS, func(p *db.Provider) { p.MaxEmailsPerSync = 4 })
			inbox := env.srv.Mailbox("INBOX")
			env.pass()
			env.append("INBOX", 6)
			env.passes(1, time.Minute)
			env.remember()
			inbox.SetEmpty(true, uidNextToo)
			env.passes(6, 10*time.Minute)
			inbox.SetEmpty(false, false)
			env.append("INBOX", 1)
			env.passes(4, 5*time.Minute)
			env.settle()
			env.all()
		})
	}
}

// A store that is in disorder while mail comes, which is handled above what is hidden:
// no gap settles within the day, and nothing is lost after it.
func TestFailure28_ShrunkFolderSettlesNoGap(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	inbox := env.srv.Mailbox("INBOX")
	env.pass()
	env.remember()
	inbox.SetEmpty(true, false)
	env.passes(1, time.Minute)
	inbox.SetEmpty(false, false)
	inbox.AppendHidden(env.letter("INBOX"))
	env.append("INBOX", 1)
	env.passes(20, time.Hour)
	if st := env.state("INBOX"); st.SettledUID != 4 || st.LastUID != 6 {
		t.Errorf("settled %d, last %d; want 4 and 6 within the day", st.SettledUID, st.LastUID)
	}
	env.passes(10, time.Hour)
	if st := env.state("INBOX"); st.SettledUID != 6 {
		t.Errorf("settled %d after it, want 6", st.SettledUID)
	}
	inbox.Show()
	env.passes(25, time.Hour)
	env.all()
}

// What the server listed and does not show at one look is not expunged.
func TestFailure02_OneLookIsNoEvidence(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	searches := 0
	env.srv.Play(inInbox(imapserver.Quirk{Stage: imapserver.Search, Do: func(x *imapserver.Exchange) error {
		if searches++; searches > 1 {
			return x.Untagged("* SEARCH 1 3 4") // the first look alone shows it
		}
		return nil
	}}))
	env.srv.Play(inInbox(imapserver.Quirk{Stage: imapserver.Fetch, Do: func(x *imapserver.Exchange) error {
		x.Responses = slices.DeleteFunc(x.Responses, func(r imapserver.Response) bool { return r.UID == 2 })
		return nil
	}}))
	if res := env.pass(); res.Counts.Published != 6 || res.Counts.Expunged+res.Counts.Quarantined != 0 {
		t.Errorf("%+v, want 6 published and nothing said of the other", res.Counts)
	}
	env.passes(5, 10*time.Minute) // EXISTS counts it all the time
	if st := env.state("INBOX"); st.SettledUID != 1 {
		t.Errorf("settled %d, want 1", st.SettledUID)
	}
	env.srv.Behave()
	env.later(time.Hour)
	env.settle()
	env.all()
}

// A message in quarantine that a person has deleted leaves it: after two looks on two
// connections, a quarter of an hour apart, and not while EXISTS counts it.
func TestFailure02_QuarantinedMessageIsGone(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	env.srv.Play(inInbox(imapserver.Named("body-refused-one")))
	env.pass()
	if n := len(env.quarantine()); n != 1 {
		t.Fatalf("%d in quarantine, want 1", n)
	}
	env.srv.Behave()
	env.remember()
	env.hide(2)
	again := func(after time.Duration) Result {
		env.later(after)
		env.due()
		return env.pass()
	}
	for range 3 {
		if res := again(20 * time.Minute); res.Counts.Expunged != 0 {
			t.Errorf("%+v: gone though EXISTS counts it", res.Counts)
		}
	}
	env.srv.Mailbox("INBOX").Expunge(2)
	again(time.Minute)
	if q := env.quarantine(); len(q) != 1 || q[0].ErrorCode != notShown || q[0].Attempts > 1 {
		t.Errorf("in quarantine: %+v; want one that is not shown, and no more attempts", q)
	}
	if res := again(20 * time.Minute); res.Counts.Expunged != 1 || len(env.quarantine()) != 0 {
		t.Errorf("%+v, in quarantine %v; want it expunged", res.Counts, env.quarantine())
	}
}

// So does one that was let out of it before that: it is looked for as seldom as others,
// so that there are two looks a quarter of an hour apart.
func TestFailure02_ReleasedMessageIsGone(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	env.srv.Play(inInbox(imapserver.Named("body-refused-one")))
	env.pass()
	q := env.quarantine()
	if len(q) != 1 {
		t.Fatalf("%d in quarantine, want 1", len(q))
	}
	env.srv.Behave()
	env.remember()
	env.srv.Mailbox("INBOX").Expunge(q[0].UID)
	must(t, env.store.SetQuarantineState(t.Context(), &q[0], db.QuarantineReleased, db.Audit{Tenant: testTenant, At: env.runner.now()}))
	env.passes(1, time.Minute)
	if q := env.quarantine(); len(q) != 1 || q[0].ErrorCode != notShown || q[0].State != db.QuarantineReleased {
		t.Errorf("in quarantine: %+v; want one that is not shown, and released still", q)
	}
	env.passes(5, 5*time.Minute)
	if q := env.quarantine(); len(q) != 0 {
		t.Errorf("in quarantine: %+v; want it expunged", q)
	}
}

// UIDNEXT that goes back, with a SEARCH that finds nothing, is no new numbering.
func TestFailure28_UIDNextGoesBackWhereSearchIsSilent(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	env.pass()
	env.srv.Play(silent(imapserver.Search))
	back := func(x *imapserver.Exchange) error { return x.Replace("UIDNEXT 5", "UIDNEXT 2") }
	env.srv.Play(inInbox(imapserver.Quirk{Stage: imapserver.Status, Do: back}))
	env.srv.Play(inInbox(imapserver.Quirk{Stage: imapserver.Select, Do: back}))
	if res := env.passes(1, time.Minute); res.Err != nil || res.Counts.Total() != 0 {
		t.Errorf("%+v, want nothing to do", res)
	}
	if st := env.state("INBOX"); st.ResyncSince != nil || st.SettledUID != 4 || strings.Contains(env.log.String(), "folder_renumbered") {
		t.Errorf("%+v, want the cursor as it was", st)
	}
}

// A LIST that leaves folders out, or all of them, hides no mail in those that are known,
// nor in INBOX; one that was deleted is no fault.
func TestFailure25_ListLeavesOut(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	patterns := func(p *db.Provider) { p.Folders = db.FolderNames{"*"} }
	empty := imapserver.Quirk{Stage: imapserver.List, Do: func(x *imapserver.Exchange) error { return x.Untagged() }}
	t.Run("known folders", func(t *testing.T) {
		env := l.start(t, imapserver.TLS, patterns)
		env.pass()
		for _, folder := range env.folders {
			env.append(folder, 1)
		}
		env.srv.Play(empty)
		if res := env.passes(1, time.Minute); res.Err != nil || res.Counts.Published != 3 {
			t.Errorf("%+v, want 3 published", res)
		}
		env.srv.Behave()
		env.remember()
		env.srv.RemoveMailbox("Other")
		env.folders = []string{"INBOX", "Sub/One"}
		if res := env.passes(1, time.Minute); res.Err != nil {
			t.Errorf("a folder was deleted: %v", res.Err)
		}
		env.srv.Forget()
		env.passes(1, 25*time.Hour)
		if slices.ContainsFunc(env.srv.Commands(), func(c imapserver.Command) bool { return strings.Contains(c.Line, "STATUS Other") }) {
			t.Error("it is asked for a day later")
		}
	})
	t.Run("never read", func(t *testing.T) {
		env := l.start(t, imapserver.TLS, patterns)
		env.srv.Play(empty)
		if res := env.pass(); res.Err != nil || res.Counts.Published != 4 {
			t.Errorf("%+v, want the mail of INBOX", res)
		}
	})
	t.Run("none that is meant", func(t *testing.T) {
		env := l.start(t, imapserver.TLS, func(p *db.Provider) { p.Folders = db.FolderNames{"Sub/*"} })
		env.srv.Play(empty)
		if res := env.pass(); code(res) != "folder_missing" {
			t.Errorf("%+v, want it said that there is none", res)
		}
		env.srv.Behave()
		env.folders = []string{"Sub/One"}
		env.settle()
	})
}

// --start none leaves out what is there, whatever SEARCH shows of it, and nothing else.
func TestStartNoneIsUIDNEXT(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for name, tt := range map[string]struct {
		play  func(env *scriptedEnv)
		begun bool
	}{
		"an honest server":     {func(*scriptedEnv) {}, true},
		"SEARCH finds nothing": {func(env *scriptedEnv) { env.srv.Play(silent(imapserver.Search)) }, true},
		"nothing is shown": {func(env *scriptedEnv) {
			env.srv.Play(silent(imapserver.Search))
			env.srv.Play(silent(imapserver.Fetch))
		}, true},
		"no UIDNEXT": {func(env *scriptedEnv) {
			env.srv.Play(inInbox(imapserver.Named("select-uidnext-missing")))
			env.srv.Play(inInbox(imapserver.Named("status-uidnext-missing")))
			env.srv.Play(silent(imapserver.Search))
		}, true},
		"no UIDNEXT, and one is not shown": {func(env *scriptedEnv) {
			env.srv.Play(inInbox(imapserver.Named("select-uidnext-missing")))
			env.srv.Play(inInbox(imapserver.Named("status-uidnext-missing")))
			env.hide(4)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			env := l.start(t, imapserver.TLS, func(p *db.Provider) { p.Start, p.Folders = "none", db.FolderNames{"INBOX"} })
			env.later(time.Minute) // a mail of the second of the first look would be new
			tt.play(env)
			res := env.pass()
			if st := env.state("INBOX"); (st.Folder != "") != tt.begun || (code(res) == "exists_mismatch") == tt.begun {
				t.Errorf("%v, %+v; want it begun: %v", res.Err, st, tt.begun)
			}
			env.srv.Behave()
			env.passes(2, time.Minute)
			env.append("INBOX", 1)
			env.passes(2, time.Minute)
			if counts := env.onStream(env.provider); len(counts) != 1 || counts["INBOX 8"] != 1 {
				t.Errorf("on the stream: %v, want the new mail alone", counts)
			}
		})
	}
}

// The other starts do not take a silent SEARCH for an empty folder.
func TestStartIsNotTakenFromASilentSearch(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for start, want := range map[string]int{"recent": 3, "since:2d": 4} {
		t.Run(start, func(t *testing.T) {
			env := l.start(t, imapserver.TLS, func(p *db.Provider) {
				p.Start, p.Folders, p.MaxEmailsPerSync = start, db.FolderNames{"INBOX"}, 3
			})
			env.srv.Play(silent(imapserver.Search))
			env.passes(2, time.Minute)
			if counts := env.onStream(env.provider); len(counts) != want {
				t.Errorf("on the stream: %v, want %d", counts, want)
			}
			env.srv.Behave()
			env.passes(2, time.Minute)
			if counts := env.onStream(env.provider); len(counts) != want {
				t.Errorf("once the server behaves: %v, want %d", counts, want)
			}
		})
	}
	t.Run("no dates either", func(t *testing.T) {
		env := l.start(t, imapserver.TLS, func(p *db.Provider) { p.Start, p.Folders = "since:2d", db.FolderNames{"INBOX"} })
		env.srv.Play(silent(imapserver.Search))
		env.srv.Play(imapserver.Named("fetch-date-nil"))
		if res := env.pass(); code(res) != "dates_unknown" || env.state("INBOX").Folder != "" {
			t.Errorf("%v, %+v; want the folder not begun", res.Err, env.state("INBOX"))
		}
		env.srv.Behave()
		env.srv.Play(imapserver.Named("fetch-date-nil")) // SEARCH says it
		env.passes(2, time.Minute)
		if counts := env.onStream(env.provider); len(counts) != 4 {
			t.Errorf("on the stream: %v, want 4", counts)
		}
	})
	t.Run("nothing is shown", func(t *testing.T) {
		env := l.start(t, imapserver.TLS, func(p *db.Provider) { p.Start, p.Folders = "recent", db.FolderNames{"INBOX"} })
		env.srv.Play(silent(imapserver.Search))
		env.srv.Play(silent(imapserver.Fetch))
		if res := env.pass(); code(res) != "exists_mismatch" || env.state("INBOX").Folder != "" {
			t.Errorf("%v, %+v; want the folder not begun", res.Err, env.state("INBOX"))
		}
	})
}

// A backfill asks for dates where SEARCH finds nothing.
func TestBackfillOnASilentSearch(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) { p.Start, p.Folders = "none", db.FolderNames{"INBOX"} })
	inbox := env.srv.Mailbox("INBOX")
	inbox.AppendAt(env.letter("INBOX"), time.Now().AddDate(0, 0, -40))
	env.pass()
	env.srv.Play(silent(imapserver.Search))
	res := env.runner.Backfill(t.Context(), env.provider, Backfill{Since: time.Now().AddDate(0, 0, -2)})
	if res.Err != nil || res.Counts.Published != 4 {
		t.Errorf("%+v, want the 4 of these days", res)
	}
	env.srv.Play(silent(imapserver.Fetch))
	if res := env.runner.Backfill(t.Context(), env.provider, Backfill{Since: time.Now().AddDate(0, 0, -2)}); code(res) != "exists_mismatch" {
		t.Errorf("%+v, want it to say that nothing is shown", res)
	}
}

// A size that the server does not say, or says as 0, keeps no message from being read;
// with a body that is empty as well nothing is published, and all of it later.
func TestFailure29_SizesAreHints(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for name, by := range map[string]string{
		"zero": "RFC822.SIZE 0 X-SIZE ", "absent": "X-SIZE ", "unreadable": "RFC822.SIZE 1.38e+02 X-SIZE ", "huge": "RFC822.SIZE 4000000000 X-SIZE ",
	} {
		t.Run(name, func(t *testing.T) {
			env := l.start(t, imapserver.TLS, nil)
			size := inInbox(imapserver.Quirk{Stage: imapserver.Fetch, Do: func(x *imapserver.Exchange) error { return x.Replace("RFC822.SIZE ", by) }})
			env.srv.PlayTimes(size, 1) // the second time it is said
			if res := env.pass(); res.Err != nil || res.Counts.Published != 7 {
				t.Errorf("%+v, want all 7 published", res)
			}
			env.all()
			if name == "huge" {
				return // said twice it is believed
			}
			env.append("INBOX", 2)
			env.srv.Play(size)
			if res := env.pass(); res.Err != nil || res.Counts.Published != 2 {
				t.Errorf("%+v, want 2 published without a size", res)
			}
			env.append("INBOX", 2)
			env.srv.PlayTimes(inInbox(imapserver.Named("body-nil")), -1)
			if res := env.pass(); res.Counts.Published != 0 {
				t.Errorf("%+v, want nothing published without a body", res)
			}
			env.srv.Behave()
			env.settle()
			env.all()
		})
	}
}

// A pass without news asks for STATUS and writes no folder's row. Once an hour it
// searches, once a day it counts: each of that is noted, so that the next pass does not.
func TestNoNewsCostsAStatus(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	env.passes(5, 10*time.Minute)
	commands := func(passes int) map[string]int {
		env.srv.Forget()
		if res := env.passes(passes, time.Minute); res.Err != nil {
			t.Error(res.Err)
		}
		n := map[string]int{}
		for _, c := range env.srv.Commands() {
			name := strings.Fields(c.Line)[1]
			if name == "UID" {
				name += " " + strings.Fields(c.Line)[2]
			}
			n[name]++
		}
		return n
	}
	env.passes(2, 61*time.Minute) // the hour begins
	env.exec(`UPDATE imap_folder_state SET counted_at = now() + interval '2 days' WHERE provider_id = $1`)
	before := env.folderRows()
	n := commands(20)
	want := map[string]int{"LOGIN": 20, "ID": 20, "STATUS": 60, "LIST": 20, "LOGOUT": 20}
	delete(n, "LOGOUT") // may come late
	delete(want, "LOGOUT")
	if diff := cmp.Diff(want, n); diff != "" {
		t.Errorf("20 passes without news (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, env.folderRows()); diff != "" {
		t.Errorf("rows of folders were written (-before +after):\n%s", diff)
	}
	env.exec(`UPDATE imap_folder_state SET counted_at = NULL WHERE provider_id = $1`)
	if n = commands(6 * 60); n["EXAMINE"] > 3*8 || n["UID SEARCH"] > 3*8 || n["UID FETCH"] > 3 {
		t.Errorf("six hours of passes: %v; want a search an hour and a count a folder at most", n)
	}
}

// folderRows tells which version of each folder's row is stored.
func (env *scriptedEnv) folderRows() map[string]string {
	env.t.Helper()
	env.exec(`SELECT 1 WHERE $1::uuid IS NOT NULL`) // opens the pool
	rows, err := env.pool.QueryContext(env.t.Context(), `SELECT folder, xmin::text FROM imap_folder_state WHERE provider_id = $1`, env.provider.ID)
	must(env.t, err)
	defer rows.Close()
	versions := map[string]string{}
	for rows.Next() {
		var folder, version string
		must(env.t, rows.Scan(&folder, &version))
		versions[folder] = version
	}
	must(env.t, rows.Err())
	return versions
}
