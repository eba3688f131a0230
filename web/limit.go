package web

import (
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// allowance is how many attempts may fail in a row, and how long one of them
// takes to be forgotten.
type allowance struct {
	burst int
	every time.Duration
}

// maxAddresses bounds what is kept. The overall limit keeps it far below: an
// address is forgotten after burst × every.
const maxAddresses = 4096

// limiter slows down who guesses. An attempt is taken before it is judged, so
// that many at once get no further, and given back when it was right.
type limiter struct {
	perAddress, overall allowance

	mu        sync.Mutex
	all       bucket
	addresses map[string]bucket
}

func newLimiter() *limiter {
	return &limiter{
		perAddress: allowance{burst: 5, every: 30 * time.Second},
		overall:    allowance{burst: 60, every: time.Second},
		addresses:  map[string]bucket{},
	}
}

// bucket keeps when the attempts so far are forgotten.
type bucket struct{ clear time.Time }

// wait is how long it takes until one more attempt is let through, if above zero.
func (b bucket) wait(a allowance, now time.Time) time.Duration {
	return max(0, b.clear.Sub(now)) - time.Duration(a.burst-1)*a.every
}

func (b bucket) taken(a allowance, now time.Time) bucket {
	if b.clear.Before(now) {
		b.clear = now
	}
	return bucket{b.clear.Add(a.every)}
}

// take counts an attempt. What it returns above zero is how long to wait.
func (l *limiter) take(address string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if wait := max(l.all.wait(l.overall, now), l.addresses[address].wait(l.perAddress, now)); wait > 0 {
		return wait
	}
	if len(l.addresses) >= maxAddresses {
		maps.DeleteFunc(l.addresses, func(_ string, b bucket) bool { return !b.clear.After(now) })
		if len(l.addresses) >= maxAddresses {
			return l.overall.every
		}
	}
	l.all = l.all.taken(l.overall, now)
	l.addresses[address] = l.addresses[address].taken(l.perAddress, now)
	return 0
}

// giveBack forgets an attempt that was right.
func (l *limiter) giveBack(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.clear = l.all.clear.Add(-l.overall.every)
	b := bucket{l.addresses[address].clear.Add(-l.perAddress.every)}
	if !b.clear.After(time.Now()) {
		delete(l.addresses, address)
		return
	}
	l.addresses[address] = b
}

// addressOf is whom an attempt is counted for: an IPv4 address or an IPv6 /64,
// which is what one household has. Behind a proxy it is the last entry of
// X-Forwarded-For, as the entries before it are the client's own words.
func addressOf(r *http.Request, behindProxy bool) string {
	text := r.RemoteAddr
	if list := r.Header.Values("X-Forwarded-For"); behindProxy && len(list) > 0 {
		last := list[len(list)-1]
		text = strings.TrimSpace(last[strings.LastIndex(last, ",")+1:])
	}
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		return "unknown"
	}
	address = address.Unmap().WithZone("")
	if address.Is6() {
		if prefix, err := address.Prefix(64); err == nil {
			return prefix.String()
		}
	}
	return address.String()
}
