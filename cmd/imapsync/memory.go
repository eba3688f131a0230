package main

import (
	"cmp"
	"context"
	"os"
	"runtime/debug"

	"imapsync/db"
	"imapsync/provider"
	mailsync "imapsync/sync"
)

// newJob is a job that keeps to the memory of opts.
func (a *app) newJob(ctx context.Context, store *db.Store, opts mailsync.Options) (*provider.Job, error) {
	j, err := a.service(store).NewJob(ctx, opts)
	if err == nil {
		boundMemory(opts.MaxInFlightBytes)
	}
	return j, err
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
