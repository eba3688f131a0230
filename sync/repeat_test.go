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

// TestTwoEnds holds that the work goes on for a while after the deadline.
func TestTwoEnds(t *testing.T) {
	t.Parallel()
	clock := newFastClock()
	r := &Runner{Clock: clock}
	began := clock.Now()
	work, cancel := r.StopWith(t.Context(), time.Hour)
	defer cancel()
	<-work.Done()
	select {
	case <-r.Stop:
	default:
		t.Error("the work is over, and nobody was asked to end it")
	}
	if took := clock.Now().Sub(began); took != time.Hour+grace {
		t.Errorf("the work ended after %s", took)
	}
	if cause := context.Cause(work); !errors.Is(cause, ErrStopped) {
		t.Errorf("it ended for %v", cause)
	}
}
