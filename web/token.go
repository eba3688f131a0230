package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"imapsync/secret"
)

// minToken is the shortest token that is taken, in bytes: nobody is to choose
// one that can be guessed.
const minToken = 20

// readToken reads the token that signs people and scripts in from a file that
// others cannot read. An error is a *secret.FileError.
func readToken(path string) (secret.Value, error) {
	token, err := secret.ReadFile(path)
	if err != nil {
		return secret.Value{}, err
	}
	if text := token.Reveal(); len(text) < minToken || strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return secret.Value{}, &secret.FileError{Path: path,
			Err: fmt.Errorf("a token is %d characters or more, without blanks: make one with `openssl rand -hex 32`", minToken)}
	}
	return token, nil
}

// verifier compares with a token, of which it keeps the hash only.
type verifier struct {
	hash [sha256.Size]byte
	set  bool
}

func newVerifier(token string) verifier { return verifier{hashOf(token), token != ""} }

// is compares in a time that does not depend on what was guessed.
func (v verifier) is(token string) bool {
	hash := hashOf(token)
	return v.set && subtle.ConstantTimeCompare(hash[:], v.hash[:]) == 1
}

// bearer is the token of an Authorization header (RFC 6750 section 2.1).
func bearer(r *http.Request) (token string, given bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(token), strings.EqualFold(scheme, "Bearer")
}

const linkLasts = 15 * time.Minute

// Why a one-time link signs nobody in.
var (
	errLinkWrong   = errors.New("this link is not the one that was printed last")
	errLinkUsed    = errors.New("this link was used before, and works once")
	errLinkExpired = errors.New("this link was printed more than 15 minutes ago, and has expired")
)

// link is the one-time link that was made last.
type link struct {
	mu      sync.Mutex
	token   verifier
	expires time.Time
	used    bool
}

// renew makes a new token; one made before ends.
func (l *link) renew() (token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	token = randomToken()
	l.token, l.expires, l.used = newVerifier(token), time.Now().Add(linkLasts), false
	return token
}

func (l *link) exists() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token.set
}

func (l *link) use(token string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !l.token.is(token):
		return errLinkWrong
	case l.used:
		return errLinkUsed
	case !time.Now().Before(l.expires):
		return errLinkExpired
	}
	l.used = true
	return nil
}

// maxAddresses bounds what is kept. The overall limit keeps it far below: an
// address is forgotten after burst × every.
const maxAddresses = 4096

// limiter slows down who guesses. An attempt is taken before it is judged, so
// that many at once get no further, and given back when it was right.
type limiter struct {
	perAddress, overall allowance

	mu        sync.Mutex
	all       time.Time // when the attempts so far are forgotten
	addresses map[string]time.Time
}

func newLimiter() *limiter {
	return &limiter{
		perAddress: allowance{burst: 5, every: 30 * time.Second}, overall: allowance{burst: 60, every: time.Second},
		addresses: map[string]time.Time{},
	}
}

// allowance is how many attempts may fail in a row, and how long one of them
// takes to be forgotten.
type allowance struct {
	burst int
	every time.Duration
}

// wait is how long it takes until one more attempt is let through, if above zero.
func (a allowance) wait(forgotten, now time.Time) time.Duration {
	return max(0, forgotten.Sub(now)) - time.Duration(a.burst-1)*a.every
}

func (a allowance) take(forgotten, now time.Time) time.Time {
	return now.Add(max(0, forgotten.Sub(now)) + a.every)
}

// take counts an attempt. What it returns above zero is how long to wait.
func (l *limiter) take(address string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if wait := max(l.overall.wait(l.all, now), l.perAddress.wait(l.addresses[address], now)); wait > 0 {
		return wait
	}
	if len(l.addresses) >= maxAddresses {
		maps.DeleteFunc(l.addresses, func(_ string, forgotten time.Time) bool { return !forgotten.After(now) })
		if len(l.addresses) >= maxAddresses {
			return l.overall.every
		}
	}
	l.all, l.addresses[address] = l.overall.take(l.all, now), l.perAddress.take(l.addresses[address], now)
	return 0
}

func (l *limiter) giveBack(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = l.all.Add(-l.overall.every)
	if l.addresses[address] = l.addresses[address].Add(-l.perAddress.every); !l.addresses[address].After(time.Now()) {
		delete(l.addresses, address)
	}
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
