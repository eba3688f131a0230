package web

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter()
		for n := range 5 {
			if wait := l.take("a"); wait > 0 {
				t.Fatalf("attempt %d: wait %s", n, wait)
			}
		}
		if wait := l.take("a"); wait != 30*time.Second {
			t.Errorf("wait %s", wait)
		}
		if wait := l.take("b"); wait > 0 {
			t.Errorf("another address waits %s", wait)
		}
		time.Sleep(30 * time.Second)
		if wait := l.take("a"); wait > 0 {
			t.Errorf("after half a minute: wait %s", wait)
		}
		if wait := l.take("a"); wait <= 0 {
			t.Error("a second one after half a minute")
		}
		time.Sleep(time.Hour)
		for range 100 {
			if wait := l.take("a"); wait > 0 {
				t.Fatalf("given back each time, and still: wait %s", wait)
			}
			l.giveBack("a")
		}
		if len(l.addresses) != 1 { // b
			t.Errorf("%d addresses are kept", len(l.addresses))
		}
	})
}

// From however many addresses, guesses are few and so is what is kept of them.
func TestLimiterOverall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter()
		var through int
		for second := range 3 * 3600 {
			for n := range 4 {
				if l.take(fmt.Sprintf("%d-%d", second, n)) <= 0 {
					through++
				}
			}
			time.Sleep(time.Second)
		}
		if through > 3*3600+60 {
			t.Errorf("%d guesses in three hours", through)
		}
		if len(l.addresses) > maxAddresses {
			t.Errorf("%d addresses are kept", len(l.addresses))
		}
	})
}

// Many at once get no further than one after another.
func TestLimiterAtOnce(t *testing.T) {
	l := newLimiter()
	var mu sync.Mutex
	var group sync.WaitGroup
	through := 0
	for range 50 {
		group.Go(func() {
			if l.take("a") <= 0 {
				mu.Lock()
				through++
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if through != 5 {
		t.Errorf("%d of 50 came through", through)
	}
}

func TestAddressOf(t *testing.T) {
	for _, tt := range []struct {
		remote    string
		forwarded []string
		proxy     bool
		want      string
	}{
		{"192.0.2.1:4711", nil, false, "192.0.2.1"},
		{"192.0.2.1:4711", []string{"198.51.100.7"}, false, "192.0.2.1"},
		{"10.0.0.1:4711", []string{"203.0.113.9, 198.51.100.7"}, true, "198.51.100.7"},
		{"10.0.0.1:4711", []string{"203.0.113.9", "198.51.100.7"}, true, "198.51.100.7"},
		{"10.0.0.1:4711", []string{"203.0.113.9, [2001:db8::1]:443"}, true, "2001:db8::/64"},
		{"10.0.0.1:4711", nil, true, "10.0.0.1"},
		{"10.0.0.1:4711", []string{"nonsense"}, true, "unknown"},
		{"[2001:db8:1:2:3:4:5:6]:4711", nil, false, "2001:db8:1:2::/64"},
		{"[::ffff:192.0.2.1]:4711", nil, false, "192.0.2.1"},
		{"[fe80::1%eth0]:4711", nil, false, "fe80::/64"},
	} {
		r := &http.Request{RemoteAddr: tt.remote, Header: http.Header{"X-Forwarded-For": tt.forwarded}}
		if got := addressOf(r, tt.proxy); got != tt.want {
			t.Errorf("%s %q: %s, want %s", tt.remote, tt.forwarded, got, tt.want)
		}
	}
}
