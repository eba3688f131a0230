package sync

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/devenv/imapserver"
	"imapsync/parse"
)

// poison makes a mail of which the server gives the header and never the body.
func poison(s *imapserver.Server, folder string, uid uint32, do func(x *imapserver.Exchange) error) {
	s.Play(imapserver.Quirk{Name: fmt.Sprintf("poison %d", uid), Stage: imapserver.Body, Do: do, When: func(x *imapserver.Exchange) bool {
		return x.Mailbox.Name == folder && !strings.Contains(x.Args, "HEADER") &&
			slices.ContainsFunc(x.Responses, func(r imapserver.Response) bool { return r.UID == uid })
	}})
}

// byHeaders counts the events of mail that had its charges.
func (env *testEnv) byHeaders() (n int) {
	for _, ev := range env.events() {
		if slices.ContainsFunc(ev.Payload.EmailData.Defects, func(d event.Defect) bool { return d.Code == defectDegraded }) {
			n++
		}
	}
	return n
}

// charged is what the quarantine says of a provider's mail, for people and for itself.
func (env *testEnv) charged(p *db.Provider) []db.Quarantine {
	env.t.Helper()
	list, err := env.store.ListQuarantine(env.t.Context(), db.QuarantineFilter{ProviderID: p.ID, Limit: 100})
	must(env.t, err)
	return list
}

// TestFailure30_PoisonEndsByItsHeaders: mail of which the server never gives the body
// goes out by its headers after five charges, and delays nothing that comes meanwhile.
func TestFailure30_PoisonEndsByItsHeaders(t *testing.T) {
	t.Parallel()
	no := func(x *imapserver.Exchange) error { return x.Tagged("NO [SERVERBUG] Cannot read the message") }
	for name, c := range map[string]struct {
		good, bad int // mails at first
		do        func(x *imapserver.Exchange) error
		within    time.Duration // all of them end
	}{
		"among good mail, refused":     {good: 5, bad: 1, do: no, within: 2 * time.Hour},
		"among good mail, closed":      {good: 5, bad: 1, do: (*imapserver.Exchange).Close, within: 2 * time.Hour},
		"among good mail, throttled":   {good: 5, bad: 1, do: func(x *imapserver.Exchange) error { return x.Tagged("NO [UNAVAILABLE] Try again later") }, within: 2 * time.Hour},
		"two among good mail":          {good: 3, bad: 2, do: (*imapserver.Exchange).Close, within: 2 * time.Hour},
		"alone in the account":         {bad: 1, do: no, within: 26 * time.Hour},
		"alone in the account, closed": {bad: 1, do: (*imapserver.Exchange).Close, within: 26 * time.Hour},
		"two that are all there is":    {bad: 2, do: (*imapserver.Exchange).Close, within: 26 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			s, p := env.scripted(imapserver.Config{}, nil)
			clock := &handClock{now: time.Now().UTC()}
			env.runner.Clock = clock
			box := s.Mailbox("INBOX")
			for i := range c.bad {
				poison(s, "INBOX", box.Append(string(mail(i, fmt.Sprintf("poison %d", i)))), c.do)
			}
			appendN(box, 10, 9+c.good, "good")
			began, published := clock.now, c.good
			env.run(p)
			if n := len(env.events()); n != c.good {
				t.Errorf("%d events after the first pass, want %d", n, c.good)
			}
			for env.byHeaders() < c.bad && clock.now.Sub(began) < c.within {
				clock.move(c.within / 50)
				if c.good > 0 { // newer mail is a control: where there is to be none, it would be one
					appendN(box, 100+published, 100+published, "newer")
					published++
				}
				env.run(p)
				if n := len(env.events()); n < published {
					t.Fatalf("%s later: %d events, want %d: newer mail waits", clock.now.Sub(began), n, published)
				}
			}
			if n := env.byHeaders(); n != c.bad {
				t.Errorf("%d of %d went out by their headers within %s: %+v", n, c.bad, c.within, env.charged(p))
			}
			for _, q := range env.charged(p) {
				if q.State != db.QuarantineDead || q.Charges != maxCharges || q.EventKey == "" {
					t.Errorf("in quarantine: %+v, want it dead, with its charges and its event", q)
				}
			}
			appendN(box, 900, 900, "last")
			if res := env.ok(p); res.Counts.Published != 1 || res.Counts.Total() != 1 {
				t.Errorf("a pass afterwards: %+v, want the new mail alone", res.Counts)
			}
		})
	}
}

