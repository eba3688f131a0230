package imapsession

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"imapsync/internal/fault"
	"imapsync/secret"
)

// Whatever else listens on a port that was taken for that of IMAP is named, whether it
// speaks first or waits to be spoken to.
func TestWrongPort(t *testing.T) {
	c := newCertificates(t)
	greetings := map[string]string{
		"POP3": "+OK POP3 ready <1896.697170952@example.org>\r\n", "SMTP": "220-mail.example.org ESMTP\r\n",
		"ManageSieve": "\"IMPLEMENTATION\" \"Dovecot Pigeonhole\"\r\n\"SASL\" \"\"\r\nOK \"ready.\"\r\n",
		"SSH":         "SSH-2.0-OpenSSH_9.6\r\n", "HTTP": "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
	}
	for speaks, greeting := range greetings {
		for _, mode := range []TLSMode{TLSNone, TLSStartTLS, TLSImplicit} {
			t.Run(speaks+" "+string(mode), func(t *testing.T) {
				t.Parallel()
				checkWrongPort(t, connectTo(t, &recorder{greeting: greeting}, mode, c.caPEM, ""), speaks)
			})
		}
	}
	hello := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	for name, tt := range map[string]struct {
		mode  TLSMode
		start func(*httptest.Server)
	}{
		"HTTP none":     {TLSNone, (*httptest.Server).Start},
		"HTTP starttls": {TLSStartTLS, (*httptest.Server).Start},
		"HTTPS": {TLSImplicit, func(srv *httptest.Server) {
			srv.TLS = &tls.Config{Certificates: c.good.Certificates}
			srv.StartTLS()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewUnstartedServer(hello)
			tt.start(srv)
			defer srv.Close()
			at := srv.Listener.Addr().(*net.TCPAddr)
			a := Account{Server: Server{Host: "127.0.0.1", Port: at.Port, TLS: tt.mode, CAPEM: c.caPEM}, Username: "ann",
				Timeouts: Timeouts{Connect: 700 * time.Millisecond, Command: 700 * time.Millisecond}}
			_, err := open(t, a, tlsPassword, nil)
			checkWrongPort(t, err, "HTTP")
		})
	}
}

func checkWrongPort(t *testing.T, err error, speaks string) {
	t.Helper()
	e, ok := fault.Of(err)
	if !ok || e.Class != fault.Config || e.Code != "wrong_protocol" || e.Params["protocol"] != speaks || !strings.Contains(e.Error(), "that is "+speaks+", not IMAP") {
		t.Errorf("%v, want it to say that %s is spoken there", err, speaks)
	}
}

// A port that is only slow, or gone by the time it is asked again, keeps its error.
func TestProbeOfNothing(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	a := Account{Server: Server{Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, TLS: TLSNone}}
	ln.Close()
	if speaks := new(Dialer).probe(context.Background(), a); speaks != "" {
		t.Errorf("a port that is closed speaks %s", speaks)
	}
}

// A host that accepts and says nothing is asked once what it speaks, and not again by each
// of its mailboxes at each pass.
func TestSilentPortIsAskedOnce(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	var accepted atomic.Int32
	go func() {
		for conn, err := ln.Accept(); err == nil; conn, err = ln.Accept() {
			accepted.Add(1)
			defer conn.Close()
		}
	}()
	now := time.Now()
	d := &Dialer{Now: func() time.Time { return now }}
	a := Account{Server: Server{Host: "127.0.0.1", Port: ln.Addr().(*net.TCPAddr).Port, TLS: TLSNone}, Username: "ann",
		Timeouts: Timeouts{Connect: 50 * time.Millisecond, Command: 50 * time.Millisecond}, Login: func(context.Context) (secret.Value, error) { return secret.New(tlsPassword), nil }}
	for i, want := range []int32{2, 3, 4, 6} {
		if i == 3 {
			now = now.Add(probeAgain)
		}
		_, err := d.Open(context.Background(), a)
		if _, code := Classify(err); code != "greeting" || accepted.Load() != want {
			t.Errorf("pass %d: %v after %d connections, want %d", i+1, err, accepted.Load(), want)
		}
	}
}
