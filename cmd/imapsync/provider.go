package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/provider"
)

func newProvider(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use: "provider", Short: "Add, show, change and test mailboxes", Args: noArgs, RunE: helpOnly,
		Long: "A provider is one mailbox account. It is named by its id, or by its name when that is unique\n" +
			"(--tenant narrows the search).\n\n" + exitCodesHelp,
	}
	cmd.AddCommand(newProviderAdd(a), newProviderList(a), newProviderShow(a), newProviderSet(a), newProviderRm(a),
		newProviderAuth(a), newProviderTest(a), newProviderFolders(a), newProviderPause(a), newProviderResume(a), newProviderResync(a))
	return cmd
}

// noProvider is what there is to say when there is no mailbox.
const noProvider = "no provider yet: `imapsync provider add --help`"

// tenantFlag adds --tenant to a command that looks for a provider.
func tenantFlag(cmd *cobra.Command, tenant *string) {
	cmd.Flags().StringVar(tenant, "tenant", "", "look only in this tenant, a UUID (default: all tenants)")
	previous := cmd.PreRunE
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if *tenant != "" {
			id, err := uuid.Parse(*tenant)
			if err != nil {
				return usageError("--tenant: %q is not a UUID", *tenant)
			}
			*tenant = id.String()
		}
		if previous != nil {
			return previous(cmd, args)
		}
		return nil
	}
}

// oneProvider accepts exactly the argument PROVIDER.
func oneProvider(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return usageError("%s takes one PROVIDER, its name or id: `imapsync provider list` shows what there is", cmd.CommandPath())
	}
	return nil
}

// oneProviderOrAll accepts the argument PROVIDER, or none.
func oneProviderOrAll(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError("%s takes at most one PROVIDER, got %d", cmd.CommandPath(), len(args))
	}
	return nil
}

// withStore opens the store for work, and closes it afterwards.
func (a *app) withStore(ctx context.Context, work func(store *db.Store) error) error {
	store, err := a.openStore(ctx)
	if err != nil {
		return err
	}
	defer store.Close()
	return work(store)
}

// withService opens the store for what is done to mailboxes in work.
func (a *app) withService(ctx context.Context, work func(mailboxes *provider.Service) error) error {
	return a.withStore(ctx, func(store *db.Store) error { return work(a.service(store)) })
}

// service does to mailboxes what commands ask for. Without a store it tells what
// can be told without.
func (a *app) service(store *db.Store) *provider.Service {
	return provider.New(provider.Options{Store: store, Box: a.box(), LookupEnv: os.LookupEnv, Log: a.log, Version: version(), Connect: a.openNATS})
}

// onProvider completes a command about one mailbox: work gets the one that a
// person means, and what they named it by.
func (a *app) onProvider(cmd *cobra.Command, work func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, named string) error) *cobra.Command {
	var tenant string
	cmd.Args = oneProvider
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withProvider(cmd.Context(), args[0], tenant, func(store *db.Store, p *db.Provider) error {
			return work(cmd.Context(), a.service(store), p, args[0])
		})
	}
	tenantFlag(cmd, &tenant)
	return cmd
}

// withProvider opens the store and finds the provider that a person means, for
// work.
func (a *app) withProvider(ctx context.Context, nameOrID, tenant string, work func(store *db.Store, p *db.Provider) error) error {
	return a.withStore(ctx, func(store *db.Store) error {
		p, err := findProvider(ctx, store, nameOrID, tenant)
		if err != nil {
			return err
		}
		return work(store, p)
	})
}

