package web

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"net/http"
	"sync"
	"time"

	"imapsync/provider"
)

// Principal is who has signed in.
type Principal struct {
	Name   string // for the audit trail: an e-mail address, or how somebody signed in
	Tenant string // what is shown and changed; empty: all tenants
}

type principalKey struct{}

// who is signed in: behind a Gate there is always somebody, but for the assets.
func who(r *http.Request) Principal {
	p, _ := r.Context().Value(principalKey{}).(Principal)
	return p
}

func withPrincipal(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// How long a session lasts, and how many there are.
const (
	sessionIdle     = 2 * time.Hour  // without a request
	sessionAbsolute = 12 * time.Hour // from the sign-in on
	maxSessions     = 1000
)

func newSessions() *kept[Principal] {
	return &kept[Principal]{idle: sessionIdle, life: sessionAbsolute, most: maxSessions}
}

// randomToken is 256 random bits as they go into a cookie or an address.
func randomToken() string {
	raw := make([]byte, 32)
	rand.Read(raw) // never fails
	return base64.RawURLEncoding.EncodeToString(raw)
}

func hashOf(token string) [sha256.Size]byte { return sha256.Sum256([]byte(token)) }

// cookie makes a cookie that no script reads. With TLS its name begins with __Host-, so
// that no other host of the domain can set one. An empty value takes the cookie away.
func (s origin) cookie(name, value string, sameSite http.SameSite, lasts time.Duration) *http.Cookie {
	c := &http.Cookie{ //nolint:gosec // G124: Secure wherever there is TLS, SameSite always
		Name: s.cookieName(name), Value: value, Path: "/", MaxAge: int(lasts.Seconds()),
		HttpOnly: true, SameSite: sameSite, Secure: s.Secure(),
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

func (s origin) cookieName(name string) string {
	if s.Secure() {
		return "__Host-" + name
	}
	return name
}

func (s origin) cookieValue(r *http.Request, name string) string {
	c, err := r.Cookie(s.cookieName(name))
	if err != nil {
		return ""
	}
	return c.Value
}

// kept are values that stay in this process for a while, by the hash of the id
// that a browser has: what is kept signs nobody in. A restart forgets them all.
type kept[V any] struct {
	idle time.Duration // how long without being asked for
	life time.Duration // in all
	most int           // the one that was idle longest gives way

	mu   sync.Mutex
	byID map[[sha256.Size]byte]*entry[V]
}

type entry[V any] struct {
	value       V
	began, seen time.Time
}

func (k *kept[V]) over(e *entry[V], now time.Time) bool {
	return now.Sub(e.seen) >= k.idle || now.Sub(e.began) >= k.life
}

func (k *kept[V]) keep(value V) (id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := time.Now()
	if k.byID == nil {
		k.byID = map[[sha256.Size]byte]*entry[V]{}
	}
	if len(k.byID) >= k.most {
		maps.DeleteFunc(k.byID, func(_ [sha256.Size]byte, e *entry[V]) bool { return k.over(e, now) })
	}
	for len(k.byID) >= k.most {
		var idlest [sha256.Size]byte
		oldest := now.Add(time.Second)
		for hash, e := range k.byID {
			if e.seen.Before(oldest) {
				idlest, oldest = hash, e.seen
			}
		}
		delete(k.byID, idlest)
	}
	id = randomToken()
	k.byID[hashOf(id)] = &entry[V]{value, now, now}
	return id
}

// find returns what an id stands for, and keeps it from becoming idle.
func (k *kept[V]) find(id string) (value V, ok bool) { return k.look(id, false) }

// take returns what an id stands for, once.
func (k *kept[V]) take(id string) (value V, ok bool) { return k.look(id, true) }

func (k *kept[V]) look(id string, once bool) (value V, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	hash, now := hashOf(id), time.Now()
	e := k.byID[hash]
	if e == nil {
		return value, false
	}
	ok = !k.over(e, now)
	if once || !ok {
		delete(k.byID, hash)
	}
	if ok {
		e.seen, value = now, e.value
	}
	return value, ok
}

// draft are the credentials of a form that came back with an error, so that
// nobody types them twice: the form has the id of them only.
type draft struct {
	given provider.CredentialInput
	by    Principal
}

func newDrafts() *kept[draft] {
	return &kept[draft]{idle: 30 * time.Minute, life: 30 * time.Minute, most: 200}
}

// of is what was typed, for who typed it.
func (d draft) of(by Principal) provider.CredentialInput {
	if d.by != by {
		return nil
	}
	return d.given
}
