package sync

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/internal/imapsession"
	"imapsync/oauth"
)

// One address is shared by all providers of a host, and so is the ban it earns.
const (
	// hostWindow is how far back failures at a host count, whoever ran then.
	hostWindow = 10 * time.Minute
	// maxHostAuth refused logins in the window keep away further logins of
	// providers that are not known to work.
	maxHostAuth = 10
	// maxHostThrottled answers in the window that ask for patience do so too.
	maxHostThrottled = 3
)

// hosts counts failures by host. What other runs met is loaded once.
type hosts struct {
	mu        sync.Mutex
	auth      map[string]int
	throttled map[string]int
}

func (h *hosts) load(ctx context.Context, store *db.Store, now time.Time) error {
	list, err := store.HostFailures(ctx, now.Add(-hostWindow))
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.auth, h.throttled = map[string]int{}, map[string]int{}
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
	host = strings.ToLower(host)
	switch {
	case imapsession.Codes()[code] == fault.Auth:
		h.auth[host] += n
	case throttling(code):
		h.throttled[host] += n
	}
}

// throttling reports whether an error code asks for patience.
func throttling(code string) bool {
	return slices.Contains([]string{"throttled", "unavailable", "limit", "inuse", "overquota"}, code)
}

// closed tells why no login of p should be tried now; it is empty when one may
// be. A provider whose last pass went well is never kept away: its neighbours'
// wrong passwords are not its doing.
func (h *hosts) closed(p *db.Provider) string {
	if p.LastSuccessAt != nil && p.ConsecutiveFailures == 0 {
		return ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	host := strings.ToLower(p.Host)
	switch {
	case h.auth[host] >= maxHostAuth:
		return "too many logins were refused there lately"
	case h.throttled[host] >= maxHostThrottled:
		return "the server asked for patience"
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
