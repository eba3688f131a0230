package sync

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"imapsync/internal/devenv/imapserver"
)

// askedClock stands still until the test moves it. Whoever waits is told to the test,
// but for the supervisor, whose rounds are rare.
type askedClock struct {
	mu    sync.Mutex
	now   time.Time
	waits chan askedWait
}

type askedWait struct {
	until time.Time
	over  chan time.Time
}

func newAskedClock() *askedClock {
	return &askedClock{now: time.Now(), waits: make(chan askedWait, 100)}
}

func (c *askedClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *askedClock) After(d time.Duration) <-chan time.Time {
	wait := askedWait{c.Now().Add(d), make(chan time.Time, 1)}
	if d < time.Hour {
		c.waits <- wait
	}
	return wait.over
}

func (c *askedClock) move(to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = to
}

// A server that closes the connection in IDLE, at once or some time after it
// began, is polled instead, and logins become rare whatever else it does.
func TestIdleThatIsDroppedBacksOff(t *testing.T) {
	t.Parallel()
	for _, server := range []struct {
		drops time.Duration // after IDLE has begun
		polls bool          // it drops connections that rest as well
		wakes bool          // it tells of mail before
	}{
		{drops: 100 * time.Millisecond}, {drops: 5 * time.Second}, {drops: 2 * time.Minute},
		{drops: 30 * time.Second, polls: true}, {drops: 30 * time.Second, wakes: true},
	} {
		t.Run(fmt.Sprintf("%+v", server), func(t *testing.T) {
			t.Parallel()
			env := newEnv(t)
			clock := newAskedClock()
			env.runner.Clock = clock
			s, _ := env.scripted(imapserver.Config{}, nil)
			w := env.watch(WatchOptions{Refresh: 1000 * time.Hour})
			began := clock.Now()
			var logins []int // by the half hour
			idles, firstMinute := 0, 0
			for len(logins) < 5 {
				var wait askedWait
				select {
				case wait = <-clock.waits:
				case <-time.After(patience):
					t.Fatal("nobody waits for anything")
				}
				idling := false
				for _, one := range w.r.watching.Load().watched {
					idling = one.idling.Load()
				}
				if idling {
					idles++
				}
				switch {
				case idling && server.wakes && idles%2 == 1:
					clock.move(clock.Now().Add(server.drops / 2))
					s.Mailbox("INBOX").Append(string(mail(idles, "woken")))
				case idling:
					clock.move(clock.Now().Add(server.drops))
					s.Disconnect()
				default:
					if server.polls {
						s.Disconnect()
					}
					clock.move(wait.until)
					wait.over <- wait.until
				}
				took := clock.Now().Sub(began)
				if took <= time.Minute {
					firstMinute = s.Connections()
				}
				for len(logins) <= int(took/(30*time.Minute)) {
					logins = append(logins, 0)
				}
				total := s.Connections()
				for _, before := range logins[:len(logins)-1] {
					total -= before
				}
				logins[len(logins)-1] = total
			}
			t.Logf("%d in the first minute, by the half hour: %v; IDLE %d times", firstMinute, logins, idles)
			last := logins[3] // the fifth has just begun
			switch {
			case firstMinute > 7, logins[0] > 20, last > 12, !server.polls && last > 2:
				t.Errorf("%d connections in the first minute, by the half hour: %v; want few, and ever fewer", firstMinute, logins)
			}
		})
	}
}
