package sync

import (
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
	"imapsync/internal/fault"
)

// A folder whose every message costs the connection must not starve the others,
// and is got through in time.
func TestFailure01_FolderThatCostsConnectionsStarvesNoOther(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	env.append("INBOX", 8)
	env.srv.Play(inInbox(imapserver.Quirk{Stage: imapserver.Body, Do: (*imapserver.Exchange).Close}))
	res := env.pass()
	if res.Err == nil || !res.Partial {
		t.Errorf("%+v, want INBOX alone failed", res)
	}
	if left := env.missing("Other", "Sub/One"); len(left) > 0 {
		t.Errorf("the other folders were not served: %q", left)
	}
	if n := env.srv.Connections(); n > 2*maxFolderReconnects {
		t.Errorf("%d connections in one pass", n)
	}
	for range 4 {
		env.pass()
	}
	if n := len(env.quarantine()); n != 0 {
		t.Errorf("%d messages in quarantine after some passes, and the fault is the folder's", n)
	}
	env.srv.Behave()
	env.settle()
}

// A server that refuses every body is out of order; its messages are not put
// into quarantine by the dozen.
func TestFailure01_FolderThatRefusesEverything(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	env.append("INBOX", 8)
	env.srv.Play(inInbox(imapserver.Quirk{Stage: imapserver.Body, Do: func(x *imapserver.Exchange) error { return x.Tagged("NO [SERVERBUG] oops") }}))
	res := env.pass()
	if _, code := Classify(res.Err); code != "no_bodies" || !res.Partial {
		t.Errorf("%+v, want INBOX alone failed, by no_bodies", res)
	}
	if n := len(env.quarantine()); n != 0 {
		t.Errorf("%d messages in quarantine, want none", n)
	}
	env.srv.Behave()
	env.settle()
}

// UIDs that a server shows late are found, for as long as a gap stays open.
func TestFailure02_ShownLate(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	inbox := env.srv.Mailbox("INBOX")
	env.pass()
	for range 3 {
		inbox.AppendHidden(env.letter("INBOX"))
		env.append("INBOX", 2)
		env.pass()
	}
	if st := env.state("INBOX"); st.SettledUID != 4 || st.LastUID != 13 {
		t.Errorf("settled %d, last %d; want 4 and 13", st.SettledUID, st.LastUID)
	}
	inbox.Show()
	env.settle()
	if st := env.state("INBOX"); st.SettledUID != 13 {
		t.Errorf("settled %d, want 13", st.SettledUID)
	}
}

// A search that finds nothing although UIDNEXT says that there is something, or
// leaves out the newest, is made again even if nothing more comes.
func TestFailure02_SilentSearchIsMadeAgain(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for name, do := range map[string]func(x *imapserver.Exchange) error{
		"nothing": func(x *imapserver.Exchange) error { return x.Untagged() },
		"not the newest": func(x *imapserver.Exchange) error {
			return x.Untagged("* SEARCH 1 2 3")
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := l.start(t, imapserver.TLS, nil)
			env.srv.PlayTimes(inInbox(imapserver.Quirk{Stage: imapserver.Search, Do: do}), 2)
			for range 3 {
				env.pass()
			}
			if left := env.missing("INBOX"); len(left) > 0 {
				t.Errorf("not on the stream: %q", left)
			}
			env.settle()
		})
	}
}

// A gap that never closes is settled in the end, after three looks on two connections
// within a quarter of an hour and a count of the whole folder; what that shows is taken.
func TestFailure02_GapExpires(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	inbox := env.srv.Mailbox("INBOX")
	inbox.AppendHidden(env.letter("INBOX"))
	env.append("INBOX", 1)
	env.pass()
	env.passes(3, 4*time.Minute)
	if st := env.state("INBOX"); st.SettledUID != 4 {
		t.Errorf("settled %d after 12 minutes, want 4", st.SettledUID)
	}
	inbox.Show()
	env.later(4 * time.Minute)
	env.settle()
	inbox.AppendHidden(env.letter("INBOX"))
	env.append("INBOX", 1)
	env.pass()
	env.passes(4, 4*time.Minute)
	if st := env.state("INBOX"); st.SettledUID != 8 {
		t.Errorf("settled %d, want the gap at 7 passed over", st.SettledUID)
	}
	// Never against sight: what is shown all the same is read.
	inbox.Show()
	env.later(4 * time.Minute)
	env.settle()
}

// With a connection that is kept between passes two looks on it are one connection's:
// the pass in which all other evidence is there makes another, and no pass does that has
// nothing to settle.
func TestFailure02_GapNeedsASecondConnection(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	env.runner.keep = true
	t.Cleanup(env.runner.sessions.Close)
	env.srv.Mailbox("INBOX").AppendHidden(env.letter("INBOX"))
	env.append("INBOX", 1)
	env.pass()
	env.passes(4, 3*time.Minute)
	if n := env.srv.Connections(); n != 1 {
		t.Errorf("%d connections before the gap is old enough, want 1", n)
	}
	env.passes(2, 3*time.Minute)
	if st := env.state("INBOX"); st.SettledUID != 6 || env.srv.Connections() != 2 {
		t.Errorf("settled %d over %d connections, want 6 over 2", st.SettledUID, env.srv.Connections())
	}
	env.passes(6, 20*time.Minute)
	if n := env.srv.Connections(); n != 2 {
		t.Errorf("%d connections, want 2: there is nothing to settle", n)
	}
}

