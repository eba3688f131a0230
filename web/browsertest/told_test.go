package browsertest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// told is all that the server has told the browser. It stands between them.
type told struct {
	url string

	mu   sync.Mutex
	text bytes.Buffer
}

// listen begins to listen to what the server at an address tells.
func listen(t *testing.T, server string) *told {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	all := &told{}
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1, // steps of a test come one by one
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // the server compares it with where a form comes from
		},
		ModifyResponse: func(res *http.Response) error {
			all.mu.Lock()
			defer all.mu.Unlock()
			_ = res.Header.Write(&all.text) // into memory
			res.Body = struct {
				io.Reader
				io.Closer
			}{io.TeeReader(res.Body, all), res.Body}
			return nil
		},
	}
	front := httptest.NewServer(proxy)
	t.Cleanup(front.Close)
	all.url = front.URL
	return all
}

// Write keeps what passes.
func (a *told) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.text.Write(p)
}

// kept makes sure that a secret was not told.
func (a *told) kept(t *testing.T, what, secret string) {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	text := a.text.String()
	if len(text) < 10_000 {
		t.Fatalf("only %d bytes were told", len(text))
	}
	for _, form := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
		if i := strings.Index(text, form); i >= 0 {
			t.Errorf("the %s was told: …%s…", what, text[max(0, i-80):min(len(text), i+len(form)+40)])
		}
	}
}

// has reports whether a text was told.
func (a *told) has(text string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return bytes.Contains(a.text.Bytes(), []byte(text))
}
