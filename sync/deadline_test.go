package sync

import (
	"fmt"
	"strings"
	gosync "sync"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
)

// passClock is a clock by which a pass has had its time when a test says so.
type passClock struct {
	handClock
	limit   time.Duration
	over    chan struct{} // the pass has had its time
	noticed chan struct{} // and it knows
}

func (c *passClock) After(d time.Duration) <-chan time.Time {
	if d != c.limit {
		close(c.noticed) // it waits for the message in hand
		return nil
	}
	fire := make(chan time.Time)
	go func() {
		<-c.over
		close(fire)
	}()
	return fire
}

// atBody calls do once, when the server is first asked for bodies.
func atBody(s *imapserver.Server, do func()) {
	var once gosync.Once
	s.Play(imapserver.Quirk{Name: "at a body", Stage: imapserver.Body, Do: func(*imapserver.Exchange) error {
		once.Do(do)
		return nil
	}})
}

// TestFailure37_MessageInHandIsFinished: when the run is to begin nothing new, or the
// pass has had its time, the message in hand is published and no other is begun. The
// next pass has the others.
func TestFailure37_MessageInHandIsFinished(t *testing.T) {
	t.Parallel()
	for _, mails := range []int{1, 6} {
		for _, by := range []string{"the deadline", "the time of the pass"} {
			t.Run(fmt.Sprintf("%d mails, %s", mails, by), func(t *testing.T) {
				t.Parallel()
				env := newEnv(t)
				s, p := env.scripted(imapserver.Config{}, nil)
				appendN(s.Mailbox("INBOX"), 1, mails, "a")
				over := make(chan struct{})
				end := func() { close(over) }
				if by == "the deadline" {
					env.runner.Stop = over
				} else {
					clock := &passClock{limit: env.runner.Options.Timeouts.of(p).Pass, over: over, noticed: make(chan struct{})}
					clock.now = time.Now().UTC()
					env.runner.Clock = clock
					end = func() { close(over); <-clock.noticed }
				}
				atBody(s, end)
				_, results := env.run(p)
				if res := results[0]; res.Counts.Published != 1 || res.Left != mails-1 || res.Err != nil {
					t.Errorf("%+v, %v; want the message in hand published and the others left", res.Counts, res.Err)
				}
				env.runner.Stop, env.runner.Clock = make(chan struct{}), nil
				if mails > 1 {
					if res := env.ok(p); res.Counts.Published != mails-1 {
						t.Errorf("the next pass: %+v, want the others", res.Counts)
					}
				}
			})
		}
	}
}

// hangClock fires once the pass waits for what is in hand, and notes for how long.
type hangClock struct {
	handClock
	waited chan time.Duration
}

func (c *hangClock) After(d time.Duration) <-chan time.Time {
	select {
	case c.waited <- d:
	default:
	}
	if d == scriptedPass {
		return nil
	}
	fire := make(chan time.Time)
	close(fire)
	return fire
}

// TestFailure04_DeadlineHasAHardEnd: what hangs after the deadline is cut off when the
// message in hand has had the time that its size and the settings give it, and nobody
// is charged.
func TestFailure04_DeadlineHasAHardEnd(t *testing.T) {
	t.Parallel()
	raw := string(mail(1, "a")) + strings.Repeat("large\r\n", 1000)
	for name, tt := range map[string]struct {
		said  string // in place of its size
		bytes int64
	}{
		"a body":                       {"RFC822.SIZE", int64(len(raw))},
		"mail that is said to be huge": {"RFC822.SIZE 4000000000 X-SIZE", maxHeaderBytes},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) {
				p.PassTimeoutMS = int(scriptedPass.Milliseconds())
				deadlines(p, time.Hour)
			})
			env.runner.Options.Timeouts.Rate = 1 << 10
			s.Mailbox("INBOX").Append(raw)
			clock, stop := &hangClock{waited: make(chan time.Duration, 2)}, make(chan struct{})
			clock.now = time.Now().UTC()
			env.runner.Clock, env.runner.Stop = clock, stop
			s.Play(imapserver.Quirk{Stage: imapserver.Fetch, Do: func(x *imapserver.Exchange) error { return x.Replace("RFC822.SIZE", tt.said) }})
			s.Play(imapserver.Quirk{Name: "hangs", Stage: imapserver.Body, Do: func(x *imapserver.Exchange) error {
				close(stop)
				return x.InBody(x.Hang)
			}})
			_, results := env.run(p)
			if res := results[0]; res.Outcome() != "unfinished" || !Stopped(res.Err) || env.heldAgainst(p) != "" {
				t.Errorf("%s, %v, held against it %q; want it unfinished and charged with nothing", res.Outcome(), res.Err, env.heldAgainst(p))
			}
			<-clock.waited // for the end of the pass
			if d, least := <-clock.waited, time.Hour+time.Duration(tt.bytes)*time.Second>>10; d < least || d > least+2*lastWords {
				t.Errorf("the message in hand had %s, want %s and some", d, least)
			}
		})
	}
}

// TestFailure37_SlowMailDelaysNothing: mail that drips is given up in its own time. Run
// after run has its deadline while it drips; all the same those behind it are read by
// the second, and it goes out by its headers in the end.
func TestFailure37_SlowMailDelaysNothing(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { deadlines(p, 200*time.Millisecond) })
	clock := &handClock{now: time.Now().UTC()}
	env.runner.Clock = clock
	box := s.Mailbox("INBOX")
	slow := box.Append(string(mail(1, "slow")) + strings.Repeat("slow\r\n", 500))
	appendN(box, 2, 6, "small")
	var stop chan struct{}
	poison(s, "INBOX", slow, func(x *imapserver.Exchange) error {
		select {
		case <-stop:
		default:
			close(stop) // the deadline comes while it drips
		}
		return x.Drip(imapserver.Pause)
	})
	for pass := range 40 {
		stop = make(chan struct{})
		env.runner.Stop = stop
		env.run(p)
		if n := len(env.events()); pass == 1 && n != 5 {
			t.Errorf("%d events after two runs, want the five small ones", n)
		}
		if env.byHeaders() == 1 {
			break
		}
		clock.move(5 * time.Minute)
	}
	if env.byHeaders() != 1 || len(env.events()) != 6 {
		t.Errorf("%d events, %d by headers; in quarantine %+v", len(env.events()), env.byHeaders(), env.charged(p))
	}
}

// TestFailure15_BehindTheBody: mail that was acknowledged is published, whatever bytes
// follow it.
func TestFailure15_BehindTheBody(t *testing.T) {
	t.Parallel()
	for name, tail := range map[string]string{
		"the rest of the response bare": ")\r\n FLAGS (\\Seen) RFC822.SIZE 138)\r\n",
		"bytes that are no IMAP":        ")\r\n\x00\xff\xfe (((\r\n",
		"a quote that never ends":       " X-A \"a)\r\n",
		"no closing parenthesis":        "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { deadlines(p, time.Second) })
			appendN(s.Mailbox("INBOX"), 1, 3, "a")
			s.Play(imapserver.Quirk{Name: "behind", Stage: imapserver.Body, Do: func(x *imapserver.Exchange) error {
				return x.Each(func(r *imapserver.Response) { r.Tail = tail })
			}})
			for range 5 {
				env.run(p)
				must(t, env.due())
			}
			state, err := env.store.Provider(t.Context(), p.Ref())
			must(t, err)
			if list := env.charged(p); len(list) > 0 || len(env.events()) != 3 || state.Published != 3 {
				t.Errorf("%d events, %d counted, in quarantine %+v; want 3, 3 and none", len(env.events()), state.Published, list)
			}
		})
	}
}
