package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
)

// strike does one thing to the runs or the servers.
func (s *siege) strike(ctx context.Context, round int) error {
	faults := []struct {
		weight int
		name   string
		do     func(ctx context.Context, round int) error
	}{
		{5, "runs are killed", s.killRuns},
		{3, "a run is frozen", s.freeze},
		{1, "mail is expunged", s.expunge},
		{2, "the database is killed", s.killDatabase},
		{2, "the standby is promoted", s.failOver},
		{5, "a broker is struck", s.strikeBroker},
		{2, "the IMAP server ends", s.strikeIMAP},
		{2, "connections are dropped", s.drop},
		{2, "a setting is changed", s.change},
	}
	n := s.random.IntN(24)
	for _, f := range faults {
		if n -= f.weight; n < 0 {
			fmt.Fprintf(s.out, "crash: round %d of %d: %s\n", round, s.rounds, f.name)
			return f.do(ctx, round)
		}
	}
	return nil
}

// killRuns kills some of the runs by kill -9.
func (s *siege) killRuns(_ context.Context, round int) error {
	for i := range 1 + s.random.IntN(len(s.workers)) {
		if s.workers[(round+i)%len(s.workers)].signal(syscall.SIGKILL) {
			s.report.Kills.Workers++
		}
	}
	return nil
}

// heal ends what was to last until a round; 0 ends all.
func (s *siege) heal(ctx context.Context, round int) error {
	over := func(until int) bool { return round == 0 || round >= until }
	for w, until := range s.frozen {
		if over(until) {
			delete(s.frozen, w)
			w.signal(syscall.SIGCONT)
		}
	}
	if s.ill != nil && over(s.ill.until) {
		cure := s.ill.cure
		s.ill = nil
		if err := cure(); err != nil {
			return err
		}
	}
	if s.paused != "" && over(s.pausedUntil) {
		// Its database may have died just now; then the next round does it.
		if _, err := s.imapsync(ctx, "provider", "resume", s.paused); err == nil {
			s.paused = ""
		} else if round == 0 {
			return err
		}
	}
	return nil
}

func (s *siege) killDatabase(ctx context.Context, _ int) error {
	if err := s.postgres.Kill(); err != nil {
		return err
	}
	s.report.Kills.Database++
	if err := s.wait(ctx, 0, 200); err != nil {
		return err
	}
	return s.postgres.Start(ctx)
}

// failOver ends the primary for good, promotes its standby, and has another one
// follow that.
func (s *siege) failOver(ctx context.Context, _ int) error {
	old := s.postgres
	if err := old.Kill(); err != nil {
		return err
	}
	if err := errors.Join(s.wait(ctx, 0, 200), s.standby.Promote(ctx)); err != nil {
		return err
	}
	s.postgresProxy.Target(s.standby.Addr())
	s.postgres, s.standby = s.standby, nil
	s.report.Promoted++
	if err := old.Close(); err != nil {
		return err
	}
	var err error
	s.standby, err = s.postgres.StartStandby(ctx)
	return err
}

// illness is what one broker has, and until which round.
type illness struct {
	until int
	cure  func() error
}

// strikeBroker kills, freezes or cuts off one of the brokers, for some rounds or a
// moment. Two of three go on.
func (s *siege) strikeBroker(ctx context.Context, round int) error {
	if s.ill != nil {
		return nil
	}
	b := s.brokers.list[s.random.IntN(len(s.brokers.list))]
	ill := &illness{until: round + 1 + s.random.IntN(4)}
	switch s.random.IntN(4) {
	case 0:
		if err := b.freeze(); err != nil {
			return err
		}
		s.report.Brokers.Frozen++
		ill.cure = b.wake
	case 1:
		b.cutOff(true)
		s.report.Brokers.CutOff++
		ill.cure = func() error {
			b.cutOff(false)
			return nil
		}
	case 2: // it hangs for a moment and is killed then
		if err := errors.Join(b.freeze(), s.wait(ctx, 20, 200)); err != nil {
			return err
		}
		fallthrough
	default:
		if err := b.kill(); err != nil {
			return err
		}
		s.report.Kills.Broker++
		ill.cure = b.start
		if s.random.IntN(2) == 0 {
			return b.start()
		}
	}
	s.ill = ill
	return nil
}

// freeze stops a run in the middle, as a node does that swaps or migrates, and
// has its connections to the database cut. Another one takes over; some rounds
// later the first goes on, and must notice.
func (s *siege) freeze(ctx context.Context, round int) error {
	w := s.workers[s.random.IntN(len(s.workers))]
	if _, already := s.frozen[w]; already || len(s.frozen) == len(s.workers)-1 || !w.signal(syscall.SIGSTOP) {
		return nil
	}
	s.frozen[w] = round + 1 + s.random.IntN(3)
	s.report.Kills.Frozen++
	return retry(ctx, func() error { return w.cut(ctx) })
}

// expunge removes mails that are on the stream from their folders.
func (s *siege) expunge(ctx context.Context, _ int) error {
	nc, err := connect(ctx, s.brokers.url())
	if err != nil {
		return ctx.Err() // one of them is ill just now
	}
	defer nc.Close()
	events, next, err := nc.read(ctx, s.seen)
	if err != nil {
		return ctx.Err()
	}
	s.seen = next
	return s.post.expunge(ctx, s.random, events)
}

// strikeIMAP stops or kills the IMAP server, and starts it again; now and then a
// folder has another UIDVALIDITY then.
func (s *siege) strikeIMAP(ctx context.Context, _ int) error {
	s.imapUp.Lock()
	defer s.imapUp.Unlock()
	end := s.dovecot.Stop
	if s.random.IntN(2) == 0 {
		end = s.dovecot.Kill
	}
	if err := errors.Join(end(), s.wait(ctx, 0, 300)); err != nil {
		return err
	}
	s.report.IMAP++
	if s.random.IntN(3) == 0 {
		spots := allSpots()
		at := spots[s.random.IntN(len(spots))]
		if err := s.dovecot.Renumber(at.user, at.folder); err != nil {
			return err
		}
		s.report.Renumbered++
	}
	return s.dovecot.Start(ctx)
}

// drop cuts the connections to the IMAP server or to the database.
func (s *siege) drop(context.Context, int) error {
	if s.random.IntN(2) == 0 {
		s.imapProxy.Cut()
	} else {
		s.postgresProxy.Cut()
	}
	s.report.Dropped++
	return nil
}

// change has a person change a setting, or pause a mailbox for some rounds.
func (s *siege) change(ctx context.Context, round int) error {
	user := s.post.users[s.random.IntN(len(s.post.users))]
	if s.random.IntN(2) == 0 && s.paused == "" {
		if _, err := s.imapsync(ctx, "provider", "pause", user); err == nil {
			s.paused, s.pausedUntil = user, round+1+s.random.IntN(3)
			s.report.Changed++
		}
		return ctx.Err()
	}
	most := strconv.Itoa([]int{5, 20, 60, 200}[s.random.IntN(4)])
	if _, err := s.imapsync(ctx, "provider", "set", user, "--max-emails-per-sync", most); err == nil {
		s.report.Changed++
	}
	return ctx.Err()
}
