package provider

import (
	"cmp"
	"context"
	"os"
	"runtime/debug"
	"sync"

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
	c, err := s.credentials(CredentialInput{})
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

// BoundMemory has the garbage collector keep the heap near what may be in
// flight: by default it would let as much garbage stand beside it. GOMEMLIMIT
// wins.
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
		locks   sync.WaitGroup // opened meanwhile: each waits for its server
		lockErr error
		natsErr error
	)
	locks.Go(func() { j.Locks, lockErr = j.Store.OpenLocks(ctx) })
	j.NATS, natsErr = j.service.Connect(ctx)
	locks.Wait()
	if err := cmp.Or(lockErr, natsErr); err != nil {
		return err
	}
	opts.Logger = j.service.Log
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
