package sync

import "time"

// Clock tells the time and waits. Another one than the machine's lets tests run
// hours of waiting in milliseconds.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// machineClock is the clock unless a Runner is given another.
type machineClock struct{}

func (machineClock) Now() time.Time                         { return time.Now() }
func (machineClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// orMachine is c, or the machine's clock when it is nil.
func orMachine(c Clock) Clock {
	if c == nil {
		return machineClock{}
	}
	return c
}

func (r *Runner) clock() Clock { return orMachine(r.Clock) }

// now is the time in UTC, as everything is stored.
func (r *Runner) now() time.Time { return r.clock().Now().UTC() }

// since is how long ago t was.
func (r *Runner) since(t time.Time) time.Duration { return r.clock().Now().Sub(t) }

// until is how long it is to t.
func (r *Runner) until(t time.Time) time.Duration { return t.Sub(r.clock().Now()) }
