package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imapsync/db"
	"imapsync/provider"
	"imapsync/secret"
	"imapsync/web"
)

func newWeb(a *app) *cobra.Command {
	f := &signinFlags{}
	cmd := &cobra.Command{
		Use: "web", Short: "Serve the settings page",
		Long: "Serve a page to add, change, test and watch mailboxes. It does what the commands do, by the\n" +
			"same rules, and writes who did it into the audit log. It prints a one-time sign-in link,\n" +
			"unless there is a token or an OpenID provider." + exitCodesPointer,
		Example: "  imapsync web\n  imapsync web --listen 0.0.0.0:8025 --behind-proxy --public-url https://mail.example.com",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), func(store *db.Store) error { return a.web(cmd.Context(), store, f) })
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().SortFlags = false
	return cmd
}

func (a *app) web(ctx context.Context, store *db.Store, f *signinFlags) error {
	mailboxes, err := a.mailboxes(store)
	if err != nil {
		return err
	}
	server, err := web.New(ctx, web.Options{Mailboxes: mailboxes, Log: a.log, Origin: f.listen.PublicURL})
	if err != nil {
		return err
	}
	l, err := a.listenWeb(ctx, f)
	if err != nil {
		return err
	}
	gate, err := a.newGate(ctx, f, l.Site)
	if err != nil {
		return errors.Join(err, l.Close())
	}
	err = a.serveWeb(ctx, l, server.Handler(gate.Handler))
	server.Wait() // a pass ends its chunk and commits; that has a bound
	return err
}

// mailboxes is the service with the limits that the environment gives runs, for
// passes that the page makes.
func (a *app) mailboxes(store *db.Store) (*provider.Service, error) {
	f := &runFlags{}
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.add(fs)
	if err := fromEnvironment(fs); err != nil {
		return nil, err
	}
	s := a.service(store)
	s.Pass, s.Publish = f.options(), f.publishFlags.options
	provider.BoundMemory(f.job.MaxInFlightBytes)
	return s, nil
}

// signinFlags say where the settings page is and how people sign in.
type signinFlags struct {
	listen    web.ListenOptions
	tokenFile string
	oidc      web.OIDCOptions
	oidcFile  string // of the client secret
}

func (f *signinFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.listen.Address, "listen", "127.0.0.1:8025", "address to listen on; one that others reach needs TLS or a proxy")
	fs.StringVar(&f.listen.TLSCert, "tls-cert", "", "PEM `file` of the certificate, then those that signed it")
	fs.StringVar(&f.listen.TLSKey, "tls-key", "", "PEM `file` of its key, which others must not be able to read")
	fs.BoolVar(&f.listen.BehindProxy, "behind-proxy", false, "a proxy does TLS, passes Host on and sets X-Forwarded-For")
	fs.StringVar(&f.listen.PublicURL, "public-url", "", "what browsers open, as in https://mail.example.com; needed behind a proxy")
	fs.StringVar(&f.tokenFile, "web-token-file", "", "sign in with the token in this `file`, which others must not be able to read, instead of a one-time link")
	fs.StringVar(&f.oidc.Issuer, "oidc-issuer", "", "sign in at this OpenID provider: its URL")
	fs.StringVar(&f.oidc.ClientID, "oidc-client-id", "", "the id that this page is registered with there")
	fs.StringVar(&f.oidcFile, "oidc-client-secret-file", "", "read the client secret from this `file`, which others must not be able to read")
	fs.StringVar(&f.oidc.RedirectURL, "oidc-redirect-url", "", "the redirect address registered there (default: the page's URL and /oidc/callback)")
	fs.StringVar(&f.oidc.TenantClaim, "oidc-tenant-claim", "", "the claim that names the one tenant a user sees (default: all tenants)")
	fs.StringSliceVar(&f.oidc.Allow, "oidc-allow", nil, "who may sign in: e-mail addresses, domains as in @example.com, sub:SUBJECT")
}

// listenWeb opens the address of the page. The caller hands it to serveWeb or
// closes it.
func (a *app) listenWeb(ctx context.Context, f *signinFlags) (*web.Listener, error) {
	l, err := web.Listen(ctx, f.listen)
	if err != nil {
		return nil, configError("%w", err)
	}
	a.log.Info("listen", "address", l.Addr())
	return l, nil
}

// newGate makes what people pass to reach the page. Where nothing else signs
// them in, it prints a one-time link on standard output, which is no log.
func (a *app) newGate(ctx context.Context, f *signinFlags, site web.Site) (*web.Gate, error) {
	o := web.GateOptions{Site: site, Log: a.log}
	var err error
	if f.tokenFile != "" {
		if o.Token, err = web.ReadToken(f.tokenFile); err != nil {
			return nil, configError("--web-token-file: %w", err)
		}
	}
	if o.OIDC, err = f.openOIDC(ctx, site); err != nil {
		return nil, configError("%w", err)
	}
	gate := web.NewGate(o)
	if o.OIDC == nil && o.Token.IsZero() {
		a.printf("Open this link to sign in; it works once, for 15 minutes:\n\n  %s\n\n", gate.NewLink())
	} else {
		a.printf("The settings page is at %s/\n", site.URL)
	}
	return gate, nil
}

// openOIDC returns nil when nothing of it was asked for.
func (f *signinFlags) openOIDC(ctx context.Context, site web.Site) (*web.OIDC, error) {
	o := f.oidc
	if o.Issuer == "" {
		if cmp.Or(o.ClientID, f.oidcFile, o.RedirectURL, o.TenantClaim, strings.Join(o.Allow, "")) != "" {
			return nil, fmt.Errorf("--oidc-issuer: missing: the other --oidc flags go with it")
		}
		return nil, nil
	}
	o.RedirectURL = cmp.Or(o.RedirectURL, site.URL.String()+"/oidc/callback")
	if f.oidcFile != "" {
		var err error
		if o.ClientSecret, err = secret.ReadFile(f.oidcFile); err != nil {
			return nil, fmt.Errorf("--oidc-client-secret-file: %w", err)
		}
	}
	return web.NewOIDC(ctx, o)
}

// serveWeb serves the pages, which are behind a gate, until ctx ends.
func (a *app) serveWeb(ctx context.Context, l *web.Listener, gated http.Handler) error {
	if err := l.Serve(ctx, gated, a.log); err != nil {
		a.log.Error("listen_failed", "error", err.Error())
		return &exitError{exitFailed, fmt.Errorf("serve %s: %w", l.Addr(), err)}
	}
	return nil
}
