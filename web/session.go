package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"sync"
	"time"
)

// How long a session lasts, and how many there are.
const (
	sessionIdle     = 2 * time.Hour  // without a request
	sessionAbsolute = 12 * time.Hour // from the sign-in on
	maxSessions     = 1000           // the one that was idle longest gives way
)

// session is one browser that somebody has signed in with.
type session struct {
	principal Principal
	began     time.Time
	seen      time.Time
}

func (s session) over(now time.Time) bool {
	return now.Sub(s.seen) >= sessionIdle || now.Sub(s.began) >= sessionAbsolute
}

// sessions are kept in memory, by the hash of the id that the browser has: a
// restart signs everybody out, and what is kept signs nobody in.
type sessions struct {
	mu   sync.Mutex
	byID map[[sha256.Size]byte]session
}

// start makes a session and returns its id.
func (s *sessions) start(p Principal) (id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.byID == nil {
		s.byID = map[[sha256.Size]byte]session{}
	}
	if len(s.byID) >= maxSessions {
		maps.DeleteFunc(s.byID, func(_ [sha256.Size]byte, one session) bool { return one.over(now) })
	}
	for len(s.byID) >= maxSessions {
		var idlest [sha256.Size]byte
		oldest := now.Add(time.Second)
		for hash, one := range s.byID {
			if one.seen.Before(oldest) {
				idlest, oldest = hash, one.seen
			}
		}
		delete(s.byID, idlest)
	}
	id = randomToken()
	s.byID[hashOf(id)] = session{principal: p, began: now, seen: now}
	return id
}

// find returns whose session an id is, and keeps it from becoming idle.
func (s *sessions) find(id string) (Principal, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hash, now := hashOf(id), time.Now()
	one, ok := s.byID[hash]
	if !ok {
		return Principal{}, false
	}
	if one.over(now) {
		delete(s.byID, hash)
		return Principal{}, false
	}
	one.seen = now
	s.byID[hash] = one
	return one.principal, true
}

// end signs a browser out.
func (s *sessions) end(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.byID, hashOf(id))
}

// randomToken is 256 random bits as they go into a cookie or an address.
func randomToken() string {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails
	return base64.RawURLEncoding.EncodeToString(raw)
}

func hashOf(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// cookie makes a cookie that no script reads. With TLS its name begins with
// __Host-, so that no other host of the domain can set one. An empty value takes
// the cookie away.
func (s Site) cookie(name, value string, sameSite http.SameSite, lasts time.Duration) *http.Cookie {
	c := &http.Cookie{ //nolint:gosec // G124: Secure wherever there is TLS, SameSite always
		Name: s.cookieName(name), Value: value, Path: "/", MaxAge: int(lasts.Seconds()),
		HttpOnly: true, SameSite: sameSite, Secure: s.Secure(),
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

func (s Site) cookieName(name string) string {
	if s.Secure() {
		return "__Host-" + name
	}
	return name
}

// cookieValue is what a browser sent back, or "".
func (s Site) cookieValue(r *http.Request, name string) string {
	c, err := r.Cookie(s.cookieName(name))
	if err != nil {
		return ""
	}
	return c.Value
}
