package db

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// What is lost of a provider is marked once, is settled behind the fence, and is a
// person's business once it was.
func TestLostEvents(t *testing.T) {
	store := testStore(t)
	p := addProvider(t, store, "support")
	lock, _ := take(t, testLocks(t, store), p.ID)
	at := now().Truncate(time.Millisecond)
	publish := func(uid uint32, key string, seq uint64, at time.Time) {
		t.Helper()
		_, err := store.Commit(t.Context(), lock.Fence, Commit{State: &FolderState{Folder: "INBOX", UIDValidity: 1}, At: at,
			Messages: []Message{{UID: uid, EventKey: key, Outcome: Published, StreamSeq: seq}}})
		if err != nil {
			t.Fatal(err)
		}
	}
	lost := func() Lost {
		t.Helper()
		stored, err := store.Provider(t.Context(), p.Ref())
		if err != nil {
			t.Fatal(err)
		}
		return stored.Lost
	}
	publish(1, "a", 7, at)
	publish(2, "b", 8, at.Add(time.Second))
	publish(3, "c", 9, at.Add(2*time.Second))
	if stored, err := store.Provider(t.Context(), p.Ref()); err != nil || stored.StreamSeq != 9 {
		t.Errorf("the last sequence is %d, %v, want 9", stored.StreamSeq, err)
	}
	last, err := store.LastEvents(t.Context(), p.Ref(), at, at, at.Add(2*time.Second), 20)
	if err != nil || len(last) != 1 || last[0].EventKey != "b" {
		t.Errorf("between the first and the last: %+v, %v, want b", last, err)
	}

	spans, err := store.PublishedSpans(t.Context(), at, at.Add(time.Minute), 7)
	if err != nil || len(spans) != 1 || spans[0].Events != 2 || !spans[0].First.Equal(at.Add(time.Second)) || !spans[0].Last.Equal(at.Add(2*time.Second)) {
		t.Fatalf("%+v, %v, want the last two events", spans, err)
	}
	audit := Audit{Tenant: p.Tenant, ProviderID: p.ID, At: at, Actor: "test", Action: "events_lost"}
	found := at.Add(3 * time.Second)
	for range 2 { // by two processes
		if err := store.MarkLost(t.Context(), spans[0], LostHeal, found, audit); err != nil {
			t.Fatal(err)
		}
	}
	want := Lost{LostState: LostHeal, LostSince: &spans[0].First, LostUntil: &found, LostEvents: 2}
	same := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
	if diff := cmp.Diff(want, lost(), same); diff != "" {
		t.Errorf("marked (-want +got):\n%s", diff)
	}

	if err := store.PublishAgain(t.Context(), lock.Fence, []PublishedEvent{{EventKey: "b", StreamSeq: 21}}, 5, found.Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	events, err := store.PublishedEvents(t.Context(), p.Ref(), found)
	if err != nil || len(events) != 1 || events[0].EventKey != "b" || events[0].StreamSeq != 21 {
		t.Errorf("%+v, %v, want b at 21", events, err)
	}
	if got := lost(); got.Republished != 1 {
		t.Errorf("%+v, want 1 published again", got)
	}
	places, err := store.EventPlaces(t.Context(), p.Ref(), []string{"b", "c", "none"})
	if err != nil || len(places) != 2 || places[0].UID != 2 || places[1].UID != 3 {
		t.Errorf("%+v, %v, want uids 2 and 3", places, err)
	}

	// A person decides about what a person was asked for, whatever is lost besides.
	missing := spans[0]
	missing.Last = found.Add(time.Minute)
	for _, state := range []LostState{LostMissing, LostHeal} {
		if err := store.MarkLost(t.Context(), missing, state, missing.Last, audit); err != nil {
			t.Fatal(err)
		}
		missing.Last = missing.Last.Add(time.Minute)
	}
	if got := lost(); got.LostState != LostMissing || got.LostEvents != 6 {
		t.Errorf("%+v, want 6 missing", got)
	}
	// What is missing is not lost once more; what came since may be.
	publish(4, "d", 22, at.Add(10*time.Minute))
	spans, err = store.UnmarkedSpans(t.Context(), at, at.Add(time.Hour), 0)
	if err != nil || len(spans) != 1 || spans[0].Events != 2 || !spans[0].First.Equal(at) || !spans[0].Last.Equal(at.Add(10*time.Minute)) {
		t.Errorf("%+v, %v, want the event before the loss and the one after", spans, err)
	}
	if err := store.SettleLost(t.Context(), p.Ref(), 1, audit); err != nil {
		t.Fatal(err)
	}
	if got := lost(); got.LostState != LostMissing || got.LostEvents != 1 {
		t.Errorf("%+v, want 1 missing", got)
	}
	if err := store.SettleLost(t.Context(), p.Ref(), 0, audit); err != nil {
		t.Fatal(err)
	}
	if got := lost(); got.LostState != LostNone || got.LostEvents != 0 || got.LostSince != nil {
		t.Errorf("%+v, want nothing lost", got)
	}
}

// A stream is known by its name and when it was created.
func TestSeenStreams(t *testing.T) {
	store := testStore(t)
	first := SeenStream{Name: "S", CreatedAt: now(), Since: now(), MaxAgeMS: 1000, Replicas: 1}
	second := first
	second.CreatedAt, second.Since = first.CreatedAt.Add(time.Hour), first.Since.Add(time.Hour)
	for _, s := range []SeenStream{first, second, second} {
		s.Replicas++
		if err := store.SeeStream(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	got, err := store.SeenStreams(t.Context(), "S")
	if err != nil || len(got) != 2 || !got[0].CreatedAt.Equal(second.CreatedAt.Truncate(time.Microsecond)) || got[0].Replicas != 2 || got[0].MaxAge() != time.Second {
		t.Errorf("%+v, %v, want the second before the first", got, err)
	}
}
