package sync

import (
	"bytes"
	"fmt"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
)

// handClock stands still until a test moves it. Nothing that waits by it comes to an end.
type handClock struct {
	mu  gosync.Mutex
	now time.Time
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) After(time.Duration) <-chan time.Time { return nil }

func (c *handClock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// outage is a way in which a server gives no bodies.
type outage struct {
	name string
	slow bool // a time-out ends it
	do   func(x *imapserver.Exchange) error
}

func outages() []outage {
	tagged := func(text string) func(x *imapserver.Exchange) error {
		return func(x *imapserver.Exchange) error { return x.Tagged(text) }
	}
	body := func(change func(r *imapserver.Response)) func(x *imapserver.Exchange) error {
		return func(x *imapserver.Exchange) error {
			return x.Each(func(r *imapserver.Response) {
				change(r)
				r.Head = r.Head[:strings.LastIndex(r.Head, "{")] + fmt.Sprintf("{%d}\r\n", len(r.Body))
			})
		}
	}
	return []outage{
		{name: "NO [SERVERBUG]", do: tagged("NO [SERVERBUG] Internal error occurred")},
		{name: "NO", do: tagged("NO Cannot read the message")},
		{name: "NO [UNAVAILABLE]", do: tagged("NO [UNAVAILABLE] Backend is down")},
		{name: "BAD", do: tagged("BAD Command failed")},
		{name: "OK without data", do: func(x *imapserver.Exchange) error { return x.Untagged() }},
		{name: "NO behind the first head", do: func(x *imapserver.Exchange) error {
			return x.Untagged(fmt.Sprintf("* %d FETCH (UID %d FLAGS ())", x.Responses[0].Seq, x.Responses[0].UID))
		}},
		{name: "NIL", do: imapserver.Named("body-nil").Do},
		{name: "empty literal", do: imapserver.Named("body-empty").Do},
		{name: "empty string", do: imapserver.Named("body-empty-string").Do},
		{name: "short", do: body(func(r *imapserver.Response) { r.Body = r.Body[:len(r.Body)/4] })},
		{name: "cut in half", do: body(func(r *imapserver.Response) { r.Body = r.Body[:len(r.Body)/2] })},
		{name: "cut behind the header", do: body(func(r *imapserver.Response) { r.Body = r.Body[:bytes.Index(r.Body, []byte("\r\n\r\n"))+4] })},
		{name: "NUL", do: body(func(r *imapserver.Response) { r.Body = make([]byte, len(r.Body)) })},
		{name: "stub", do: imapserver.Named("body-stub").Do},
		{name: "closed", do: (*imapserver.Exchange).Close},
		{name: "reset", do: (*imapserver.Exchange).Reset},
		{name: "closed in the body", do: func(x *imapserver.Exchange) error { return x.InBody(x.Close) }},
		{name: "BYE", do: func(x *imapserver.Exchange) error { return x.Bye("Internal error") }},
		{name: "BYE [UNAVAILABLE]", do: func(x *imapserver.Exchange) error { return x.Bye("[UNAVAILABLE] Try again") }},
		{name: "silence", slow: true, do: (*imapserver.Exchange).Hang},
		{name: "silence in the body", slow: true, do: func(x *imapserver.Exchange) error { return x.InBody(x.Hang) }},
		{name: "drip", slow: true, do: func(x *imapserver.Exchange) error { return x.Drip(imapserver.Pause) }},
	}
}

// ill plays an outage in the folders named, in all when none is.
func (o outage) ill(s *imapserver.Server, headersToo bool, folders ...string) {
	s.Play(imapserver.Quirk{Name: o.name, Stage: imapserver.Body, Do: o.do, When: func(x *imapserver.Exchange) bool {
		named := len(folders) == 0
		for _, f := range folders {
			named = named || x.Mailbox.Name == f
		}
		return named && (headersToo || !strings.Contains(x.Args, "HEADER"))
	}})
}

// The mail that an outage meets.
var outageMail = map[string]struct {
	before  bool                   // all there was has been handled
	arrives func(env *scriptedEnv) // as it begins
	folders []string               // that are ill, all when none
}{
	"a new mailbox":             {arrives: func(*scriptedEnv) {}},
	"one mail":                  {before: true, arrives: func(env *scriptedEnv) { env.append("INBOX", 1) }},
	"several in two folders":    {before: true, arrives: func(env *scriptedEnv) { env.append("INBOX", 5); env.append("Other", 3) }},
	"one folder of three alone": {before: true, arrives: func(env *scriptedEnv) { env.append("INBOX", 2); env.append("Other", 2) }, folders: []string{"INBOX"}},
}

// onClock gives the pass a clock that the test moves, and short time-outs.
func (env *scriptedEnv) onClock() *handClock {
	clock := &handClock{now: time.Now().UTC()}
	env.runner.Clock = clock
	return clock
}

// tick passes over the provider if it is due, as a run would.
func (env *scriptedEnv) tick() (res Result, due bool) {
	env.t.Helper()
	p, err := env.store.Provider(env.t.Context(), env.provider.Ref())
	must(env.t, err)
	if p.NextAttemptAt != nil && p.NextAttemptAt.After(env.runner.now()) {
		return Result{}, false
	}
	env.remember()
	_, results := env.run(p)
	return results[0], true
}

// TestFailure30_NoBodiesForAnHour: whatever a server says instead of bodies, and
// whether or not it gives headers, after 85 minutes all mail is on the stream within
// minutes, by itself, and no message was blamed.
func TestFailure30_NoBodiesForAnHour(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for _, o := range outages() {
		for name, m := range outageMail {
			for _, headersToo := range []bool{false, true} {
				if (headersToo || o.slow) && name != "a new mailbox" {
					continue // it makes no difference once bodies came
				}
				t.Run(fmt.Sprintf("%s/%s/headers %v", o.name, name, !headersToo), func(t *testing.T) {
					t.Parallel()
					env := l.start(t, imapserver.TLS, func(p *db.Provider) {
						deadlines(p, patient)
						if o.slow {
							deadlines(p, 150*time.Millisecond)
						}
					})
					clock, step := env.onClock(), 5*time.Minute
					if o.slow {
						step = 20 * time.Minute
					}
					if m.before {
						env.tick()
					}
					m.arrives(env)
					o.ill(env.srv, headersToo, m.folders...)
					for end := clock.now.Add(85 * time.Minute); clock.now.Before(end); clock.move(step) {
						if res, due := env.tick(); due && res.Err == nil && res.Counts.Quarantined == 0 && len(env.quarantine()) == 0 {
							t.Errorf("a pass without bodies went well: %+v", res.Counts)
						}
					}
					env.append("INBOX", 1)
					env.srv.Behave()
					minutes := 0
					for ; minutes < 12 && (minutes == 0 || len(env.missing(env.folders...))+len(env.quarantine()) > 0); minutes++ {
						env.tick()
						clock.move(time.Minute)
					}
					if left := env.missing(env.folders...); len(left) > 0 {
						t.Errorf("%d minutes later missing on the stream: %q", minutes, left)
					}
					for _, q := range env.quarantine() {
						t.Errorf("in quarantine: %+v", q)
					}
					env.wellMannered()
				})
			}
		}
	}
}

// partialOutages are servers that give some bodies and not others, whoever's they are.
func partialOutages() map[string]func(x *imapserver.Exchange, nth int) bool {
	larger := func(n int) func(*imapserver.Exchange, int) bool {
		return func(x *imapserver.Exchange, _ int) bool {
			for _, r := range x.Responses {
				if len(r.Body) > n {
					return true
				}
			}
			return false
		}
	}
	return map[string]func(x *imapserver.Exchange, nth int) bool{
		"larger mail alone": larger(6000),
		"every second time": func(_ *imapserver.Exchange, nth int) bool { return nth%2 == 0 },
	}
}

// TestFailure30_SomeBodiesForHours: a server that for six hours gives some bodies and not
// others has nobody blamed either, and what it gives is taken.
func TestFailure30_SomeBodiesForHours(t *testing.T) {
	t.Parallel()
	l := newSharedServers(t)
	for name, ill := range partialOutages() {
		for _, o := range outages()[:5] {
			t.Run(name+"/"+o.name, func(t *testing.T) {
				t.Parallel()
				env := l.start(t, imapserver.TLS, func(p *db.Provider) { deadlines(p, patient) })
				clock := env.onClock()
				env.tick()
				env.n += 40 // what comes now is large
				env.append("INBOX", 6)
				env.append("Other", 1)
				asked := 0
				env.srv.Play(imapserver.Quirk{Name: name, Stage: imapserver.Body, Do: o.do, When: func(x *imapserver.Exchange) bool {
					asked++
					return !strings.Contains(x.Args, "HEADER") && ill(x, asked)
				}})
				for end := clock.now.Add(6 * time.Hour); clock.now.Before(end); clock.move(5 * time.Minute) {
					env.tick()
				}
				env.append("INBOX", 1)
				env.srv.Behave()
				for range 15 {
					env.tick()
					clock.move(time.Minute)
				}
				if left := env.missing(env.folders...); len(left) > 0 {
					t.Errorf("missing on the stream: %q", left)
				}
				for _, q := range env.quarantine() {
					t.Errorf("in quarantine: %+v", q)
				}
			})
		}
	}
}
