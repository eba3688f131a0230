package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"time"
)

// How long a session lasts, and how many there are.
const (
	sessionIdle     = 2 * time.Hour  // without a request
	sessionAbsolute = 12 * time.Hour // from the sign-in on
	maxSessions     = 1000
)

// newSessions keeps who has signed in with which browser.
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
