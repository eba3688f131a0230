package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"
)

// options of one go.
type options struct {
	rounds int
	seed   uint64
	limit  time.Duration // of the whole
	out    io.Writer
}

// siege is one go: rounds of killing, then the count.
type siege struct {
	options
	*place
	random  *rand.Rand
	post    *post
	workers []*worker
	frozen  map[*worker]int // stopped, and until which round
	ill     *illness        // of the one broker that has one
	paused  string          // a mailbox, by a person
	seen    uint64          // the sequence up to which the stream was read
	report  *report

	pausedUntil int // the round
}

// crash does it all. The report stands even when there is an error.
func crash(ctx context.Context, o options) (_ *report, err error) {
	rep := &report{Seed: o.seed}
	started := time.Now()
	defer func() { rep.Took = time.Since(started) }()
	ctx, cancel := context.WithTimeoutCause(ctx, o.limit, fmt.Errorf("not done after %s", o.limit))
	defer cancel()
	p, err := open(ctx)
	if p != nil {
		defer func() { err = errors.Join(err, p.close()) }()
	}
	if err != nil {
		return rep, err
	}
	fmt.Fprintf(o.out, "crash: %d rounds, seed %d\n", o.rounds, o.seed)
	s := &siege{
		options: o, place: p, random: rand.New(rand.NewPCG(o.seed, 1)), frozen: map[*worker]int{}, seen: 1, report: rep,
		post: newPost(p, rand.New(rand.NewPCG(o.seed, 2))),
	}
	err = s.underFire(ctx)
	rep.Killing = time.Since(started)
	if err == nil {
		waits := s.waits(ctx)
		if err = s.settle(ctx); err == nil {
			err = s.count(ctx)
		}
		err = errors.Join(waits, err)
	}
	if err != nil && ctx.Err() != nil {
		err = errors.Join(context.Cause(ctx), err)
	}
	return rep, err
}

// underFire delivers, runs and kills for all rounds, and ends with every server
// up and no run under way.
func (s *siege) underFire(ctx context.Context) (err error) {
	var delivering, working sync.WaitGroup
	stop, done := make(chan struct{}), make(chan error, 1)
	delivering.Go(func() { done <- s.post.run(stop) })
	for i, args := range runs() {
		w := &worker{place: s.place, name: fmt.Sprintf("crash-%d-%d", os.Getpid(), i), args: args, stop: make(chan struct{})}
		s.workers = append(s.workers, w)
		working.Go(w.work)
	}
	for round := 1; round <= s.rounds && err == nil; round++ {
		if err = s.round(ctx, round); err == nil {
			s.report.Rounds = round
		}
	}
	close(stop)
	delivering.Wait()
	err = errors.Join(err, <-done)
	err = errors.Join(err, s.heal(context.WithoutCancel(ctx), 0))
	for _, w := range s.workers {
		close(w.stop)
		w.signal(syscall.SIGTERM) // those that stay are asked to end
	}
	if err == nil {
		// What still runs may end by itself, but not for ever.
		give := time.AfterFunc(30*time.Second, s.killWorkers)
		defer give.Stop()
	} else {
		s.killWorkers()
	}
	working.Wait()
	for _, w := range s.workers {
		s.report.Runs += w.runs
		err = errors.Join(append([]error{err}, w.faults...)...)
	}
	return err
}

func (s *siege) killWorkers() {
	for _, w := range s.workers {
		w.signal(syscall.SIGKILL)
	}
}

// round lets them work for a moment and then kills something: every fourth time
// whatever is going on, else while events are on their way.
func (s *siege) round(ctx context.Context, round int) error {
	if err := s.wait(ctx, 50, 500); err != nil {
		return err
	}
	if err := s.heal(ctx, round); err != nil {
		return err
	}
	if s.random.IntN(4) > 0 {
		if err := s.amidEvents(ctx); err != nil {
			return err
		}
	}
	return s.strike(ctx, round)
}

// amidEvents waits until some events pass on their way to the stream, for at
// most a second: then a run is between publishing and its commit.
func (s *siege) amidEvents(ctx context.Context) error {
	nc, err := connect(ctx, s.brokers.url())
	if err != nil {
		return ctx.Err() // the one that it asked is ill
	}
	defer nc.Close()
	passing, err := nc.SubscribeSync("mail.inbound.v1.>")
	if err != nil {
		return err
	}
	for limit, n := time.Now().Add(time.Second), 1+s.random.IntN(15); n > 0; n-- {
		if _, err := passing.NextMsg(time.Until(limit)); err != nil {
			return nil // nothing passes now: any moment will do
		}
	}
	s.report.Amid++
	return nil
}

func (s *siege) wait(ctx context.Context, least, most int) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(time.Duration(least+s.random.IntN(most-least)) * time.Millisecond):
		return nil
	}
}

// retry tries again for a while: our own pool has connections to a database
// that was killed since.
func retry(ctx context.Context, do func() error) (err error) {
	for range 10 {
		if err = do(); err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// outcome is a line of `imapsync run -o json`.
type outcome struct {
	Provider string `json:"provider"`
	Outcome  string `json:"outcome"`
	Left     int    `json:"left"`
	Error    string `json:"error"`
	Counts   struct {
		Published, Duplicates, Skipped, Expunged, Quarantined int
	} `json:"counts"`
}

// mostWait is how long mail may wait because of runs that were killed.
const mostWait = time.Minute

// waits holds that what the killing put off does not wait for long.
func (s *siege) waits(ctx context.Context) error {
	var most float64
	err := retry(ctx, func() error {
		return s.pool.QueryRowContext(ctx, `SELECT coalesce(max(extract(epoch FROM next_attempt_at - now())), 0)
			FROM imap_quarantine WHERE state = 'retry' AND error_code = 'killed'`).Scan(&most)
	})
	if err != nil {
		return fmt.Errorf("settle: %w", err)
	}
	if most > mostWait.Seconds() {
		return fmt.Errorf("mail of killed runs waits for %.0f s", most)
	}
	return nil
}

// settle runs until nothing is left. A message that was killed in the middle
// of its handling more than once waits in quarantine for its next attempt;
// that time is made to pass.
func (s *siege) settle(ctx context.Context) error {
	if err := s.brokers.ready(ctx); err != nil {
		return err
	}
	args := []string{"run", "--drain", "-o", "json"}
	for user := range mailboxes {
		args = append(args, "--provider", user)
	}
	var last error
	for range 40 {
		var waiting int64
		err := retry(ctx, func() error {
			res, err := s.pool.ExecContext(ctx, `UPDATE imap_quarantine SET next_attempt_at = NULL WHERE state = 'retry'`)
			if err == nil {
				waiting, err = res.RowsAffected()
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("settle: %w", err)
		}
		s.report.Quarantined = max(s.report.Quarantined, int(waiting))
		output, err := s.imapsync(ctx, args...)
		quiet := err == nil && waiting == 0
		last = err
		for dec := json.NewDecoder(bytesReader(output)); err == nil && dec.More(); {
			var o outcome
			if err = dec.Decode(&o); err != nil {
				return fmt.Errorf("settle: %w in %q", err, output)
			}
			c := o.Counts
			if o.Outcome != "ok" {
				last = fmt.Errorf("%s: %s %s", o.Provider, o.Outcome, o.Error)
			}
			quiet = quiet && o.Outcome == "ok" && o.Left == 0 && c.Published+c.Duplicates+c.Skipped+c.Expunged+c.Quarantined == 0
		}
		if quiet {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return fmt.Errorf("settle: there is no end to it; the last run said: %w", last)
}
