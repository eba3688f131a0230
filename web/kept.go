package web

import (
	"crypto/sha256"
	"maps"
	"sync"
	"time"

	"imapsync/provider"
)

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

// keep returns the id that find knows the value by.
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

// fill puts what was typed before where nothing is typed now.
func (d draft) fill(by Principal, in *provider.CredentialInput) {
	if d.by != by {
		return
	}
	if in.Password.IsZero() {
		in.Password = d.given.Password
	}
	if in.ClientSecret.IsZero() {
		in.ClientSecret = d.given.ClientSecret
	}
	if in.ServiceAccount.IsZero() {
		in.ServiceAccount = d.given.ServiceAccount
	}
}
