package web

import (
	"crypto/rand"
	"sync"
	"time"

	"imapsync/provider"
)

// drafts keep the credentials of forms that came back with an error, so that
// nobody types them twice: they stay in this process and the form has a number
// for them only. They are forgotten after half an hour.
type drafts struct {
	mu   sync.Mutex
	kept map[string]draft
}

type draft struct {
	given provider.CredentialInput
	by    Principal
	ends  time.Time
}

const (
	draftLife = 30 * time.Minute
	maxDrafts = 200
)

// keep returns the number that take knows the credentials by; none for none.
func (d *drafts) keep(by Principal, g provider.CredentialInput, now time.Time) string {
	if !g.Any() {
		return ""
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	oldest := ""
	for number, one := range d.kept {
		if now.After(one.ends) {
			delete(d.kept, number)
			continue
		}
		if oldest == "" || one.ends.Before(d.kept[oldest].ends) {
			oldest = number
		}
	}
	if len(d.kept) >= maxDrafts {
		delete(d.kept, oldest)
	}
	number := rand.Text()
	d.kept[number] = draft{g, by, now.Add(draftLife)}
	return number
}

// fill puts what was typed before where nothing is typed now.
func (d *drafts) fill(number string, by Principal, g *provider.CredentialInput, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	one, ok := d.kept[number]
	if !ok || one.by != by || now.After(one.ends) {
		return
	}
	if g.Password.IsZero() {
		g.Password = one.given.Password
	}
	if g.ClientSecret.IsZero() {
		g.ClientSecret = one.given.ClientSecret
	}
	if g.ServiceAccount.IsZero() {
		g.ServiceAccount = one.given.ServiceAccount
	}
}

// forget gives a draft up.
func (d *drafts) forget(number string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.kept, number)
}
