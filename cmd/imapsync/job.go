package main

import (
	"cmp"
	"context"
	"os"
	"runtime/debug"
	"sync"

	"github.com/nats-io/nats.go"

	"imapsync/db"
	"imapsync/event"
	mailsync "imapsync/sync"
)

// job is what a command needs that reads mailboxes: the store, and, for those
// that publish, the locks and the broker.
type job struct {
	store  *db.Store
	locks  *db.Locks
	nc     *nats.Conn
	runner *mailsync.Runner
}

// newJob makes sure of the stored passwords' key. Such a job may read mailboxes,
// and nothing more.
func (a *app) newJob(ctx context.Context, store *db.Store, opts mailsync.Options) (*job, error) {
	c, err := a.credentials(store)
	if err == nil {
		err = c.ready(ctx)
	}
	if err != nil {
		return nil, err
	}
	boundMemory(opts.MaxInFlightBytes)
	opts.Host, _ = os.Hostname() // for people to read; empty when unknown
	opts.Version = version()
	return &job{store: store, runner: &mailsync.Runner{
		Store: store, Log: a.log, Options: opts, Stop: ctx.Done(),
		Credential: c.of,
	}}, nil
}

// boundMemory has the garbage collector keep the heap near what may be in
// flight: by default it would let as much garbage stand beside it. GOMEMLIMIT
// wins.
func boundMemory(inFlight int64) {
	const rest = 8 << 20 // what a run needs besides raw mail
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // the limit bounds the heap; below it, collecting is work for nothing
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(cmp.Or(inFlight, mailsync.DefaultMaxInFlightBytes) + rest)
	}
}

// openPublisher connects to the broker and opens the locks, so that the job may
// publish.
func (j *job) openPublisher(ctx context.Context, a *app, f *publishFlags) error {
	var (
		locks   sync.WaitGroup // opened meanwhile: each waits for its server
		lockErr error
		natsErr error
	)
	locks.Go(func() { j.locks, lockErr = j.store.OpenLocks(ctx) })
	j.nc, natsErr = a.openNATS(ctx)
	locks.Wait()
	if err := cmp.Or(lockErr, natsErr); err != nil {
		return err
	}
	pub, err := event.NewPublisher(ctx, j.nc, event.PublisherOptions{Limits: f.limits, Patience: f.patience, Logger: a.log})
	if err != nil {
		return err
	}
	j.runner.Locks, j.runner.Publisher = j.locks, pub
	return nil
}

// close ends what openPublisher opened.
func (j *job) close() {
	if j.nc != nil {
		j.nc.Close()
	}
	if j.locks != nil {
		j.locks.Close()
	}
}
