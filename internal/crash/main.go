// Command crash does to imapsync and its servers, again and again while mail keeps
// coming, what happens to them in the field: runs of every kind are killed or frozen,
// the database is killed or its standby promoted, one of three brokers is killed,
// frozen or cut off, the IMAP server restarts and numbers a folder anew, connections
// are dropped, settings change. Then it counts: every mail must be on the stream
// exactly once, with its files, the ledger must say the same, reconcile and verify must
// find nothing missing, and nothing may wait for a person. Everything runs on servers of
// its own, on the loopback interface, and nothing is left behind.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) == brokerArgs && os.Args[1] == brokerCommand {
		os.Exit(brokerMain(os.Args))
	}
	o := options{out: os.Stdout}
	flag.IntVar(&o.rounds, "rounds", 50, "how often something is done to them, 1 to 1000")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64N(1_000_000), "of the random choices, to repeat a run")
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.rounds > 1000 {
		fmt.Fprintln(os.Stderr, "usage: crash [-rounds 1…1000] [-seed N]")
		os.Exit(64)
	}
	o.limit = 3*time.Minute + time.Duration(o.rounds)*8*time.Second
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends it at once; the servers end by themselves
	rep, err := crash(ctx, o)
	rep.print(os.Stdout)
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "crash: ended; nothing is left behind")
		os.Exit(130)
	case err != nil:
		fmt.Fprintf(os.Stderr, "crash: %v\n", err)
		os.Exit(1)
	}
}
