package sync

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/devenv"
	"imapsync/internal/devenv/imapserver"
)

// watching runs Watch in the background, on locks of its own.
type watchRun struct {
	env  *testEnv
	r    *Runner
	stop chan struct{}
	done chan error
	once sync.Once
}

func (env *testEnv) watch(opts WatchOptions) *watchRun {
	env.t.Helper()
	locks, err := env.store.OpenLocks(context.WithoutCancel(env.t.Context()))
	must(env.t, err)
	w := &watchRun{env: env, stop: make(chan struct{}), done: make(chan error, 1)}
	w.r = &Runner{
		Store: env.store, Locks: locks, Publisher: env.runner.Publisher, Log: env.runner.Log, Stop: w.stop,
		Credential: env.runner.Credential, Options: env.runner.Options, Clock: env.runner.Clock,
	}
	if opts.Refresh == 0 {
		opts.Refresh = 200 * time.Millisecond
	}
	go func() {
		_, err := w.r.Watch(context.WithoutCancel(env.t.Context()), opts)
		w.done <- err
	}()
	env.t.Cleanup(func() {
		w.end()
		locks.Close()
	})
	return w
}

// end stops it, which must not take long.
func (w *watchRun) end() {
	w.once.Do(func() {
		close(w.stop)
		select {
		case err := <-w.done:
			if err != nil {
				w.env.t.Errorf("watch: %v", err)
			}
		case <-time.After(patience):
			w.env.t.Errorf("watch did not end within %s", patience)
		}
	})
}

// patience is how long tests wait for what comes at once on a machine that is
// alone: only a failure takes that long.
const patience = 2 * time.Minute

// soon waits for a condition.
func soon(t testing.TB, what string, ok func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !ok() {
		if time.Since(began) > patience {
			t.Fatalf("not within %s: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return time.Since(began)
}

// published counts the events, without a consumer: a stream has room for a thousand.
func (env *testEnv) published() int {
	env.t.Helper()
	info := streamInfo(env.t, env.nc, jetstream.WithSubjectFilter(event.Subjects))
	for subject, events := range info.State.Subjects {
		if events != 1 {
			env.t.Fatalf("%d events of one mail, on %s", events, subject)
		}
	}
	return len(info.State.Subjects)
}

func (w *watchRun) idling(n int) func() bool {
	return func() bool { return w.r.WatchState().Idling == n }
}

func TestWatchIdleWakesToEvent(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p", "Archive"))
	must(t, d.Deliver("u", "INBOX", mails(1, 3)...))
	env.provider(d, "u", "p", func(p *db.Provider) { p.Folders = db.FolderNames{"INBOX", "Archive"} })
	w := env.watch(WatchOptions{Interval: time.Hour})
	soon(t, "the first pass", func() bool { return env.published() == 3 })
	soon(t, "IDLE", w.idling(1))
	// One hour is the timer: it is IDLE that tells.
	for n := range 3 {
		must(t, d.Append("u", "INBOX", time.Now(), mail(10+n, "woken")))
		took := soon(t, "the event", func() bool { return env.published() == 4+n })
		t.Logf("event after %s", took)
		soon(t, "IDLE again", w.idling(1))
	}
	w.end()
	if s := w.r.WatchState(); s.Accounts != 1 {
		t.Errorf("%+v", s)
	}
}

func TestWatchOtherFoldersByTimer(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p", "Archive"))
	env.provider(d, "u", "p", func(p *db.Provider) { p.Folders = db.FolderNames{"INBOX", "Archive"} })
	w := env.watch(WatchOptions{Interval: time.Second})
	soon(t, "IDLE", w.idling(1))
	must(t, d.Deliver("u", "Archive", mail(1, "archived")))
	soon(t, "the event", func() bool { return env.published() == 1 })
}

func TestFailure05_IdleThatDiesSilently(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, _ := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.CommandTimeoutMS = 500 })
	s.Play(imapserver.Named("idle-dies"))
	env.watch(WatchOptions{Interval: time.Second, Poll: 500 * time.Millisecond})
	for n := range 5 {
		s.Mailbox("INBOX").Append(string(mail(n, "unheard")))
		soon(t, "the event", func() bool { return env.published() == n+1 })
	}
}

func TestFailure05_IdleRefusedOrMissing(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]imapserver.Config{
		"idle-refused": {}, "idle-hang": {}, "": {Caps: "ID UIDPLUS AUTH=PLAIN"},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			s, _ := env.scripted(config, func(p *db.Provider) { p.CommandTimeoutMS = 300 })
			if name != "" {
				s.Play(imapserver.Named(name))
			}
			env.watch(WatchOptions{Interval: time.Hour, Poll: 300 * time.Millisecond})
			for n := range 3 {
				s.Mailbox("INBOX").Append(string(mail(n, "polled")))
				soon(t, "the event", func() bool { return env.published() == n+1 })
			}
			idles := 0
			for _, c := range s.Commands() {
				if slices.Contains([]string{"IDLE"}, lastWord(c.Line)) {
					idles++
				}
			}
			if idles > maxIdleFailed {
				t.Errorf("IDLE was tried %d times, want %d at most", idles, maxIdleFailed)
			}
		})
	}
}

