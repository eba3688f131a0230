package main

import (
	"context"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imapsync/db"
	"imapsync/provider"
	"imapsync/web"
)

func newWeb(a *app) *cobra.Command {
	o := &web.Options{}
	cmd := &cobra.Command{
		Use: "web", Short: "Serve the settings page",
		Long: "Serve a page to add, change, test and watch mailboxes. It does what the commands do, by the\n" +
			"same rules, and writes who did it into the audit log. It prints a one-time sign-in link,\n" +
			"unless there is a token or an OpenID provider." + exitCodesPointer,
		Example: "  imapsync web\n  imapsync web --listen 0.0.0.0:8025 --behind-proxy --public-url https://mail.example.com",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), func(store *db.Store) error {
				page, err := a.openWeb(cmd.Context(), store, o)
				if err != nil {
					return err
				}
				if err := page.Serve(cmd.Context()); err != nil {
					return &exitError{exitFailed, err}
				}
				return nil
			})
		},
	}
	webFlags(cmd.Flags(), o)
	cmd.Flags().SortFlags = false
	return cmd
}

func webFlags(fs *pflag.FlagSet, o *web.Options) {
	fs.StringVar(&o.Listen.Address, "listen", "127.0.0.1:8025", "address to listen on; one that others reach needs TLS or a proxy")
	fs.StringVar(&o.Listen.TLSCert, "tls-cert", "", "PEM `file` of the certificate, then those that signed it")
	fs.StringVar(&o.Listen.TLSKey, "tls-key", "", "PEM `file` of its key, which others must not be able to read")
	fs.BoolVar(&o.Listen.BehindProxy, "behind-proxy", false, "a proxy does TLS, passes Host on and sets X-Forwarded-For")
	fs.StringVar(&o.Listen.PublicURL, "public-url", "", "what browsers open, as in https://mail.example.com; needed behind a proxy")
	fs.StringVar(&o.TokenFile, "web-token-file", "", "sign in with the token in this `file`, which others must not be able to read, instead of a one-time link")
	fs.StringVar(&o.OIDC.Issuer, "oidc-issuer", "", "sign in at this OpenID provider: its URL")
	fs.StringVar(&o.OIDC.ClientID, "oidc-client-id", "", "the id that this page is registered with there")
	fs.StringVar(&o.OIDC.ClientSecretFile, "oidc-client-secret-file", "", "read the client secret from this `file`, which others must not be able to read")
	fs.StringVar(&o.OIDC.RedirectURL, "oidc-redirect-url", "", "the redirect address registered there (default: the page's URL and /oidc/callback)")
	fs.StringVar(&o.OIDC.TenantClaim, "oidc-tenant-claim", "", "the claim that names the one tenant a user sees (default: all tenants)")
	fs.StringSliceVar(&o.OIDC.Allow, "oidc-allow", nil, "who may sign in: e-mail addresses, domains as in @example.com, sub:SUBJECT")
}

// openWeb opens the page, with the limits that the environment gives runs for
// passes that it makes, and says where it is: a one-time link goes to standard
// output, which is no log.
func (a *app) openWeb(ctx context.Context, store *db.Store, o *web.Options) (*web.Page, error) {
	f := &runFlags{}
	fs := pflag.NewFlagSet("run", pflag.ContinueOnError)
	f.add(fs)
	if err := fromEnvironment(fs); err != nil {
		return nil, err
	}
	o.Mailboxes, o.Log = a.service(store), a.log
	o.Mailboxes.Pass, o.Mailboxes.Publish = f.options(), f.publishFlags.options
	provider.BoundMemory(f.job.MaxInFlightBytes)
	page, err := web.Open(ctx, *o)
	switch {
	case err != nil:
		return nil, configError("%w", err)
	case page.Link != "":
		a.printf("Open this link to sign in; it works once, for 15 minutes:\n\n  %s\n\n", page.Link)
	default:
		a.printf("The settings page is at %s/\n", page.URL)
	}
	return page, nil
}
