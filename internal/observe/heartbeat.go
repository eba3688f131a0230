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

const heartbeatPatience = 5 * time.Second

// HeartbeatURL reads the URL of a dead-man's switch, which no error shows.
func HeartbeatURL(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("use an http:// or https:// URL") // not shown: it is a secret
	}
	return u, nil
}

// Beat tells a dead-man's switch that a run came to its end, though ctx may have
// ended: URL when it went well, URL/fail when it did not. Its URL is a secret:
// whoever knows it can keep the switch quiet.
func Beat(ctx context.Context, raw, version string, ok bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeatPatience)
	defer cancel()
	u, err := HeartbeatURL(raw)
	if err != nil {
		return err
	}
	if !ok {
		u.Path = strings.TrimSuffix(u.Path, "/") + "/fail"
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return errors.New("the URL cannot be used")
	}
	req.Header.Set("User-Agent", "imapsync/"+version)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		if ue, isURL := errors.AsType[*url.Error](err); isURL {
			err = ue.Err // without the URL
		}
		return fmt.Errorf("%s: %w", u.Host, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s: answered %s", u.Host, resp.Status)
	}
	return nil
}
