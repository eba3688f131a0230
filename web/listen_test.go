package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"imapsync/internal/devenv"
	"imapsync/provider"
)

// certificate writes a certificate for localhost and its key.
func certificate(t *testing.T) (ca *devenv.CA, cert, key string) {
	t.Helper()
	ca, err := devenv.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := ca.Issue(devenv.Cert{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, data := range map[string][]byte{cert: pair.CertPEM, key: pair.KeyPEM} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return ca, cert, key
}

func TestListenRefuses(t *testing.T) {
	_, cert, key := certificate(t)
	readable := filepath.Join(t.TempDir(), "readable.pem")
	if err := os.WriteFile(readable, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	const everywhere, proxied = "0.0.0.0:0", "https://mail.example.com"
	for _, tt := range []struct {
		name string
		o    ListenOptions
		want string
	}{
		{"all addresses", ListenOptions{Address: everywhere}, "give --tls-cert and --tls-key, or --behind-proxy"},
		{"no host", ListenOptions{Address: ":0"}, "give --tls-cert"},
		{"IPv6", ListenOptions{Address: "[::]:0"}, "give --tls-cert"},
		{"a name", ListenOptions{Address: "mail.example.com:0"}, "give --tls-cert"},
		{"a name that looks local", ListenOptions{Address: "localhost.example.com:0"}, "give --tls-cert"},
		{"no port", ListenOptions{Address: "127.0.0.1"}, "as in 127.0.0.1:8025"},
		{"certificate alone", ListenOptions{Address: everywhere, TLSCert: cert}, "give both"},
		{"key alone", ListenOptions{Address: everywhere, TLSKey: key}, "give both"},
		{"key that all read", ListenOptions{Address: everywhere, TLSCert: cert, TLSKey: readable}, "others may read or change it"},
		{"key of another", ListenOptions{Address: everywhere, TLSCert: cert, TLSKey: cert}, "--tls-key"},
		{"no certificate", ListenOptions{Address: everywhere, TLSCert: "/nowhere", TLSKey: key}, "--tls-cert: open /nowhere"},
		{"proxy without URL", ListenOptions{Address: everywhere, BehindProxy: true}, "give --public-url"},
		{"proxy without TLS", ListenOptions{Address: everywhere, BehindProxy: true, PublicURL: "http://mail.example.com"}, "https://"},
		{"URL with a path", ListenOptions{Address: everywhere, BehindProxy: true, PublicURL: proxied + "/mail"}, "scheme, host and port alone"},
		{"URL with a password", ListenOptions{Address: everywhere, BehindProxy: true, PublicURL: "https://u:geheim@mail.example.com"}, "scheme, host and port alone"},
		{"URL, no TLS", ListenOptions{Address: "127.0.0.1:0", PublicURL: proxied}, "goes with --behind-proxy"},
		{"URL of elsewhere", ListenOptions{Address: "127.0.0.1:0", PublicURL: "http://mail.example.com"}, "goes with --behind-proxy"},
	} {
		l, err := listen(t.Context(), tt.o)
		if err == nil {
			l.Close()
			t.Errorf("%s: no error", tt.name)
			continue
		}
		if !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
}

func TestListenSite(t *testing.T) {
	_, cert, key := certificate(t)
	for _, tt := range []struct {
		name     string
		o        ListenOptions
		url      string // without the port, "" not compared
		secure   bool
		yes, not []string
	}{
		{"loopback", ListenOptions{Address: "127.0.0.1:0"}, "http://127.0.0.1", false, []string{"localhost", "127.0.0.1", "::1"}, []string{"mail.example.com", ""}},
		{"IPv6", ListenOptions{Address: "[::1]:0"}, "http://[::1]", false, []string{"localhost"}, []string{"mail.example.com"}},
		{"by its name", ListenOptions{Address: "localhost:0"}, "", false, []string{"localhost"}, []string{"mail.example.com"}},
		{"through a tunnel", ListenOptions{Address: "127.0.0.1:0", PublicURL: "http://localhost:9000/"}, "http://localhost:9000", false, []string{"localhost"}, []string{"127.0.0.1"}},
		{"behind a proxy", ListenOptions{Address: "0.0.0.0:0", BehindProxy: true, PublicURL: "https://mail.example.com"}, "https://mail.example.com", true,
			[]string{"mail.example.com"}, []string{"localhost", "127.0.0.1", "other.example.com"}},
		{"behind a proxy here", ListenOptions{Address: "127.0.0.1:0", BehindProxy: true, PublicURL: "https://Mail.Example.com"}, "", true,
			[]string{"mail.example.com"}, []string{"localhost"}},
		{"TLS", ListenOptions{Address: "0.0.0.0:0", TLSCert: cert, TLSKey: key}, "", true, []string{"mail.example.com", "localhost"}, nil},
		{"TLS with a name", ListenOptions{Address: "0.0.0.0:0", TLSCert: cert, TLSKey: key, PublicURL: "https://mail.example.com:8443"},
			"https://mail.example.com:8443", true, []string{"mail.example.com"}, []string{"localhost"}},
	} {
		l, err := listen(t.Context(), tt.o)
		if err != nil {
			if tt.name == "IPv6" {
				continue // not every machine has it
			}
			t.Fatalf("%s: %v", tt.name, err)
		}
		l.Close()
		if got := l.site.URL.String(); tt.url != "" && got != tt.url && strings.TrimSuffix(got, ":"+l.site.URL.Port()) != tt.url {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.url)
		}
		if strings.Contains(l.site.URL.Host, "0.0.0.0") || l.site.Secure() != tt.secure || l.site.BehindProxy != tt.o.BehindProxy {
			t.Errorf("%s: %+v", tt.name, l.site)
		}
		for _, host := range tt.yes {
			if !l.site.hosts(host) {
				t.Errorf("%s: %q is refused", tt.name, host)
			}
		}
		for _, host := range tt.not {
			if l.site.hosts(host) {
				t.Errorf("%s: %q is taken", tt.name, host)
			}
		}
	}
}

// A redirect address is compared letter by letter with what was registered: it
// is --public-url as it was written.
func TestRedirectAsWritten(t *testing.T) {
	l, err := listen(t.Context(), ListenOptions{Address: "127.0.0.1:0", BehindProxy: true, PublicURL: "https://Mail.Example.com/"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r := httptest.NewRequest("GET", "http://mail.example.com/", nil)
	at := newServer(t.Context(), &provider.Service{}, slog.New(slog.DiscardHandler), l.site).site(r)
	if at.URL.String() != "https://Mail.Example.com" || !at.Secure() || l.site.URL.String() != "https://mail.example.com" || !l.site.hosts("mail.example.com") {
		t.Errorf("redirect to %s, page at %s", at.URL, l.site.URL)
	}
}

func TestServeTLS(t *testing.T) {
	ca, cert, key := certificate(t)
	l, err := listen(t.Context(), ListenOptions{Address: "127.0.0.1:0", TLSCert: cert, TLSKey: key})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	gate := newGate(l.site, log)
	withToken(gate)
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.serve(ctx, gate.handler(inside), log) }()
	s := &served{t: t, url: l.site.URL.String(), gate: gate}
	s.browser = s.newBrowser()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca.PEM)
	s.browser.Transport = &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}
	a := s.post("/signin", url.Values{"token": {testToken}})
	s.want("sign in", a, http.StatusSeeOther)
	if c := s.cookie(a, "__Host-imapsync_session"); !c.Secure || a.Proto != "HTTP/2.0" {
		t.Errorf("%s, cookie %+v", a.Proto, c)
	}
	s.want("inside", s.get("/"), http.StatusOK, "in=true")
	end()
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
}

// At the end a request under way is finished, and one that would go on for ever
// is told.
func TestServeEnds(t *testing.T) {
	l, err := listen(t.Context(), ListenOptions{Address: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	began := make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(began)
		select {
		case <-time.After(300 * time.Millisecond):
			io.WriteString(w, "finished")
		case <-r.Context().Done():
		}
	})
	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- l.serve(ctx, handler, slog.New(slog.DiscardHandler)) }()
	go func() {
		<-began
		end()
	}()
	res, err := http.Get(l.site.URL.String())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); string(text) != "finished" {
		t.Errorf("%q", text)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestServeBounds(t *testing.T) {
	s := serve(t, withToken)
	s.want("a long form", s.post("/signin", url.Values{"token": {strings.Repeat("x", 20<<10)}}), http.StatusBadRequest)
	a := s.get("/", "X-Long", strings.Repeat("x", 64<<10))
	s.want("long headers", a, http.StatusRequestHeaderFieldsTooLarge)
}