// findProviders finds the providers that are named, or all.
func findProviders(ctx context.Context, store *db.Store, names []string, tenant string) ([]*db.Provider, error) {
	if len(names) == 0 {
		return store.ListProviders(ctx, tenant)
	}
	var list []*db.Provider
	for _, name := range names {
		p, err := findProvider(ctx, store, name, tenant)
		if err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, nil
}

// findProvider finds the provider that a person means.
func findProvider(ctx context.Context, store *db.Store, nameOrID, tenant string) (*db.Provider, error) {
	p, err := store.FindProvider(ctx, nameOrID, tenant)
	switch {
	case errors.Is(err, db.ErrAmbiguous):
		return nil, usageError("%w: `imapsync provider list` shows them", err)
	case errors.Is(err, db.ErrNotFound):
		return nil, usageError("%w: `imapsync provider list` shows what there is", err)
	}
	return p, err
}

// notef tells a person something that is not the output.
func (a *app) notef(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }

// actor is the operating system's user.
func actor() string {
	if u, err := user.Current(); err == nil && u.Username != "" {
		return u.Username
	}
	return "uid " + strconv.Itoa(os.Getuid())
}

func ref(p *db.Provider) db.Ref { return db.Ref{Tenant: p.Tenant, ID: p.ID} }

func newProviderPause(a *app) *cobra.Command {
	return a.onProvider(&cobra.Command{
		Use: "pause PROVIDER", Short: "Stop reading a mailbox; mail waits on the server",
		Long:    "Stop reading a mailbox until it is resumed. A pass under way is not ended. Mail that arrives\nmeanwhile waits on the server." + exitCodesPointer,
		Example: "  imapsync provider pause support",
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, named string) error {
		if err := mailboxes.Pause(ctx, p, actor()); err != nil {
			return err
		}
		a.notef("paused %s: `imapsync provider resume %s` goes on", p.Name, shellQuote(named))
		return nil
	})
}

func newProviderResume(a *app) *cobra.Command {
	var noTest bool
	cmd := a.onProvider(&cobra.Command{
		Use: "resume PROVIDER", Short: "Go on reading a paused mailbox",
		Long: "Go on reading a mailbox that was paused, by a person or because its login was refused: the\n" +
			"connection is tested first, then failures are forgotten and the provider is due at once." + exitCodesPointer,
		Example: "  imapsync provider resume support",
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, _ string) error {
		if err := mailboxes.Resume(ctx, p, !noTest, actor()); err != nil {
			return testedError(err, "still as it was: --no-test resumes it anyway")
		}
		a.notef("resumed %s: the next run reads it", p.Name)
		return nil
	})
	cmd.Flags().BoolVar(&noTest, "no-test", false, "do not test the connection first")
	return cmd
}

func newProviderRm(a *app) *cobra.Command {
	var yes bool
	cmd := a.onProvider(&cobra.Command{
		Use: "rm PROVIDER", Aliases: []string{"remove"}, Short: "Remove a mailbox and all that is kept about it",
		Long: "Remove a provider with its password, its place in every folder, its ledger and its history.\n" +
			"The mail on the server and the events on the stream stay. Added again it has a new id and\n" +
			"begins anew as --start says, so mail may be published again under the new id." + exitCodesPointer,
		Example: "  imapsync provider rm support --yes",
	}, func(ctx context.Context, mailboxes *provider.Service, p *db.Provider, _ string) error {
		if !yes {
			if err := a.confirm(ctx, p); err != nil {
				return err
			}
		}
		if err := mailboxes.Remove(ctx, p, actor()); err != nil {
			return err
		}
		a.notef("removed %s (%s)", p.Name, p.Mailbox)
		return nil
	})
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

// confirm asks for the provider's name on a terminal.
func (a *app) confirm(ctx context.Context, p *db.Provider) error {
	if !isTerminal(a.stdin) {
		return usageError("provider rm: removes %s (%s) and all that is kept about it: confirm with --yes", p.Name, p.Mailbox)
	}
	fmt.Fprintf(a.stderr, "Removes %s (%s) and all that is kept about it. Type its name to confirm: ", p.Name, p.Mailbox)
	line, _, err := a.readLine(ctx) // nothing typed: not confirmed
	if line = strings.TrimSpace(line); err == nil && line != p.Name {
		return usageError("provider rm: %q is not %q: nothing was removed", line, p.Name)
	}
	return err
}