func lastWord(line string) string {
	word := ""
	fmt.Sscanf(reverse(line), "%s", &word)
	return reverse(word)
}

func reverse(s string) string {
	b := []byte(s)
	slices.Reverse(b)
	return string(b)
}

func TestFailure05_ServerRestartsWhileMailArrives(t *testing.T) {
	t.Parallel()
	const restarts = 5
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	env.provider(d, "u", "p", nil)
	w := env.watch(WatchOptions{Interval: 2 * time.Second, Poll: time.Second})
	sent := 0
	for n := range restarts {
		if n < maxIdleFailed { // later it is a server that hangs up on IDLE
			soon(t, "IDLE", w.idling(1))
		}
		must(t, d.Deliver("u", "INBOX", mail(3*n, "before")))
		must(t, d.Kill())
		must(t, d.Deliver("u", "INBOX", mail(3*n+1, "while it is down")))
		must(t, d.Start(t.Context()))
		must(t, d.Deliver("u", "INBOX", mail(3*n+2, "after")))
		sent += 3
		took := soon(t, fmt.Sprintf("restart %d: %d events", n, sent), func() bool { return env.published() == sent })
		t.Logf("restart %d: all there after %s", n, took)
	}
}

func TestWatchFollowsTheDatabase(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("a", "p"))
	must(t, d.AddUser("b", "p", "Other"))
	w := env.watch(WatchOptions{Interval: time.Hour})
	accounts := func(n int) func() bool { return func() bool { return w.r.WatchState().Accounts == n } }
	soon(t, "the first round", func() bool { return !w.r.WatchState().RoundAt.IsZero() })

	a := env.provider(d, "a", "p", nil)
	b := env.provider(d, "b", "p", nil)
	soon(t, "both", accounts(2))
	soon(t, "IDLE", w.idling(2))

	audit := db.Audit{Tenant: testTenant, At: time.Now(), Actor: "test"}
	must(t, env.store.PauseProvider(t.Context(), db.Ref{Tenant: a.Tenant, ID: a.ID}, db.PauseManual, audit))
	soon(t, "the pause", accounts(1))
	must(t, d.Append("a", "INBOX", time.Now(), mail(1, "for a paused one")))

	must(t, d.Deliver("b", "Other", mail(2, "in another folder")))
	b.Folders = db.FolderNames{"Other"}
	must(t, env.store.UpdateProvider(t.Context(), b, nil, db.Audit{Tenant: testTenant, At: time.Now(), Actor: "test"}))
	soon(t, "the new folder", func() bool { return env.published() == 1 })

	must(t, env.store.ResumeProvider(t.Context(), db.Ref{Tenant: a.Tenant, ID: a.ID}, audit))
	soon(t, "the mail of the resumed", func() bool { return env.published() == 2 })
}

func TestFailure06_ReplicasShareProvidersAndTakeOver(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	const n = 20
	for i := range n {
		user := fmt.Sprintf("u%02d", i)
		must(t, d.AddUser(user, "p"))
		env.provider(d, user, "p", nil)
	}
	first := env.watch(WatchOptions{Interval: time.Hour, MaxAccounts: n / 2})
	second := env.watch(WatchOptions{Interval: time.Hour})
	both := func() bool {
		return first.r.WatchState().Accounts+second.r.WatchState().Accounts == n &&
			first.r.WatchState().Idling+second.r.WatchState().Idling == n
	}
	soon(t, "all are watched", both)
	if got := first.r.WatchState().Accounts; got > n/2 {
		t.Errorf("the first watches %d, over its limit of %d", got, n/2)
	}
	first.end()
	soon(t, "the second takes over", second.idling(n))
	for i := range n {
		must(t, d.Append(fmt.Sprintf("u%02d", i), "INBOX", time.Now(), mail(i, "after")))
	}
	soon(t, "the mail of all", func() bool { return env.published() == n })
}

func TestFailure21_WatchLeavesServersThatRefuseAlone(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "right"))
	p := env.provider(d, "u", "wrong", nil)
	w := env.watch(WatchOptions{Interval: time.Second})
	soon(t, "the refusal", func() bool {
		got, err := env.store.Provider(t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID})
		return err == nil && got.AuthFailures == 1
	})
	time.Sleep(2 * time.Second)
	w.end()
	got, err := env.store.Provider(t.Context(), db.Ref{Tenant: p.Tenant, ID: p.ID})
	must(t, err)
	if got.AuthFailures != 1 || got.NextAttemptAt == nil || time.Until(*got.NextAttemptAt) < 10*time.Second {
		t.Errorf("%d refusals, next attempt %v: want one, and the next in half a minute or so", got.AuthFailures, got.NextAttemptAt)
	}
}
