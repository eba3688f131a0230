package publish

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"

	"imapsync/event"
	"imapsync/internal/devenv"
)

// What the stream has where it acknowledged an event tells a lost end from what
// expired, was deleted or purged.
func TestPlaces(t *testing.T) {
	n := devenv.TestNATSServer(t)
	p := newPublisher(t, connect(t, n), PublisherOptions{})
	var asked []Acknowledged
	for i := range 3 {
		m := numbered(i, p.Limits())
		asked = append(asked, Acknowledged{m.Key, publish(t, p, m).Seq})
	}
	asked = append(asked, Acknowledged{asked[0].Key, 2}, Acknowledged{asked[0].Key, 4})
	if err := p.stream.DeleteMsg(testContext(t), 3); err != nil {
		t.Fatal(err)
	}
	state, fresh := p.State()
	if !fresh || state.Last != 3 {
		t.Errorf("%+v, fresh %v, want the sequences that were acknowledged", state, fresh)
	}
	got, err := p.Places(testContext(t), state, testTenant, testProvider, asked)
	if diff := cmp.Diff([]Place{PlaceHeld, PlaceHeld, PlaceEmpty, PlaceOther, PlaceBeyond}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	held, err := p.Held(testContext(t), testTenant, testProvider, []string{asked[1].Key, asked[2].Key})
	if diff := cmp.Diff([]bool{true, false}, held); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	var stored []Acknowledged
	err = p.Stored(testContext(t), testTenant, testProvider, 2, func(e StoredEvent) error {
		stored = append(stored, e.Acknowledged)
		return nil
	})
	if diff := cmp.Diff(asked[1:2], stored); diff != "" || err != nil {
		t.Errorf("stored from 2 on: %v (-want +got):\n%s", err, diff)
	}
}

// Where nobody answers for a stream or a bucket, as while its servers elect a leader, the
// broker has JetStream all the same: it is asked again.
func TestNobodyAnswersForTheStream(t *testing.T) {
	n := devenv.TestNATSServer(t)
	p := newPublisher(t, connect(t, n), PublisherOptions{})
	b := openBlobs(t, p.nc)
	deleteStream(t, p.js)
	if err := p.js.DeleteObjectStore(testContext(t), event.DefaultBucket); err != nil {
		t.Fatal(err)
	}
	_, places := p.Places(testContext(t), StreamState{Last: 1}, testTenant, testProvider, []Acknowledged{{"k", 1}})
	_, held := p.Held(testContext(t), testTenant, testProvider, []string{"k"})
	for name, err := range map[string]error{
		"places": places, "held": held,
		"stored": p.Stored(testContext(t), testTenant, testProvider, 1, nil),
		"blob":   b.Check(testContext(t), &event.Blob{Key: "k"}),
	} {
		if !errors.Is(err, nats.ErrNoResponders) || !errors.Is(err, event.ErrTimeout) || errors.Is(err, event.ErrNoJetStream) {
			t.Errorf("%s: %v, want no answer and ErrTimeout", name, err)
		}
	}
}

// A connection that was made again may lead to a broker that has less: what is known of
// the stream is not fresh until it is asked. Nor is it when the stream is gone.
func TestStateIsFreshOverOneConnection(t *testing.T) {
	n := devenv.TestNATSServer(t)
	p := newPublisher(t, connect(t, n), PublisherOptions{})
	before, _ := p.State()
	if err := errors.Join(n.Stop(), n.Start(testContext(t))); err != nil {
		t.Fatal(err)
	}
	for p.nc.Stats().Reconnects == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	if _, fresh := p.State(); fresh {
		t.Error("fresh over another connection")
	}
	again, err := p.LookAgain(testContext(t))
	if _, fresh := p.State(); err != nil || !fresh || !again.Created.Equal(before.Created) {
		t.Errorf("%+v, %v, fresh %v, want the stream of before, %+v", again, err, fresh, before)
	}
	deleteStream(t, p.js)
	if _, err := p.LookAgain(testContext(t)); !errors.Is(err, ErrGone) || !errors.Is(err, event.ErrStream) {
		t.Errorf("%v, want ErrGone", err)
	}
	if _, fresh := p.State(); fresh {
		t.Error("fresh though it is gone")
	}
	p.grace = time.Millisecond
	if _, err := tryPublish(testContext(t), p, numbered(1, p.Limits())); !errors.Is(err, ErrGone) {
		t.Errorf("publish: %v, want ErrGone", err)
	}
}
