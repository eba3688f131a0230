package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"imapsync/db"
	"imapsync/provider"
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
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.web(cmd.Context(), f) },
	}
	f.add(cmd.Flags())
	cmd.Flags().SortFlags = false
	return cmd
}

func (a *app) web(ctx context.Context, f *signinFlags) error {
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
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
	f.options.MaxMessageBytes, f.options.Timeouts = f.publish.message, f.timeouts.Timeouts
	s := a.service(store)
	s.Pass, s.Publish = f.options, f.publish.options()
	boundMemory(f.options.MaxInFlightBytes)
	return s, nil
}
