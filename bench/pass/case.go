package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"imapsync/internal/devenv"
)

// benchCase is one question: contenders that do the same work, run in turns.
type benchCase struct {
	name  string
	title string
	setup func(ctx context.Context, s *servers) ([]contender, error)
	bars  []bar

	dovecot []devenv.DovecotOption // how its mail server differs from the others'
	times   int                    // so many rounds for each one asked for: a pass of 60 ms needs more; 0 is one
}

// contender is one way to do the work of a case.
type contender struct {
	name     string
	product  bool
	optional bool   // when it fails it is left out
	rounds   int    // at most; 0 is as many as asked for
	beside   string // one more whom the table compares it with
	run      func(ctx context.Context) (sample, error)
	samples  []sample
}

// and compares a contender with one more.
func (c contender) and(other string) contender {
	c.beside = other
	return c
}

// bar is what a case has to show: a number of the medians, and its bound.
type bar struct {
	what  string
	value func(m medians) (float64, bool) // false when a contender is missing
	most  float64
	least float64
}

// medians of a case, by contender.
type medians map[string]sample

// wallOf is the ratio of two walls.
func wallOf(name, base string) func(medians) (float64, bool) {
	return func(m medians) (float64, bool) {
		a, okA := m[name]
		b, okB := m[base]
		return a.wall.Seconds() / b.wall.Seconds(), okA && okB
	}
}

// rssOf is the peak memory of a contender in MB (2^20 bytes).
func rssOf(name string) func(medians) (float64, bool) {
	return func(m medians) (float64, bool) {
		s, ok := m[name]
		return float64(s.rss) / (1 << 20), ok
	}
}

// cpuOf is the CPU time of a contender in milliseconds, divided by n.
func cpuOf(name string, n int) func(medians) (float64, bool) {
	return func(m medians) (float64, bool) {
		s, ok := m[name]
		return s.cpu.Seconds() * 1000 / float64(n), ok
	}
}

// highOf is the 99th percentile of a contender in seconds.
func highOf(name string) func(medians) (float64, bool) {
	return func(m medians) (float64, bool) {
		s, ok := m[name]
		return s.high.Seconds(), ok
	}
}

// besidesOf is by how many seconds a contender's wall is above another's.
func besidesOf(name, base string) func(medians) (float64, bool) {
	return func(m medians) (float64, bool) {
		a, okA := m[name]
		b, okB := m[base]
		return (a.wall - b.wall).Seconds(), okA && okB
	}
}

// result is a case that was measured.
type result struct {
	benchCase
	contenders []contender
}

// measure runs the contenders of a case in turns, so that what else the
// machine does falls on all of them alike. It stops early when the time is up,
// after one round at least.
func (c benchCase) measure(ctx context.Context, s *servers) (result, error) {
	fmt.Fprintf(os.Stderr, "%s: %s: preparing\n", c.name, c.title)
	contenders, err := c.setup(ctx, s)
	if err != nil {
		return result{}, fmt.Errorf("%s: %w", c.name, err)
	}
	began := time.Now()
	for round := range s.options.rounds * max(c.times, 1) {
		if time.Since(began) > s.options.patience {
			fmt.Fprintf(os.Stderr, "%s: %d rounds in %s, that is all there is time for\n", c.name, round, s.options.patience)
			break
		}
		// Every other round goes backwards: nobody always runs behind the same one.
		order := make([]int, len(contenders))
		for i := range order {
			order[i] = i
		}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, i := range order {
			co := &contenders[i]
			if co.rounds > 0 && len(co.samples) >= co.rounds || s.options.profile != "" && !co.product {
				continue
			}
			got, err := co.run(ctx)
			if err != nil && co.optional && ctx.Err() == nil {
				fmt.Fprintf(os.Stderr, "%s: %s is left out: %v\n", c.name, co.name, err)
				continue
			}
			if err != nil {
				return result{}, fmt.Errorf("%s: %s: %w", c.name, co.name, err)
			}
			co.samples = append(co.samples, got)
			fmt.Fprintf(os.Stderr, "%s: round %d: %-36s %7.3fs cpu %6.3fs rss %4d MB trips %d\n", c.name, round+1, co.name,
				got.wall.Seconds(), got.cpu.Seconds(), got.rss>>20, got.trips)
		}
	}
	return result{c, contenders}, nil
}

// median is the middle of what was measured, each quantity by itself.
func (c contender) median() sample {
	var m sample
	m.wall = middle(c.samples, func(s sample) time.Duration { return s.wall })
	m.high = middle(c.samples, func(s sample) time.Duration { return s.high })
	m.cpu = middle(c.samples, func(s sample) time.Duration { return s.cpu })
	m.rss = middle(c.samples, func(s sample) int64 { return s.rss })
	m.trips = middle(c.samples, func(s sample) int { return s.trips })
	return m
}

func middle[T cmp.Ordered](samples []sample, of func(sample) T) T {
	values := make([]T, len(samples))
	for i, s := range samples {
		values[i] = of(s)
	}
	slices.Sort(values)
	return values[len(values)/2]
}
