package main

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"imapsync/internal/devenv"
	"imapsync/web"
)

// signinOf reads flags as a command does, environment and all.
func signinOf(t *testing.T, args ...string) *web.Options {
	t.Helper()
	o := &web.Options{}
	fs := pflag.NewFlagSet("web", pflag.ContinueOnError)
	webFlags(fs, o)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	if err := fromEnvironment(fs); err != nil {
		t.Fatal(err)
	}
	return o
}

func testApp() (a *app, stdout, log *bytes.Buffer) {
	stdout, log = &bytes.Buffer{}, &bytes.Buffer{}
	return &app{stdout: stdout, log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, stdout, log
}

// The link that is printed signs in, and the process ends when it is told to.
func TestWebSignIn(t *testing.T) {
	a, stdout, log := testApp()
	ctx, end := context.WithCancel(t.Context())
	page, err := a.openWeb(ctx, nil, signinOf(t, "--listen", "127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- page.Serve(ctx) }()

	link := regexp.MustCompile(`http://127\.0\.0\.1:\d+/signin\?token=(\S{43})\n`).FindStringSubmatch(stdout.String())
	if link == nil {
		t.Fatalf("printed: %s", stdout)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	res, err := browser.PostForm(page.URL+"/signin", url.Values{"link": {link[1]}, "next": {"/providers/new"}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(text), "Add an IMAP mailbox") || res.Header.Get("Content-Security-Policy") == "" {
		t.Errorf("%s, %v: %s", res.Status, err, text)
	}
	end()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if text := log.String(); strings.Contains(text, link[1]) || !strings.Contains(text, `"msg":"signin"`) {
		t.Errorf("log: %s", text)
	}
}

func TestWebSignInSettings(t *testing.T) {
	provider := devenv.TestOAuth(t)
	dir := t.TempDir()
	good, open := filepath.Join(dir, "good"), filepath.Join(dir, "open")
	const token = "geheim-geheim-geheim-geheim"
	for path, mode := range map[string]os.FileMode{good: 0o600, open: 0o644} {
		if err := os.WriteFile(path, []byte(token+"\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	oidc := []string{"--oidc-issuer", provider.URL, "--oidc-client-id", "c", "--oidc-allow", "ann@example.com,@harbour.example"}
	for _, tt := range []struct {
		name string
		args []string
		env  map[string]string
		want string // of the error; "" is none
	}{
		{"a link", nil, nil, ""},
		{"a token", nil, map[string]string{"IMAPSYNC_WEB_TOKEN_FILE": good}, ""},
		{"a token that all read", []string{"--web-token-file", open}, nil, "--web-token-file: " + open + ": mode 0644: others may read or change it: run: chmod 600"},
		{"all addresses", []string{"--listen", "0.0.0.0:0"}, nil, "--listen 0.0.0.0:0: others could read passwords on the way: give --tls-cert"},
		{"all addresses, by the environment", nil, map[string]string{"IMAPSYNC_LISTEN": ":0"}, "give --tls-cert"},
		{"an address that is none", []string{"--public-url", "http://[::1"}, nil, "--public-url: give scheme, host and port alone"},
		{"a proxy", []string{"--behind-proxy", "--public-url", "https://mail.example.com", "--listen", ":0"}, nil, ""},
		{"OIDC", append(oidc, "--oidc-client-secret-file", good), nil, ""},
		{"OIDC, a secret that all read", append(oidc, "--oidc-client-secret-file", open), nil, "--oidc-client-secret-file: " + open + ": mode 0644"},
		{"OIDC, who may be set alone", nil, map[string]string{"IMAPSYNC_OIDC_ALLOW": "ann@example.com"}, "--oidc-issuer: missing"},
		{"OIDC for nobody", oidc[:4], nil, "--oidc-allow: missing"},
		{"OIDC, elsewhere", append(oidc, "--oidc-redirect-url", "https://mail.example.com/"), nil, "--oidc-redirect-url"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			args := tt.args
			if tt.env["IMAPSYNC_LISTEN"] == "" && !strings.Contains(strings.Join(args, " "), "--listen") {
				args = append(slices.Clip(args), "--listen", "127.0.0.1:0")
			}
			a, stdout, _ := testApp()
			ctx, end := context.WithCancel(t.Context())
			page, err := a.openWeb(ctx, nil, signinOf(t, args...))
			if end(); err == nil {
				defer page.Serve(ctx) // closes it
			}
			if tt.want == "" {
				if err != nil || strings.Contains(stdout.String(), "token=") != (tt.name == "a link" || tt.name == "a proxy") {
					t.Errorf("%v; printed: %s", err, stdout)
				}
				return
			}
			if err == nil || exitCode(err) != exitConfig || !strings.Contains(a.message(err), tt.want) || strings.Contains(a.message(err), "\n") || strings.Contains(err.Error(), token) {
				t.Errorf("%d %v, want %q", exitCode(err), err, tt.want)
			}
		})
	}
}
