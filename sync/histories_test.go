package sync

import (
	"context"
	"database/sql"
	"flag"
	"fmt"
	"log/slog"
	gosync "sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
)

var (
	histories   = flag.Int("histories", 200, "how many histories TestHistories plays")
	oneHistory  = flag.Uint64("history", 0, "play the history of this seed alone, and tell its story")
	firstSeed   = flag.Uint64("first-history", 1, "the seed of the first history")
	historyLong = flag.Bool("history-stories", false, "tell the story of every history")
)

// historyWorkers is how many histories are played at a time: a pass waits for the
// database, the broker and the server most of the time.
const historyWorkers = 4

// TestHistories plays histories: mail comes, moves and goes, passes are made and
// killed, settings change, and a server lies in any way that servers have been seen to
// and then behaves. Within the passes that docs/quirks.md names, all mail that is on
// the server is on the stream once, and none of it waits for a person. A history is its
// seed: one that fails prints it, with the story, and -history plays it again.
func TestHistories(t *testing.T) {
	office := newPostOffice(t)
	if *oneHistory != 0 {
		newHistory(t, office, *oneHistory).play()
		return
	}
	var wg gosync.WaitGroup
	var mu gosync.Mutex
	worst := ending{}
	slots := make(chan struct{}, historyWorkers)
	for i := range *histories {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			seed := *firstSeed + uint64(i)
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				end := newHistory(t, office, seed).play()
				mu.Lock()
				defer mu.Unlock()
				worst.passes, worst.took = max(worst.passes, end.passes), max(worst.took, end.took)
			})
		})
	}
	wg.Wait()
	t.Logf("%d histories; once the server behaved, at most %d passes in %s", *histories, worst.passes, worst.took)
}

// postOffice is what all histories share: the database, the broker, and who reads the
// stream.
type postOffice struct {
	*testEnv
	stream jetstream.Stream
	sql    *sql.DB

	mu       gosync.Mutex
	grew     *gosync.Cond
	seq      uint64
	arrivals map[string][]arrival // by provider
}

// arrival is an event as a reader sees it.
type arrival struct {
	token string // X-Token of the mail
	text  string
}

func newPostOffice(t *testing.T) *postOffice {
	t.Helper()
	o := &postOffice{testEnv: newEnv(t), arrivals: map[string][]arrival{}}
	o.grew = gosync.NewCond(&o.mu)
	var err error
	o.sql, err = sql.Open("postgres", o.dbURL)
	must(t, err)
	t.Cleanup(func() { o.sql.Close() })
	js, err := jetstream.New(o.nc)
	must(t, err)
	o.stream, err = js.Stream(t.Context(), event.StreamName)
	must(t, err)
	sub, err := event.Subscribe(t.Context(), o.nc, event.SubscribeOptions{})
	must(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan struct{})
	go func() {
		defer close(done)
		for rec, err := range sub.Events(ctx) {
			if err != nil {
				break // the test is over, or its broker
			}
			o.receive(rec)
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return o
}

func (o *postOffice) receive(rec *event.Received) {
	mail := rec.Event.Payload.EmailData
	a := arrival{token: mail.Headers["x-token"], text: plainText(mail.Body.Text)}
	o.mu.Lock()
	defer o.mu.Unlock()
	id := rec.Event.Payload.ProviderID
	o.arrivals[id] = append(o.arrivals[id], a)
	o.seq = rec.Seq
	o.grew.Broadcast()
}

// of are the events of a provider that are on the stream by now.
func (o *postOffice) of(ctx context.Context, providerID string) ([]arrival, error) {
	info, err := o.stream.Info(ctx)
	if err != nil {
		return nil, err
	}
	late := time.AfterFunc(patience, o.grew.Broadcast)
	defer late.Stop()
	deadline := time.Now().Add(patience)
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.seq < info.State.LastSeq {
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("read up to %d of %d events", o.seq, info.State.LastSeq)
		}
		o.grew.Wait()
	}
	return o.arrivals[providerID], nil
}

// quiet is the log of a history, unless one alone is played.
func quiet(t *testing.T) *slog.Logger {
	if *oneHistory == 0 {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
