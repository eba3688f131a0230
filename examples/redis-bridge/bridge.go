package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"

	"imapsync/event"
)

// bridge adds events to a Redis stream.
type bridge struct {
	redis    *redis.Client
	stream   string
	maxLen   int64
	remember time.Duration
}

// addOnce adds an event unless it is there, as one step: no crash can come
// between the entry and what remembers it. The entry goes first, since a script
// that fails is not taken back: without memory left, neither is there.
const addOnce = `
if redis.call('EXISTS', KEYS[2]) == 1 then
	return false
end
local add = {'XADD', KEYS[1]}
if tonumber(ARGV[2]) > 0 then
	for _, word in ipairs({'MAXLEN', '~', ARGV[2]}) do add[#add+1] = word end
end
add[#add+1] = '*'
for i = 3, #ARGV do add[#add+1] = ARGV[i] end
local id = redis.call(unpack(add))
redis.call('SET', KEYS[2], id, 'PX', ARGV[1])
return id
`

// add adds an event. While Redis is away it tries again, which keeps the
// order; the broker delivers meanwhile what it takes for lost, and that is
// found to be there.
func (b *bridge) add(ctx context.Context, rec *event.Received) error {
	mail := &rec.Event.Payload.EmailData
	// The braces have both keys live on one node of a Redis Cluster.
	keys := []string{b.stream, "{" + b.stream + "}:added:" + rec.Event.ID}
	args := []any{
		b.remember.Milliseconds(), b.maxLen,
		"id", rec.Event.ID,
		"tenant", rec.Event.Payload.Tenant,
		"provider", rec.Event.Payload.ProviderID,
		"key", rec.Event.Key,
		"from", mail.From.Email,
		"subject", mail.Subject,
		"event", rec.Data,
	}
	script := redis.NewScript(addOnce)
	for {
		err := script.Run(ctx, b.redis, keys, args...).Err()
		if err == nil || err == redis.Nil { //nolint:errorlint // Nil is never wrapped; it says that the event is there
			return nil
		}
		if _, answered := err.(redis.Error); answered { //nolint:errorlint // as Redis sent it
			return fmt.Errorf("redis: %w", err) // a stream that is none, no memory: for a person
		}
		fmt.Fprintln(os.Stderr, "redis-bridge: redis:", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}
