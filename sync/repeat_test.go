package sync

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"imapsync/db"
)

// fastClock is a clock that jumps to the end of every wait.
type fastClock struct {
	mu  sync.Mutex
	now time.Time
}

func newFastClock() *fastClock { return &fastClock{now: time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC)} }

func (c *fastClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fastClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	over := make(chan time.Time, 1)
	over <- c.now
	return over
}

// TestRepeatKeepsItsInterval runs for a day in no time.
func TestRepeatKeepsItsInterval(t *testing.T) {
	t.Parallel()
	env := newEnv(t)
	clock := newFastClock()
	stop := make(chan struct{})
	env.runner.Clock, env.runner.Stop = clock, stop
	var at []time.Time
	first := clock.Now()
	_, err := env.runner.Repeat(t.Context(), time.Hour, nil, func(context.Context) ([]db.Ref, error) {
		if at = append(at, clock.Now()); len(at) == 24 {
			close(stop)
		}
		return nil, nil
	})
	must(t, err)
	if len(at) < 24 {
		t.Fatalf("%d runs, want 24 more", len(at))
	}
	for i, began := range at[:24] {
		if want := first.Add(time.Duration(i+1) * time.Hour); !began.Equal(want) {
			t.Errorf("run %d began at %s, want %s", i+1, began, want)
		}
	}
}

// TestTwoEnds: the deadline begins nothing new and leaves the message in hand its time;
// a signal leaves it grace.
func TestTwoEnds(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	r := &Runner{Clock: clock}
	began := clock.Now()
	ctx, signal := context.WithCancel(t.Context())
	work, cancel := r.StopWith(ctx, time.Hour)
	defer cancel()
	<-r.Stop
	if took := clock.Now().Sub(began); took != time.Hour || work.Err() != nil || r.told() {
		t.Errorf("asked to end after %s, the work %v, told %v", took, work.Err(), r.told())
	}
	signal()
	<-work.Done()
	if took := clock.Now().Sub(began); took != time.Hour+grace {
		t.Errorf("the work ended after %s", took)
	}
	if cause := context.Cause(work); !errors.Is(cause, ErrStopped) {
		t.Errorf("it ended for %v", cause)
	}
}
