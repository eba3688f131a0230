package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"

	"imapsync/event"
	"imapsync/internal/devenv"
	"imapsync/internal/mailroom"
)

// ground is the bridge between a broker and a Redis of the test's own.
type ground struct {
	*testing.T
	room   *mailroom.Room
	redis  *devenv.Redis
	client *redis.Client
	binary string
}

func newGround(t *testing.T) *ground {
	g := &ground{T: t, redis: devenv.TestRedis(t), room: mailroom.Open(t), binary: filepath.Join(t.TempDir(), "bridge")}
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", g.binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	options, err := redis.ParseURL(g.redis.URL())
	g.must(err)
	g.client = redis.NewClient(options)
	t.Cleanup(func() { g.client.Close() })
	return g
}

func (g *ground) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

// transcript is what a bridge says, read while it runs.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// bridge is a bridge, not yet started.
func (g *ground) bridge(args ...string) (*exec.Cmd, *transcript) {
	cmd := exec.CommandContext(g.Context(), g.binary, args...)
	cmd.Env = append(os.Environ(), "NATS_URL="+g.room.URL, "REDIS_URL="+g.redis.URL())
	said := &transcript{}
	cmd.Stderr = said
	return cmd, said
}

// entries are those of the Redis stream, which must be as many different ones.
func (g *ground) entries(want int) []redis.XMessage {
	g.Helper()
	list, err := g.client.XRange(g.Context(), "inbound-email", "-", "+").Result()
	g.must(err)
	ids := map[any]bool{}
	for _, e := range list {
		ids[e.Values["id"]] = true
	}
	if len(list) != want || len(ids) != want {
		g.Errorf("%d entries, %d different ones, want %d", len(list), len(ids), want)
	}
	return list
}

func TestEntries(t *testing.T) {
	g := newGround(t)
	want := g.room.Post("lamp-1", "lamp-3", "html-only")
	run := func() {
		t.Helper()
		cmd, said := g.bridge("-once")
		if err := cmd.Run(); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
	}
	run()
	for i, e := range g.entries(3) {
		var ev event.Event
		g.must(json.Unmarshal([]byte(e.Values["event"].(string)), &ev))
		mail := want[i].Payload.EmailData
		got := fmt.Sprint(e.Values["id"], e.Values["key"], e.Values["from"], e.Values["subject"], ev.ID, ev.Payload.EmailData.Body.Text)
		if want := fmt.Sprint(want[i].ID, want[i].Key, mail.From.Email, mail.Subject, want[i].ID, mail.Body.Text); got != want {
			t.Errorf("entry %d is %s, want %s", i, got, want)
		}
	}
	// The broker forgets how far the bridge was, and gives all of it again.
	js, err := jetstream.New(g.room.Conn)
	g.must(err)
	g.must(js.DeleteConsumer(t.Context(), event.StreamName, "redis-bridge"))
	g.room.Post("order-1")
	run()
	g.entries(4)
}

// Both the bridge and Redis are killed while events are on their way.
func TestKilled(t *testing.T) {
	g := newGround(t)
	const mails = 150
	put := func(from, to int) {
		for i := from; i < to; i++ {
			g.room.Put(fmt.Appendf(nil, "From: ann@example.org\r\nMessage-ID: <%d@example.org>\r\nSubject: mail %d\r\n\r\nText.\r\n", i, i))
		}
	}
	put(0, mails-10)
	awaitEntries := func(n int64) {
		t.Helper()
		for deadline := time.Now().Add(2 * time.Minute); g.client.XLen(t.Context(), "inbound-email").Val() < n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("fewer than %d entries after two minutes", n)
			}
		}
	}
	for round := range int64(3) {
		cmd, _ := g.bridge("-ack-wait", "1s")
		g.must(cmd.Start())
		awaitEntries(round*20 + 10)
		g.must(cmd.Process.Kill())
		_ = cmd.Wait() // killed
	}
	cmd, said := g.bridge("-ack-wait", "1s")
	g.must(cmd.Start())
	awaitEntries(80)
	g.must(g.redis.Kill())
	put(mails-10, mails)
	for deadline := time.Now().Add(2 * time.Minute); !strings.Contains(said.String(), "redis-bridge: redis:"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not say that Redis was away: %q", said)
		}
	}
	g.must(g.redis.Start(t.Context()))
	awaitEntries(mails)
	g.must(cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, said)
	}
	g.entries(mails)
}

// What Redis refuses is for a person, and nothing is acknowledged.
func TestRefused(t *testing.T) {
	g := newGround(t)
	g.room.Post("lamp-1")
	g.must(g.client.Set(t.Context(), "inbound-email", "no stream", 0).Err())
	cmd, said := g.bridge("-once")
	if err := cmd.Run(); err == nil || !strings.Contains(said.String(), "WRONGTYPE") {
		t.Errorf("%v: %q", err, said)
	}
	g.must(g.client.Del(t.Context(), "inbound-email").Err())
	js, err := jetstream.New(g.room.Conn)
	g.must(err)
	consumer, err := js.Consumer(t.Context(), event.StreamName, "redis-bridge")
	g.must(err)
	if n := consumer.CachedInfo().AckFloor.Stream; n != 0 {
		t.Errorf("acknowledged up to %d", n)
	}
}
