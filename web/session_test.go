package web

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions()
		ann := Principal{Name: "ann@example.com", Tenant: "t-1"}
		id := s.keep(ann)
		if p, ok := s.find(id); !ok || p != ann {
			t.Fatalf("%v, %v", p, ok)
		}
		time.Sleep(sessionIdle - time.Second)
		if _, ok := s.find(id); !ok {
			t.Error("ended before it was idle for long enough")
		}
		time.Sleep(sessionIdle)
		if _, ok := s.find(id); ok || len(s.byID) != 0 {
			t.Error("idle, and still there")
		}

		id = s.keep(ann)
		began := time.Now()
		for time.Since(began) < sessionAbsolute-time.Hour {
			time.Sleep(time.Hour)
			if _, ok := s.find(id); !ok {
				t.Fatalf("ended after %s", time.Since(began))
			}
		}
		time.Sleep(time.Hour)
		if _, ok := s.find(id); ok {
			t.Error("never idle, and it lives longer than a session may")
		}
	})
}

// However many sign in, the memory is bounded, and who was here last stays.
func TestSessionsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessions()
		first := s.keep(Principal{Name: "first"})
		time.Sleep(time.Second)
		second := s.keep(Principal{Name: "second"})
		time.Sleep(time.Second)
		s.find(first)
		for range maxSessions - 1 {
			s.keep(Principal{Name: "more"})
		}
		if len(s.byID) != maxSessions {
			t.Errorf("%d sessions", len(s.byID))
		}
		if _, ok := s.find(second); ok {
			t.Error("the idlest one did not give way")
		}
		if _, ok := s.find(first); !ok {
			t.Error("one that was in use gave way")
		}
		time.Sleep(sessionIdle)
		s.keep(Principal{Name: "last"})
		if len(s.byID) != 1 {
			t.Errorf("%d sessions, but all others are over", len(s.byID))
		}
	})
}
