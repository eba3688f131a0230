package provider

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"imapsync/db"
	"imapsync/publish"
	mailsync "imapsync/sync"
)

// Job reads mailboxes: it has a runner, and, once it may publish, the locks and
// the broker.
type Job struct {
	Store  *db.Store
	Locks  *db.Locks
	NATS   *nats.Conn
	Runner *mailsync.Runner

	service *Service
}

// NewJob makes sure of the stored passwords' key. Such a job may read mailboxes,
// and nothing more. A bound for what is in flight bounds the process's memory.
func (s *Service) NewJob(ctx context.Context, opts mailsync.Options) (*Job, error) {
	c, err := s.credentials(nil)
	if err == nil {
		err = c.ready(ctx)
	}
	if err != nil {
		return nil, err
	}
	if opts.MaxInFlightBytes > 0 {
		BoundMemory(opts.MaxInFlightBytes)
	}
	opts.Host, _ = os.Hostname() // for people to read; empty when unknown
	opts.Version = s.Version
	return &Job{Store: s.Store, service: s, Runner: &mailsync.Runner{
		Store: s.Store, Log: s.Log, Options: opts, Stop: ctx.Done(),
		Credential: c.of,
	}}, nil
}

// BoundMemory has the garbage collector keep the heap near what may be in flight: by
// default it would let as much garbage stand beside it. GOMEMLIMIT wins.
func BoundMemory(inFlight int64) {
	const rest = 8 << 20 // what a run needs besides raw mail
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // the limit bounds the heap; below it, collecting is work for nothing
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(inFlight + rest)
	}
}

// OpenPublisher connects to the broker and opens the locks, so that the job may
// publish.
func (j *Job) OpenPublisher(ctx context.Context, opts publish.PublisherOptions) error {
	var (
		database sync.WaitGroup // asked meanwhile: each waits for its server
		writeErr error
		lockErr  error
		natsErr  error
	)
	database.Go(func() { writeErr = j.Store.CheckWrites(ctx) })
	database.Go(func() { j.Locks, lockErr = j.Store.OpenLocks(ctx) })
	j.NATS, natsErr = j.service.Connect(ctx)
	database.Wait()
	if err := cmp.Or(writeErr, lockErr, natsErr); err != nil {
		return err
	}
	opts.Logger = j.service.Log
	if opts.Make.May == nil { // else somebody said that it may be made
		opts.Make.May = func(ctx context.Context, stream string) error {
			return mailsync.MayMake(ctx, j.Store, stream, time.Now())
		}
	}
	publisher, err := publish.NewPublisher(ctx, j.NATS, opts)
	if err != nil {
		return err
	}
	j.Runner.Locks, j.Runner.Publisher = j.Locks, publisher
	return nil
}

// Close ends what OpenPublisher opened.
func (j *Job) Close() {
	if j.NATS != nil {
		j.NATS.Close()
	}
	if j.Locks != nil {
		j.Locks.Close()
	}
}

// Progress is where a long action stands.
type Progress struct {
	Done, Total int    // Total is 0 while nobody knows
	Text        string // one line, shown with those before it; may be empty
	Wrong       bool   // the line is about something that went wrong
}

// Sync makes one pass over p, due or not, as a run does. When ctx ends, the
// chunk in hand is finished. The error is that of the pass; one that served some
// folders has it in the result alone.
func (s *Service) Sync(ctx context.Context, p *db.Provider, by string, report func(Progress)) (mailsync.Result, error) {
	var result mailsync.Result
	opts := s.Pass
	opts.Named = true
	j, err := s.NewJob(ctx, opts)
	if err != nil {
		return result, err
	}
	defer j.Close()
	if err := Idle(p); err != nil {
		return result, err
	}
	if err := j.OpenPublisher(ctx, s.Publish); err != nil {
		return result, err
	}
	if err := j.Runner.Publisher.HasRoom(); err != nil {
		return result, err
	}
	if err := s.Store.WriteAudit(ctx, audit(p, by, "provider_synced", nil)); err != nil {
		return result, err
	}
	work, cancel := j.Runner.StopWith(ctx, 0)
	defer cancel()
	j.Runner.OnProgress = func(pr mailsync.Progress) { report(Progress{Done: pr.Done, Total: pr.Done + pr.Left}) }
	j.Runner.OnResult = func(res mailsync.Result) {
		if result = res; res.Err == nil {
			done := res.Counts.Total()
			report(Progress{Done: done, Total: done + res.Left})
		}
	}
	summary, err := j.Runner.Run(work, []db.Ref{p.Ref()})
	switch {
	case err != nil:
		return result, err
	case summary.OK+summary.Partial > 0:
		return result, nil
	case summary.Busy > 0:
		return result, Busy(p)
	case summary.Deferred > 0:
		return result, ErrDeferred
	case summary.Skipped > 0:
		return result, ErrStopped
	}
	return result, result.Err
}

