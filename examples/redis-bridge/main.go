// Redis-bridge adds each event to a Redis stream, for workflow engines that
// read one. Every event is added once, however often the broker delivers it.
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
	"github.com/redis/go-redis/v9"

	"imapsync/event"
)

func main() {
	var b bridge
	flag.StringVar(&b.stream, "stream", "inbound-email", "the Redis stream")
	flag.Int64Var(&b.maxLen, "max-len", 0, "about how many entries the stream keeps; 0 keeps all")
	flag.DurationVar(&b.remember, "remember", 15*24*time.Hour, "how long it is remembered that an event was added: longer than NATS keeps it")
	durable := flag.String("durable", "redis-bridge", "the name under which the broker remembers how far this bridge has read")
	ackWait := flag.Duration("ack-wait", 30*time.Second, "after this time the broker gives what was not acknowledged once more")
	once := flag.Bool("once", false, "end when nothing is left, rather than wait for more")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := b.run(ctx, event.SubscribeOptions{Durable: *durable, AckWait: *ackWait}, *once)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "redis-bridge:", err)
		os.Exit(1)
	}
}

// run carries events over until ctx ends, or nothing is left.
func (b *bridge) run(ctx context.Context, subscribe event.SubscribeOptions, once bool) error {
	options, err := redis.ParseURL(os.Getenv("REDIS_URL"))
	if err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	options.ContextTimeoutEnabled = true
	options.MaxRetries = -1 // add tries again itself, for as long as it takes
	b.redis = redis.NewClient(options)
	defer b.redis.Close()
	connect := []nats.Option{nats.Name("redis-bridge")}
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
	if once {
		subscribe.Idle = 2 * time.Second
	}
	sub, err := event.Subscribe(ctx, nc, subscribe)
	if err != nil {
		return err
	}
	for rec, err := range sub.Events(ctx) {
		if err == nil {
			if err = b.add(ctx, rec); err == nil {
				err = rec.Ack(ctx) // only now
			}
		} else if rec != nil { // one message that is no event: never again
			fmt.Fprintln(os.Stderr, "redis-bridge:", err)
			err = rec.Term("no event")
		}
		if ctx.Err() != nil {
			return nil // asked to end: what was not acknowledged comes again
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
