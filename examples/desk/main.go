// Desk is a small ticket system that knows nothing but the events: it opens a
// ticket for each conversation and files every answer there. Copy it and put
// your own ticket system in the place of its journal.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"

	"imapsync/event"
)

func main() {
	dir := flag.String("dir", "desk-data", "where tickets and files are kept")
	durable := flag.String("durable", "desk", "the name under which the broker remembers how far this desk has read")
	once := flag.Bool("once", false, "end when nothing is left, rather than wait for more")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *dir, *durable, *once)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "desk:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, durable string, once bool) error {
	d, err := open(dir)
	if err != nil {
		return err
	}
	defer d.close()
	connect := []nats.Option{nats.Name("desk")}
	if creds := os.Getenv("NATS_CREDS"); creds != "" {
		connect = append(connect, nats.UserCredentials(creds))
	}
	if !once { // this process stays, and waits for a broker that is away
		connect = append(connect, nats.MaxReconnects(-1))
	}
	nc, err := nats.Connect(os.Getenv("NATS_URL"), connect...)
	if err != nil {
		return err
	}
	defer nc.Close()
	options := event.SubscribeOptions{Durable: durable}
	if once {
		options.Idle = 2 * time.Second
	}
	sub, err := event.Subscribe(ctx, nc, options)
	if err != nil {
		return err
	}
	for rec, err := range sub.Events(ctx) {
		if err == nil {
			err = d.take(ctx, sub, rec)
		} else if rec != nil { // one message that is no event: never again
			fmt.Fprintln(os.Stderr, "desk:", err)
			err = rec.Term("no event")
		}
		if err != nil {
			return err
		}
		if once && rec.Pending == 0 {
			break
		}
	}
	return nil
}

// take does the work of one event, and only then says so to the broker. When
// it dies in between, the event comes again, and is known by its id.
func (d *desk) take(ctx context.Context, sub *event.Subscription, rec *event.Received) error {
	if !d.done[rec.Event.ID] {
		files, err := d.keepFiles(ctx, sub, rec.Event)
		if err != nil {
			fmt.Fprintln(os.Stderr, "desk:", err)
			return rec.Nak(10 * time.Second) // then once more
		}
		line, err := d.file(rec.Event, files)
		if err != nil {
			return err
		}
		fmt.Println(line)
	}
	return rec.Ack(ctx)
}