// What a FETCH omits is asked for by itself at once; what stays away while the
// server lists it waits in quarantine, and is neither lost nor in the way.
func TestFailure02_OmissionsAreLookedForTwice(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	omit := func(uids ...uint32) func(x *imapserver.Exchange) error {
		return func(x *imapserver.Exchange) error {
			x.Responses = slices.DeleteFunc(x.Responses, func(r imapserver.Response) bool { return slices.Contains(uids, r.UID) })
			return nil
		}
	}
	env.srv.PlayTimes(inInbox(imapserver.Quirk{Stage: imapserver.Fetch, Do: omit(1, 2)}), 1)
	env.srv.PlayTimes(inInbox(imapserver.Quirk{Stage: imapserver.Body, Do: omit(3, 4)}), 1)
	if res := env.pass(); res.Err != nil || res.Counts.Published != 7 {
		t.Errorf("%+v, want all 7 published in spite of four omissions", res)
	}
	env.append("INBOX", 3)
	env.srv.Play(inInbox(imapserver.Quirk{Stage: imapserver.Fetch, Do: omit(6)}))
	if res := env.pass(); res.Err != nil || res.Counts.Published != 2 || res.Counts.Quarantined != 1 {
		t.Errorf("%+v, want 2 published and 1 quarantined", res)
	}
	if q := env.quarantine(); len(q) != 1 || q[0].ErrorCode != "not_returned" {
		t.Errorf("in quarantine: %+v", q)
	}
	env.srv.Behave()
	env.settle()
}

// Mail that a person deletes at any moment of a pass is passed over, with the evidence
// that a gap needs, and never stuck.
func TestFailure02_ExpungedAtAnyMoment(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for _, stage := range []imapserver.Stage{imapserver.Select, imapserver.Search, imapserver.Fetch, imapserver.Body} {
		t.Run(string(stage), func(t *testing.T) {
			env := l.start(t, imapserver.TLS, nil)
			env.remember()
			env.srv.PlayTimes(inInbox(imapserver.Quirk{Stage: stage, Do: func(x *imapserver.Exchange) error {
				x.Mailbox.Expunge(1, 3)
				x.Responses = slices.DeleteFunc(x.Responses, func(r imapserver.Response) bool { return r.UID == 1 || r.UID == 3 })
				return nil
			}}), 1)
			if res := env.pass(); res.Err != nil || res.Counts.Published != 5 {
				t.Errorf("%+v, want the 5 others published", res)
			}
			env.later(time.Minute)
			env.settle()
			env.passes(4, 5*time.Minute)
			if st := env.state("INBOX"); st.SettledUID != 4 {
				t.Errorf("settled %d, want 4", st.SettledUID)
			}
		})
	}
}

// Phantom UIDs that a server lists never hide the mail that later comes below
// them.
func TestFailure17_PhantomUIDsHideNothing(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	env.srv.Play(inInbox(imapserver.Named("search-foreign")))
	env.passes(6, 4*time.Minute)
	env.srv.Behave()
	env.settle()
	env.passes(6, 4*time.Minute) // the gap below 900 settles
	env.append("INBOX", 3)
	env.settle()
}

// UIDNEXT is a hint, at STATUS and at EXAMINE: missing, low, ahead or back, no
// mail is missed and none comes twice.
func TestFailure18_UIDNextIsAHint(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for _, name := range []string{
		"status-uidnext-missing", "status-uidnext-low", "status-uidnext-ahead", "status-uidnext-huge",
		"select-uidnext-missing", "select-uidnext-huge",
	} {
		t.Run(name, func(t *testing.T) {
			env := l.start(t, imapserver.TLS, nil)
			env.srv.PlayTimes(inInbox(imapserver.Named(name)), -1)
			for range 4 {
				env.append("INBOX", 1)
				if res := env.pass(); res.Err != nil {
					t.Error(res.Err)
				}
				if left := env.missing("INBOX"); len(left) > 0 {
					t.Errorf("not on the stream: %q", left)
				}
			}
			env.srv.Behave()
			env.settle()
		})
	}
}

// UIDNEXT that stands still while mail comes is contradicted by the number of messages.
func TestFailure18_UIDNextStandsStill(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, nil)
	still := func(x *imapserver.Exchange) error {
		for i := range x.Responses {
			if head, _, ok := strings.Cut(x.Responses[i].Head, " UIDNEXT "); ok {
				x.Responses[i].Head = head + " UIDNEXT 5 UIDVALIDITY 1700000000)\r\n"
			}
		}
		return nil
	}
	env.srv.Play(inInbox(imapserver.Quirk{Stage: imapserver.Status, Do: still}))
	env.settle()
	env.append("INBOX", 2)
	if res := env.pass(); res.Err != nil || res.Counts.Published != 2 {
		t.Errorf("%+v, want 2 published", res)
	}
	env.srv.Behave()
	env.settle()
}

