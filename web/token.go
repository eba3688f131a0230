package web

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
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
