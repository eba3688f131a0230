package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/oauth"
	"imapsync/provider"
	mailsync "imapsync/sync"
)

type authFlags struct {
	noBrowser bool
	device    bool
	port      uint16
	timeout   time.Duration
	noTest    bool
}

func newProviderAuth(a *app) *cobra.Command {
	f := &authFlags{}
	cmd := a.onProvider(&cobra.Command{
		Use: "auth PROVIDER", Short: "Sign in to a mailbox with OAuth2",
		Long: "Let a person sign in for a mailbox with --auth oauth2, store what is granted, sealed, and test\n" +
			"the connection. An address is printed (and opened, on a terminal); the answer comes back to a\n" +
			"port of this machine. Where the browser is on another machine, --no-browser takes the address\n" +
			"that the browser ends at, or the code in it, from standard input; --device gives a code to\n" +
			"type on any other device, where the server has that." + exitCodesPointer,
		Example: "  imapsync provider auth support\n  imapsync provider auth support --no-browser\n  imapsync provider auth support --device",
		PreRunE: func(*cobra.Command, []string) error {
			if f.device && f.noBrowser {
				return usageError("give one of --device and --no-browser")
			}
			return usage(atLeast("timeout", f.timeout, tick))
		},
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, named string) error {
		if p.AuthType != db.AuthOAuth2 {
			return usageError("%s logs in with a password: `imapsync provider set %s --auth oauth2 --oauth-preset …` first", p.Name, shellQuote(named))
		}
		return a.authorise(ctx, f, mailboxes, p)
	})
	fs := cmd.Flags()
	fs.BoolVar(&f.noBrowser, "no-browser", false, "open nothing and listen to nothing: paste the address the browser ends at")
	fs.BoolVar(&f.device, "device", false, "sign in on another device, whatever --oauth-flow says")
	fs.Uint16Var(&f.port, "redirect-port", 0, "port of the redirect address, where the server wants it registered (0: a free one)")
	fs.DurationVar(&f.timeout, "timeout", 10*time.Minute, "how long to wait for the person")
	fs.BoolVar(&f.noTest, "no-test", false, "do not test the connection afterwards")
	return cmd
}

func (a *app) authorise(ctx context.Context, f *authFlags, mailboxes *provider.Service, p *db.Provider) error {
	if f.device {
		p.OAuthFlow = db.FlowDevice
		if problems := provider.Validate(p); len(problems) > 0 {
			return usageError("--device: %s: %s", flagOf(problems[0].Setting), problems[0].Message(asFlag))
		}
	}
	client, err := mailboxes.SignIn(ctx, p)
	if err != nil {
		return testedError(err, "")
	}
	tokens, err := a.signIn(ctx, f, client)
	if err != nil {
		return authError(p, err)
	}
	if err := mailboxes.KeepTokens(ctx, p, tokens, actor()); err != nil {
		return err
	}
	a.notef("signed in for %s; what was granted is stored", p.Name)
	if f.noTest {
		return nil
	}
	if _, err := mailboxes.Check(ctx, p, nil); err != nil {
		return testedError(err, "what was granted is stored")
	}
	a.notef("connected to %s as %s", p.Host, p.Username)
	a.notePaused(p)
	return nil
}

// signIn gets tokens by the provider's flow. It is bounded by --timeout.
func (a *app) signIn(ctx context.Context, f *authFlags, client *oauth.Client) (oauth.Tokens, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, f.timeout, &fault.Error{Class: fault.Transient, Code: "timeout",
		Err: fmt.Errorf("nobody signed in within %s: --timeout waits longer", f.timeout)})
	defer cancel()
	switch client.Flow() {
	case oauth.Code:
		return a.signInByCode(ctx, f, client)
	case oauth.Device:
		d, err := client.BeginDevice(ctx)
		if err != nil {
			return oauth.Tokens{}, err
		}
		a.notef("Open this address on any device and type the code:\n\n  %s\n  %s\n", d.URL, d.UserCode)
		t, err := d.Wait(ctx)
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return t, err
	case oauth.ClientCredentials, oauth.ServiceAccount:
	}
	return client.Fetch(ctx)
}

func (a *app) signInByCode(ctx context.Context, f *authFlags, client *oauth.Client) (oauth.Tokens, error) {
	if f.noBrowser {
		// Nothing listens there: the address in the browser's bar is what counts.
		login := client.Begin("http://" + net.JoinHostPort(client.RedirectHost(), strconv.Itoa(max(1, int(f.port)))))
		a.notef("Open this address and sign in. The browser ends at a page that does not load:\npaste its address here.\n\n  %s\n", login.URL)
		answer, err := a.readLine(ctx)
		if err == nil && answer == "" {
			err = usageError("standard input ended before an address came: paste the one the browser ends at")
		}
		if err != nil {
			return oauth.Tokens{}, err
		}
		return login.Finish(ctx, answer)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(f.port))))
	if err != nil {
		return oauth.Tokens{}, usageError("--redirect-port: %w: choose another port", err)
	}
	defer ln.Close()
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return oauth.Tokens{}, err
	}
	login := client.Begin("http://" + net.JoinHostPort(client.RedirectHost(), port))
	a.notef("Open this address and sign in (--no-browser when the browser is on another machine):\n\n  %s\n", login.URL)
	if isTerminal(a.stderr) {
		openBrowser(ctx, login.URL)
	}
	answer, err := login.Wait(ctx, ln)
	if err != nil {
		return oauth.Tokens{}, err
	}
	return login.Finish(ctx, answer)
}

const maxAnswer = 64 << 10

// readLine reads a line that a person types or pastes; it is empty when standard
// input ended before.
func (a *app) readLine(ctx context.Context) (string, error) {
	return await(ctx, func() (string, error) {
		line, _ := bufio.NewReader(io.LimitReader(a.stdin, maxAnswer)).ReadString('\n') // however it ended
		return line, nil
	})
}

// await waits for read, which a person may keep waiting, or for the end of ctx.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	results := make(chan result, 1)
	go func() {
		value, err := read()
		results <- result{value, err}
	}()
	select {
	case <-ctx.Done():
		return *new(T), context.Cause(ctx)
	case r := <-results:
		return r.value, r.err
	}
}

// openBrowser opens an address where there is a way to; the address stands on
// the terminal anyway.
func openBrowser(ctx context.Context, address string) {
	program := "xdg-open"
	if runtime.GOOS == "darwin" {
		program = "open"
	}
	cmd := exec.CommandContext(ctx, program, address) //nolint:gosec // a fixed program; the address is ours
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }() // however it ends
	}
}

// authError makes one line of why nobody could sign in.
func authError(p *db.Provider, err error) error {
	if _, ok := errors.AsType[*exitError](err); ok {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	class, code := mailsync.Classify(err)
	return &exitError{exitOf(class), &fault.Error{Class: class, Code: code, Err: fmt.Errorf("%s: %s", p.Name, provider.OneLine(err.Error()))}}
}