// A folder without a UIDVALIDITY keeps its place: it fails alone, and goes on
// where it was.
func TestFailure07_UIDValidityUnknown(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for _, of := range []string{"missing", "zero"} {
		t.Run(of, func(t *testing.T) {
			env := l.start(t, imapserver.TLS, nil)
			env.pass()
			before := env.state("INBOX")
			env.append("INBOX", 2)
			env.srv.Play(inInbox(imapserver.Named("status-uidvalidity-" + of)))
			env.srv.Play(inInbox(imapserver.Named("select-uidvalidity-" + of)))
			env.append("Other", 1)
			res := env.pass()
			if class, code := Classify(res.Err); class != fault.Transient || code != "uidvalidity_unknown" || !res.Partial || res.Counts.Published != 1 {
				t.Errorf("%s %s: %+v, want INBOX alone failed", class, code, res)
			}
			if st := env.state("INBOX"); st.SettledUID != before.SettledUID || st.UIDValidity != before.UIDValidity {
				t.Errorf("the cursor moved from %+v to %+v", before, st)
			}
			env.srv.Behave()
			env.settle()
		})
	}
}

// A renumbered folder brings neither loss nor doubles, be the mail read or
// unread, old or new, and while a pass is under way.
func TestFailure07_RenumberedAtAnyMoment(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for _, stage := range []imapserver.Stage{imapserver.Status, imapserver.Select, imapserver.Search, imapserver.Fetch, imapserver.Body} {
		t.Run(string(stage), func(t *testing.T) {
			env := l.start(t, imapserver.TLS, nil)
			inbox := env.srv.Mailbox("INBOX")
			env.pass()
			inbox.AppendAt(env.letter("INBOX"), time.Now().AddDate(0, 0, -1))
			env.append("INBOX", 3)
			inbox.Expunge(1)
			inbox.MarkSeen(2, 3, 5, 6)
			env.srv.PlayTimes(inInbox(imapserver.Quirk{Stage: stage, Do: func(x *imapserver.Exchange) error {
				x.Mailbox.Renumber()
				if stage == imapserver.Select {
					return x.Replace("UIDVALIDITY 1700000000", "UIDVALIDITY 1700000001")
				}
				return x.Close()
			}}), 1)
			env.settle()
			if st := env.state("INBOX"); st.UIDValidity != 1_700_000_001 {
				t.Errorf("UIDVALIDITY %d", st.UIDValidity)
			}
		})
	}
}

// What a server sends without end, or announces without measure, costs a pass a
// bounded amount of memory.
func TestFailure08_QuirksCostBoundedMemory(t *testing.T) {
	l := newSharedServers(t)
	for _, name := range []string{
		"greeting-endless-line", "list-5000", "search-200000", "search-endless", "fetch-size-off", "body-size-as-2gb",
		"body-2gb-in-noise", "body-huge-number", "body-endless-line", "body-deep-list",
	} {
		t.Run(name, func(t *testing.T) {
			env := l.start(t, imapserver.TLS, nil)
			env.srv.Play(inInbox(imapserver.Named(name)))
			if more := heapGrowth(func() { env.pass() }); more > 48<<20 {
				t.Errorf("the heap grew by %d MB", more>>20)
			} else {
				t.Logf("the heap grew by %.1f MB", float64(more)/(1<<20))
			}
			if env.srv.Fired() == 0 {
				t.Error("the quirk did not fire")
			}
		})
	}
}

// heapGrowth is by how much the live heap grows while f runs, at most, as seen
// every few milliseconds; the scripted server's own is in it.
func heapGrowth(f func()) (most uint64) {
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, seen := make(chan struct{}), make(chan uint64)
	go func() {
		var now runtime.MemStats
		highest := before.HeapAlloc
		for {
			select {
			case <-stop:
				seen <- highest - before.HeapAlloc
				return
			case <-time.After(5 * time.Millisecond):
				runtime.ReadMemStats(&now)
				highest = max(highest, now.HeapAlloc)
			}
		}
	}()
	f()
	close(stop)
	return <-seen
}

// Five thousand folders, all of them asked for: those that the server lists and
// refuses fail, each by itself, and what is said of them stays readable.
func TestFailure25_FiveThousandFoldersRefused(t *testing.T) {
	env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) { p.Folders = db.FolderNames{"*"} })
	env.srv.Play(imapserver.Named("list-5000"))
	var res Result
	if more := heapGrowth(func() { res = env.pass() }); more > 48<<20 {
		t.Errorf("the heap grew by %d MB", more>>20)
	}
	if left := env.missing(env.folders...); len(left) > 0 || !res.Partial {
		t.Errorf("not served: %q, %+v", left, res.Counts)
	}
	if n := len(res.Err.Error()); n > 10_000 {
		t.Errorf("an error of %d bytes", n)
	}
	env.srv.Behave()
	env.settle()
}
