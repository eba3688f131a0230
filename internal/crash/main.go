// Command crash kills imapsync, its broker and its database with kill -9, again
// and again while mail keeps coming, and then counts: every mail must be on the
// stream exactly once, the ledger must say the same, and reconcile must find
// nothing missing. Everything runs on servers of its own, on the loopback
// interface, and nothing is left behind.
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
	if len(os.Args) == 4 && os.Args[1] == brokerCommand {
		os.Exit(brokerMain(os.Args[2], os.Args[3]))
	}
	o := options{out: os.Stdout}
	flag.IntVar(&o.rounds, "rounds", 50, "how often something is killed, 1 to 1000")
	flag.Uint64Var(&o.seed, "seed", rand.Uint64N(1_000_000), "of the random choices, to repeat a run")
	flag.Parse()
	if flag.NArg() > 0 || o.rounds < 1 || o.rounds > 1000 {
		fmt.Fprintln(os.Stderr, "usage: crash [-rounds 1…1000] [-seed N]")
		os.Exit(64)
	}
	o.limit = 2*time.Minute + time.Duration(o.rounds)*5*time.Second
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