// Reconcile compares the server's messages with the ledger and returns how many
// are missing.
func (s *Service) Reconcile(ctx context.Context, p *db.Provider, report func(Progress)) (missing int, err error) {
	j, err := s.NewJob(ctx, mailsync.Options{})
	if err != nil {
		return 0, err
	}
	states, err := s.Store.FolderStates(ctx, p.Ref())
	if err != nil {
		return 0, err
	}
	total, done, unseen := len(states), 0, int64(0)
	report(Progress{Total: total})
	err = j.Runner.Reconcile(ctx, p, func(r mailsync.FolderReport) {
		done++
		if missing += len(r.Missing); !r.UnseenOwn {
			unseen += r.Unseen
		}
		report(Progress{Done: done, Total: max(total, done), Text: ReportText(r), Wrong: r.Error != "" || len(r.Missing) > 0 || r.Unseen > 0})
	})
	if err == nil && missing == 0 && unseen > 0 {
		err = mailsync.Unseen(unseen)
	}
	if err == nil {
		report(Progress{Done: done, Total: done}) // a folder that was read once may no longer be
	}
	return missing, err
}

// ReportText is one line about a folder that was compared.
func ReportText(r mailsync.FolderReport) string {
	if r.Error != "" {
		return r.Folder + ": " + OneLine(r.Error)
	}
	line := fmt.Sprintf("%s: %d on the server, %d handled, %d missing", r.Folder, r.OnServer, r.Handled+r.Elsewhere, len(r.Missing))
	line += Counted(Count{r.Duplicates, "duplicates"}, Count{r.Waiting, "waiting"}, Count{r.Quarantined, "quarantined"}, Count{int(r.Dead), "dead"}, Count{r.HeldBack, "held"}, Count{r.Before, "older than the start"},
		Count{r.Extra, "no longer there"})
	if r.Unseen > 0 {
		line += fmt.Sprintf("; EXISTS counts %d messages, of which the server does not show %d", r.Exists, r.Unseen)
	}
	if n := len(r.Missing); n > 0 {
		line += fmt.Sprintf("; missing uids %s", strings.Trim(fmt.Sprint(r.Missing[:min(n, 20)]), "[]"))
	}
	return line
}

// ResultText tells what a pass brought and why it ended; the latter on a line
// of its own.
func ResultText(res mailsync.Result) string {
	if res.Busy {
		return "busy: another run holds its lock"
	}
	text := CountsText(res.Counts)
	text += Counted(Count{res.Left, "left"}, Count{res.HeldBack, "held"})
	text += fmt.Sprintf(" (%s in %s)", ByteSize(res.Bytes), time.Duration(res.Duration.Milliseconds())*time.Millisecond)
	switch {
	case res.Deferred != "":
		text += "\n  deferred: " + res.Deferred
	case res.Outcome() == "unfinished":
		text += "\n  not finished: " + OneLine(res.Err.Error())
	case res.Err != nil && res.Partial:
		text += "\n  partial: " + OneLine(res.Err.Error())
	case res.Err != nil:
		text += "\n  failed: " + OneLine(res.Err.Error())
	}
	return text
}

// CountsText tells what became of messages.
func CountsText(c db.Counts) string {
	return fmt.Sprintf("%d published", c.Published) + Counted(Count{c.Duplicates, "duplicates"}, Count{c.Skipped, "skipped"},
		Count{c.Expunged, "expunged"}, Count{c.Quarantined, "quarantined"})
}

// Count is a number of things, in words.
type Count struct {
	N    int
	Word string
}

// Counted lists the counts that are not zero, each behind a comma.
func Counted(counts ...Count) string {
	var b strings.Builder
	for _, c := range counts {
		if c.N > 0 {
			fmt.Fprintf(&b, ", %d %s", c.N, c.Word)
		}
	}
	return b.String()
}

// ByteSize writes a number of bytes for people.
func ByteSize(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return fmt.Sprintf("%.1f kB", float64(n)/1e3)
	case n < 1000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}

// OneLine puts spaces in place of all else that is blank.
func OneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
