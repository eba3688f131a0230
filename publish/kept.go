package publish

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"imapsync/event"
)

// StreamState is what a stream looks like. Two of one name that were not created at
// the same time are two streams.
type StreamState struct {
	Name     string
	Created  time.Time // by the broker's clock, in whole microseconds
	MaxAge   time.Duration
	Replicas int
	Last     uint64 // the highest sequence that was given out
	Taken    bool   // work queue or interest: what is not there may have been taken
}

func stateOf(info *jetstream.StreamInfo) StreamState {
	return StreamState{
		Name: info.Config.Name, Created: info.Created.UTC().Truncate(time.Microsecond), MaxAge: info.Config.MaxAge,
		Replicas: max(info.Config.Replicas, 1), Last: info.State.LastSeq, Taken: info.Config.Retention != jetstream.LimitsPolicy,
	}
}

// remember keeps what the stream looked like.
func (p *Publisher) remember(info *jetstream.StreamInfo) StreamState {
	p.seen.Lock()
	defer p.seen.Unlock()
	p.state, p.lookedAt = stateOf(info), p.nc.Stats().Reconnects
	return p.state
}

// reached notes that the stream has acknowledged a sequence.
func (p *Publisher) reached(seq uint64) {
	p.seen.Lock()
	p.state.Last = max(p.state.Last, seq)
	p.seen.Unlock()
}

// State tells what the stream looked like when it was last looked at, with what
// it has acknowledged to this process since. It is not fresh when the connection
// was made again meanwhile: the broker may have come back with less. It asks nobody.
func (p *Publisher) State() (state StreamState, fresh bool) {
	p.seen.Lock()
	defer p.seen.Unlock()
	return p.state, p.lookedAt == p.nc.Stats().Reconnects
}

// LookAgain asks the broker what the stream looks like. The error wraps ErrGone
// when it is not there any more.
func (p *Publisher) LookAgain(ctx context.Context) (StreamState, error) {
	reconnects := p.nc.Stats().Reconnects
	stream, err := openStream(ctx, p.js, event.StreamName)
	if err != nil {
		p.seen.Lock()
		p.lookedAt = math.MaxUint64 // it may come back as another one
		p.seen.Unlock()
		return StreamState{}, fmt.Errorf("stream %s: %w", event.StreamName, goneError(err))
	}
	state := p.remember(stream.CachedInfo())
	p.seen.Lock()
	p.lookedAt = min(p.lookedAt, reconnects) // it may have been an answer from before
	p.seen.Unlock()
	return state, nil
}

// goneError names the error of a question to a stream that was there before.
func goneError(err error) error {
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return streamError(err)
}

// goneOr tells why nothing listens on the subjects: the stream is gone, or has no
// leader just now. Where it is there and has other subjects, named is the error.
func (p *Publisher) goneOr(ctx context.Context, named error) error {
	stream, err := openStream(ctx, p.js, event.StreamName)
	switch {
	case err != nil:
		return fmt.Errorf("stream %s: %w", event.StreamName, goneError(err))
	case slices.Contains(stream.CachedInfo().Config.Subjects, event.Subjects):
		return fmt.Errorf("stream %s has no leader: %w", event.StreamName, event.ErrTimeout)
	}
	return named
}

// heardWithin is how lately a leader has heard of those that follow it. They elect
// another after four seconds at the least.
const heardWithin = 3 * time.Second

// Agreed asks what the stream looks like, and reports whether most of the servers that
// have it agree. One of several that was frozen, or is cut off from the others, goes on
// to answer for a while from what it had before.
func (p *Publisher) Agreed(ctx context.Context) (state StreamState, agreed bool, err error) {
	stream, err := openStream(ctx, p.js, event.StreamName)
	if err != nil {
		return state, false, fmt.Errorf("stream %s: %w", event.StreamName, goneError(err))
	}
	info := stream.CachedInfo()
	if info.Cluster == nil || len(info.Cluster.Replicas) == 0 {
		return p.remember(info), true, nil
	}
	current := 1 // the leader
	for _, follower := range info.Cluster.Replicas {
		if follower.Current && !follower.Offline && follower.Active < heardWithin {
			current++
		}
	}
	if current <= (len(info.Cluster.Replicas)+1)/2 {
		return state, false, nil
	}
	return p.remember(info), true, nil
}

