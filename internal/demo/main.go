// Command demo shows imapsync at work on servers that it starts itself, on free
// ports of the loopback interface: PostgreSQL, NATS with JetStream, Dovecot. It
// calls the real binary as a person would, and ends with exit code 1 when
// anything is not as promised. `demo dev` leaves the servers running instead.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	context.AfterFunc(ctx, stop) // a second signal ends it at once; the servers end by themselves
	out := newPrinter(os.Stdout)
	var err error
	switch {
	case len(os.Args) == 1:
		_, err = demo(ctx, out)
	case len(os.Args) == 2 && os.Args[1] == "dev":
		err = dev(ctx, out)
	default:
		fmt.Fprintln(os.Stderr, "usage: demo [dev]")
		os.Exit(64)
	}
	switch {
	case err == nil:
	case ctx.Err() != nil: // Ctrl-C, whatever it broke off
		fmt.Fprintln(os.Stderr, "demo: ended; nothing is left behind")
		os.Exit(130)
	default:
		fmt.Fprintf(os.Stderr, "demo: %v\n", err)
		os.Exit(1)
	}
}
