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

// workers is how many runs go on at a time.
const workers = 3

// siege is one go: rounds of killing, then the count.
type siege struct {
	options
	*place
	random  *rand.Rand
	post    *post
	workers []*worker
	frozen  map[*worker]int // stopped, and until which round
	seen    uint64          // the sequence up to which the stream was read
	report  *report
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
		err = s.settle(ctx)
	}
	if err == nil {
		err = s.count(ctx)
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
	for i := range workers {
		w := &worker{place: s.place, name: fmt.Sprintf("crash-%d-%d", os.Getpid(), i), stop: make(chan struct{})}
		s.workers = append(s.workers, w)
		working.Go(w.work)
	}
	for round := 1; round <= s.rounds && err == nil; round++ {
		if err = s.round(ctx, round); err == nil {
			s.report.Rounds = round
		}
		if round%10 == 0 {
			fmt.Fprintf(s.out, "crash: round %d of %d\n", round, s.rounds)
		}
	}
	close(stop)
	delivering.Wait()
	err = errors.Join(err, <-done)
	for _, w := range s.workers {
		close(w.stop)
		w.signal(syscall.SIGCONT)
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
	for w, until := range s.frozen {
		if round >= until {
			delete(s.frozen, w)
			w.signal(syscall.SIGCONT)
		}
	}
	if s.random.IntN(4) > 0 {
		if err := s.amidEvents(ctx); err != nil {
			return err
		}
	}
	switch s.random.IntN(12) {
	case 0, 1:
		return s.killDatabase(ctx)
	case 2, 3, 4:
		return s.killBroker(ctx)
	case 5, 6:
		return s.freeze(ctx, round)
	case 7:
		return s.expunge(ctx)
	}
	for i := range 1 + s.random.IntN(len(s.workers)) {
		if s.workers[(round+i)%len(s.workers)].signal(syscall.SIGKILL) {
			s.report.Kills.Workers++
		}
	}
	return nil
}

// amidEvents waits until some events pass on their way to the stream, for at
// most a second: then a run is between publishing and its commit.
func (s *siege) amidEvents(ctx context.Context) error {
	nc, err := connect(ctx, s.broker.url())
	if err != nil {
		return err
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

func (s *siege) killDatabase(ctx context.Context) error {
	if err := s.postgres.Kill(); err != nil {
		return err
	}
	s.report.Kills.Database++
	if err := s.wait(ctx, 0, 200); err != nil {
		return err
	}
	return s.postgres.Start(ctx)
}

// killBroker kills it at once, or after it hung for a moment.
func (s *siege) killBroker(ctx context.Context) error {
	if s.random.IntN(2) == 0 {
		if err := errors.Join(s.broker.hang(), s.wait(ctx, 20, 200)); err != nil {
			return err
		}
	}
	if err := s.broker.kill(); err != nil {
		return err
	}
	s.report.Kills.Broker++
	if err := s.wait(ctx, 0, 300); err != nil {
		return err
	}
	return s.broker.start(ctx)
}

// freeze stops a run in the middle, as a node does that swaps or migrates, and
// has its connections to the database cut. Another one takes over; some rounds
// later the first goes on, and must notice.
func (s *siege) freeze(ctx context.Context, round int) error {
	w := s.workers[s.random.IntN(len(s.workers))]
	if _, already := s.frozen[w]; already || len(s.frozen) == workers-1 || !w.signal(syscall.SIGSTOP) {
		return nil
	}
	s.frozen[w] = round + 1 + s.random.IntN(3)
	s.report.Kills.Frozen++
	return retry(ctx, func() error { return w.cut(ctx) })
}

// expunge removes mails that are on the stream from their folders.
func (s *siege) expunge(ctx context.Context) error {
	nc, err := connect(ctx, s.broker.url())
	if err != nil {
		return err
	}
	defer nc.Close()
	events, next, err := nc.read(ctx, s.seen)
	if err != nil {
		return err
	}
	s.seen = next
	return s.post.expunge(ctx, s.random, events)
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

// settle runs until nothing is left. A message that was killed in the middle
// of its handling more than once waits in quarantine for its next attempt;
// that time is made to pass.
func (s *siege) settle(ctx context.Context) error {
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