// TestFailure30_NotEvenAHeader: mail of which not even the header is given has published
// nothing, so it is tried on, ever so seldom, and goes out when the server gives it.
func TestFailure30_NotEvenAHeader(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, nil)
	clock := &handClock{now: time.Now().UTC()}
	env.runner.Clock = clock
	appendN(s.Mailbox("INBOX"), 1, 3, "a")
	s.Play(cutAt(2))
	for range 40 {
		env.run(p)
		clock.move(3 * time.Minute)
	}
	list := env.charged(p)
	if len(list) != 1 || list[0].State != db.QuarantineRetry || list[0].Charges <= maxCharges || len(env.events()) != 2 {
		t.Errorf("%d events, in quarantine %+v; want the others published and this one waiting", len(env.events()), list)
	}
	s.Behave()
	clock.move(chargeEvery)
	env.run(p)
	if n := len(env.events()); n != 3 {
		t.Errorf("%d events, want all three", n)
	}
}

// TestFailure01_OwnStageNeedsNoControl: mail that our own side cannot handle is charged
// though nothing else is there, goes out by its headers, and its raw mail is kept.
func TestFailure01_OwnStageNeedsNoControl(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, nil)
	clock := &handClock{now: time.Now().UTC()}
	env.runner.Clock = clock
	env.runner.parse = func(raw []byte, lim parse.Limits) *parse.Message {
		if strings.Contains(string(raw), "Body 7") {
			panic("at the body")
		}
		return parse.Parse(raw, lim)
	}
	s.Mailbox("INBOX").Append(string(mail(7, "odd")))
	for range 30 {
		env.run(p)
		clock.move(5 * time.Minute)
	}
	list := env.charged(p)
	if len(list) != 1 || list[0].State != db.QuarantineDead || list[0].RawBlobKey == "" || env.byHeaders() != 1 {
		t.Errorf("in quarantine %+v, %d events by headers; want it dead with its raw mail, and one event", list, env.byHeaders())
	}
}

// TestFailure01_KilledTwice: two kills are evidence by themselves, mail that was in
// hand then waits under a minute, and what kills every pass ends by its headers.
func TestFailure01_KilledTwice(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, nil)
	clock := &handClock{now: time.Now().UTC()}
	env.runner.Clock = clock
	box := s.Mailbox("INBOX")
	appendN(box, 1, 1, "first")
	env.ok(p)
	killed := func(uids ...int) { // as a pass leaves it that is killed while it handles them
		env.inFlight(p, uids...)
	}
	appendN(box, 2, 2, "killer")
	killed(2, 2)
	if res := env.ok(p); res.Counts.Quarantined != 1 {
		t.Fatalf("%+v, want it in quarantine", res.Counts)
	}
	q := env.charged(p)[0]
	if q.Kills != 2 || q.Charges != 1 || q.NextAttemptAt.Sub(clock.now) >= time.Minute {
		t.Errorf("%+v, want two kills, a charge, and less than a minute", q)
	}
	for q.State == db.QuarantineRetry && q.Charges < maxCharges {
		killed(2)
		clock.move(time.Minute)
		before := q.Charges
		env.ok(p)
		if q = env.charged(p)[0]; q.Charges != before+1 {
			t.Fatalf("%+v after one more kill, want one more charge", q)
		}
	}
	if env.byHeaders() != 1 || q.State != db.QuarantineDead {
		t.Errorf("%+v, %d events by headers; want it dead, and one", q, env.byHeaders())
	}

	appendN(box, 3, 3, "innocent")
	killed(3, 3)
	env.ok(p)
	clock.move(59 * time.Second)
	if res := env.ok(p); res.Counts.Published != 1 {
		t.Errorf("under a minute later: %+v, want it published", res.Counts)
	}
}