// Place is what the stream has at a sequence at which it acknowledged an event.
type Place int

// The places of an event.
const (
	PlaceHeld   Place = iota // the event
	PlaceEmpty               // nothing, though the stream goes further: it expired, was purged or taken
	PlaceOther               // another event
	PlaceBeyond              // nothing: the stream ends before
)

// Acknowledged is an event of a provider and the sequence that the stream gave it.
type Acknowledged struct {
	Key string
	Seq uint64
}

// lookAtOnce is how many questions about single messages are on their way at a time.
const lookAtOnce = 20

// Places looks up what the stream has where it acknowledged events of a provider.
// It costs a question an event. Errors wrap ErrStream, ErrUnreachable or ctx's.
func (p *Publisher) Places(ctx context.Context, state StreamState, tenant, provider string, events []Acknowledged) ([]Place, error) {
	places := make([]Place, len(events))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookAtOnce)
	for i, e := range events {
		if e.Seq > state.Last {
			places[i] = PlaceBeyond
			continue
		}
		g.Go(func() error {
			m, err := ask(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) { return p.stream.GetMsg(ctx, e.Seq) })
			switch {
			case errors.Is(err, jetstream.ErrMsgNotFound):
				places[i] = PlaceEmpty
			case err != nil:
				return fmt.Errorf("stream %s: message %d: %w", event.StreamName, e.Seq, streamError(err))
			case m.Subject != event.Subject(tenant, provider, e.Key):
				places[i] = PlaceOther
			}
			return nil
		})
	}
	return places, g.Wait()
}

// Held reports of each key whether the stream has the event, wherever it stands. It
// costs a question a key.
func (p *Publisher) Held(ctx context.Context, tenant, provider string, keys []string) ([]bool, error) {
	held := make([]bool, len(keys))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(lookAtOnce)
	for i, key := range keys {
		g.Go(func() error {
			_, err := lastOn(ctx, p.stream, event.Subject(tenant, provider, key))
			if held[i] = err == nil; err == nil || errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil
			}
			return fmt.Errorf("stream %s: event %s: %w", event.StreamName, key, streamError(err))
		})
	}
	return held, g.Wait()
}

// StoredEvent is an event as the stream has it.
type StoredEvent struct {
	Acknowledged

	Blobs []*event.Blob // that it names
}

// Stored visits the events of a provider that the stream has from a sequence on,
// the oldest first. It reads each of them. An event that cannot be read has no
// blobs.
func (p *Publisher) Stored(ctx context.Context, tenant, provider string, from uint64, visit func(StoredEvent) error) error {
	filter := event.Subject(tenant, provider, "*")
	for {
		m, err := ask(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
			return p.stream.GetMsg(ctx, from, jetstream.WithGetMsgSubject(filter))
		})
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("stream %s: messages from %d: %w", event.StreamName, from, streamError(err))
		}
		found := StoredEvent{Acknowledged: Acknowledged{strings.TrimPrefix(m.Subject, strings.TrimSuffix(filter, "*")), m.Sequence}}
		var ev event.Event
		if json.Unmarshal(m.Data, &ev) == nil {
			found.Blobs = blobsOf(&ev.Payload.EmailData)
		}
		if err := visit(found); err != nil {
			return err
		}
		from = m.Sequence + 1
	}
}

// blobsOf lists the blobs that an event names.
func blobsOf(data *event.EmailData) (blobs []*event.Blob) {
	for _, a := range data.Attachments {
		blobs = append(blobs, a.Blob)
	}
	blobs = append(blobs, data.Body.TextBlob, data.Body.HTMLBlob)
	if data.RawMIME != nil {
		blobs = append(blobs, &data.RawMIME.Blob)
	}
	named := blobs[:0]
	for _, b := range blobs {
		if b != nil {
			named = append(named, b)
		}
	}
	return named
}
