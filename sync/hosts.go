package sync

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"imapsync/db"
	"imapsync/internal/imapsession"
	"imapsync/oauth"
)

// One address is shared by all providers of a host, and so is the ban it earns. Only
// what a host says before it has heard a login name is about all of them: a refused
// password, INUSE or OVERQUOTA are about one mailbox.
const (
	// hostWindow is how far back failures at a host count, whoever ran then.
	hostWindow = 10 * time.Minute
	// maxTurnedAway greetings in the window that turn away keep away further
	// logins of providers that are not known to work.
	maxTurnedAway = 3
)

// hosts counts failures by host. What other runs met is loaded once.
type hosts struct {
	mu         sync.Mutex
	turnedAway map[string]int
}

func (h *hosts) load(ctx context.Context, store *db.Store, now time.Time) error {
	list, err := store.HostFailures(ctx, now.Add(-hostWindow))
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.turnedAway = map[string]int{}
	for _, f := range list {
		h.count(f.Host, f.ErrorCode, f.Providers)
	}
	return nil
}

// met counts the failure of a pass towards the provider's host.
func (h *hosts) met(res Result) {
	if res.Err == nil {
		return
	}
	_, code := Classify(res.Err)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count(res.Provider.Host, code, 1)
}

// count adds up failures. The caller holds mu.
func (h *hosts) count(host, code string, n int) {
	if code == "turned_away" {
		h.turnedAway[strings.ToLower(host)] += n
	}
}

// asksPatience reports whether an error code asks for patience, or tells so little that a
// soon next attempt may cost the account.
func asksPatience(code string) bool {
	return slices.Contains([]string{"throttled", "unavailable", "limit", "inuse", "overquota", "turned_away", "login_unclear"}, code)
}

// closed tells why no login of p should be tried now; it is empty when one may
// be. A provider whose last pass went well is never kept away.
func (h *hosts) closed(p *db.Provider) string {
	if p.LastSuccessAt != nil && p.ConsecutiveFailures == 0 {
		return ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.turnedAway[strings.ToLower(p.Host)] >= maxTurnedAway {
		return "the server turned others away before they had logged in"
	}
	return ""
}

// backoffHint is how long an error asks to wait, 0 when it does not say.
func backoffHint(err error) time.Duration {
	if e, ok := errors.AsType[*oauth.Error](err); ok {
		return e.RetryAfter
	}
	return imapsession.BackoffHint(err)
}
