package web

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"imapsync/oauth"
	"imapsync/secret"
)

// ListenOptions say where the page is served. The zero value of a field is as
// if it had not been given.
type ListenOptions struct {
	Address     string // host:port; a host that is not this machine's own needs TLS or a proxy
	TLSCert     string // path of a PEM file: the certificate, then those that signed it
	TLSKey      string // path of its key, which others cannot read
	BehindProxy bool   // a proxy does TLS, passes Host on and sets X-Forwarded-For
	PublicURL   string // what browsers open; needed behind a proxy
}

// origin is where browsers find the page.
type origin struct {
	URL         *url.URL // scheme and host
	BehindProxy bool     // the address of a client is in X-Forwarded-For

	given *url.URL               // what browsers open, as it was written, whatever they say; nil: not known
	hosts func(host string) bool // what a Host header may name, without the port
}

// Secure reports whether browsers use TLS.
func (s origin) Secure() bool { return s.URL.Scheme == "https" }

// listener is the open address of the page.
type listener struct {
	net.Listener

	site origin
}

func listen(ctx context.Context, o ListenOptions) (*listener, error) {
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		return nil, fmt.Errorf("--listen %q: give an address and a port, as in 127.0.0.1:8025", o.Address)
	}
	var encrypted *tls.Config
	if o.TLSCert != "" || o.TLSKey != "" {
		if encrypted, err = readCertificate(o.TLSCert, o.TLSKey); err != nil {
			return nil, err
		}
	}
	if encrypted == nil && !o.BehindProxy && !oauth.IsLoopback(host) {
		return nil, fmt.Errorf("--listen %s: others could read passwords on the way: give --tls-cert and --tls-key, "+
			"or --behind-proxy and --public-url where a proxy does TLS, or listen on 127.0.0.1", o.Address)
	}
	public, err := o.publicURL()
	if err != nil {
		return nil, err
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Address)
	if err != nil {
		return nil, fmt.Errorf("--listen %s: %w", o.Address, err)
	}
	if encrypted != nil {
		ln = tls.NewListener(ln, encrypted)
	}
	return &listener{ln, siteOf(o, host, public, ln.Addr())}, nil
}

func siteOf(o ListenOptions, host string, public *url.URL, listening net.Addr) origin {
	s := origin{BehindProxy: o.BehindProxy, given: public}
	switch {
	case public != nil:
		s.URL = &url.URL{Scheme: public.Scheme, Host: lower(public.Host)}
		s.hosts = func(name string) bool { return name == s.URL.Hostname() }
	case oauth.IsLoopback(host):
		s.hosts = oauth.IsLoopback
	default:
		s.hosts = func(string) bool { return true } // TLS: a browser has compared the name with the certificate
	}
	if public == nil {
		s.URL = &url.URL{Scheme: "http", Host: listening.String()}
		if o.TLSCert != "" {
			s.URL.Scheme = "https"
		}
		if at, err := netip.ParseAddrPort(s.URL.Host); err == nil && at.Addr().IsUnspecified() {
			name, _ := os.Hostname() // "" is as good as none
			s.URL.Host = net.JoinHostPort(cmp.Or(name, "localhost"), fmt.Sprint(at.Port()))
		}
	}
	return s
}

// publicURL reads and judges PublicURL; nil when there is none.
func (o ListenOptions) publicURL() (*url.URL, error) {
	if o.PublicURL == "" {
		if o.BehindProxy {
			return nil, errors.New("--behind-proxy: give --public-url, the address that browsers open, as in https://mail.example.com")
		}
		return nil, nil
	}
	u, err := url.Parse(o.PublicURL)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		return nil, errors.New("--public-url: give scheme, host and port alone, as in https://mail.example.com")
	}
	encrypted := o.BehindProxy || o.TLSCert != ""
	switch {
	case encrypted && u.Scheme != "https":
		return nil, fmt.Errorf("--public-url %s: begins with https:// where there is TLS", o.PublicURL)
	case !encrypted && (u.Scheme != "http" || !oauth.IsLoopback(u.Hostname())):
		return nil, fmt.Errorf("--public-url %s: goes with --behind-proxy, or with --tls-cert and --tls-key", o.PublicURL)
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host}, nil
}

func readCertificate(certPath, keyPath string) (*tls.Config, error) {
	if certPath == "" || keyPath == "" {
		return nil, errors.New("--tls-cert and --tls-key go together: give both")
	}
	cert, err := os.ReadFile(certPath)
	if err != nil {
		return nil, fmt.Errorf("--tls-cert: %w", err)
	}
	key, err := secret.ReadFile(keyPath)
	if err != nil {
		return nil, fmt.Errorf("--tls-key: %w", err)
	}
	pair, err := tls.X509KeyPair(cert, []byte(key.Reveal()))
	if err != nil {
		return nil, fmt.Errorf("--tls-cert %s, --tls-key %s: %w", certPath, keyPath, err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}, nil
}

// Bounds of a request, and of the end.
const (
	maxBody    = 1 << 20 // bytes: a form
	endPolite  = 5 * time.Second
	endForever = 8 * time.Second
)

// serve answers until ctx ends, then lets requests finish: after a while their
// contexts end, then they are cut off.
func (l *listener) serve(ctx context.Context, handler http.Handler, log *slog.Logger) error {
	requests, endRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer endRequests()
	srv := &http.Server{
		Handler:           http.MaxBytesHandler(secure(l.site.checkHost(handler)), maxBody),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second, WriteTimeout: 10 * time.Minute,
		IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10,
		BaseContext: func(net.Listener) context.Context { return requests },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug), // handshakes that failed
	}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	polite := time.AfterFunc(endPolite, endRequests)
	defer polite.Stop()
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endForever)
	defer cancel()
	if srv.Shutdown(end) != nil {
		return srv.Close() // who still asks is cut off
	}
	return nil
}

// policy keeps a page to its own scripts, styles and forms: what a mail, a
// folder or a server brings in runs nowhere.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; form-action 'self'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'"

// secure puts the headers of a careful page on every answer and refuses what
// another site has a browser send. A handler may replace a header of its own
// answer, as the preview in a frame has to.
func secure(next http.Handler) http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "Refused: this request came from another site.\n\n"+
			"Nothing was changed. Open the page itself and try again there. Behind a proxy, it must\n"+
			"pass the Host header on as the browser sent it.", http.StatusForbidden)
	}))
	guarded := sameOrigin.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		guarded.ServeHTTP(w, r)
	})
}

// checkHost refuses a name that is not the page's own. Another site could have its name
// lead to this machine, and then read what its visitors are shown (DNS rebinding).
func (s origin) checkHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		host = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSuffix(lower(host), "."), "["), "]")
		if !s.hosts(host) {
			http.Error(w, "This page is not here under that name: open "+s.URL.String()+"/\n\n"+
				"Behind a proxy, it must pass the Host header on as the browser sent it.", http.StatusMisdirectedRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// localPath is text if it is a path of this page to go on to, else "/".
func localPath(text string) string {
	u, err := url.Parse(text)
	if err != nil || len(text) > 1000 || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(text, "/") || strings.HasPrefix(text, "//") ||
		strings.ContainsAny(text, "\\\r\n\t") || strings.HasPrefix(u.Path, "/signin") || strings.HasPrefix(u.Path, "/oidc/") {
		return "/"
	}
	return text
}
