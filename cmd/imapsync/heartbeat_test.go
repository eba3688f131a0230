package main

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHeartbeatNeverFailsARunNorShowsItsURL(t *testing.T) {
	var paths []string
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { paths = append(paths, r.URL.Path) }))
	var log bytes.Buffer
	a := &app{log: slog.New(slog.NewJSONHandler(&log, nil))}
	to := srv.URL + "/ping/SECRET-7f3a?key=SECRET-1b2c"
	a.beat(t.Context(), to, true)
	ended, cancel := context.WithCancel(t.Context())
	cancel() // SIGTERM came: the end is told all the same
	a.beat(ended, to, false)
	if len(paths) != 2 || paths[0] != "/ping/SECRET-7f3a" || paths[1] != "/ping/SECRET-7f3a/fail" || log.Len() > 0 {
		t.Errorf("pinged %q, log %s", paths, log.String())
	}
	srv.Close()
	a.beat(t.Context(), to, true)
	a.beat(t.Context(), "ftp://example.org/SECRET-9d9d", true)
	if strings.Contains(log.String(), "SECRET") || strings.Count(log.String(), "heartbeat_failed") != 2 {
		t.Errorf("log: %s", log.String())
	}
}
