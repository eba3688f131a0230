package observe

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Heartbeat tells a dead-man's switch that a run came to its end: URL when it
// went well, URL/fail when it did not. It is never a reason for a run to fail,
// and its URL is a secret: whoever knows it can keep the switch quiet.
type Heartbeat struct {
	url     *url.URL
	version string
	client  http.Client
}

const heartbeatPatience = 5 * time.Second

// NewHeartbeat reads the URL, which no error shows.
func NewHeartbeat(raw, version string) (*Heartbeat, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("use an http:// or https:// URL") // not shown: it is a secret
	}
	return &Heartbeat{url: u, version: version, client: http.Client{Timeout: heartbeatPatience}}, nil
}

// Beat sends one ping, though ctx may have ended.
func (h *Heartbeat) Beat(ctx context.Context, ok bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeatPatience)
	defer cancel()
	u := *h.url
	if !ok {
		u.Path = strings.TrimSuffix(u.Path, "/") + "/fail"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	req.Header.Set("User-Agent", "imapsync/"+h.version)
	resp, err := h.client.Do(req)
	if err != nil {
		if ue, isURL := errors.AsType[*url.Error](err); isURL {
			err = ue.Err // without the URL
		}
		return fmt.Errorf("%s: %w", h.url.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: answered %s", h.url.Host, resp.Status)
	}
	return nil
}
