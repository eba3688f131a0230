package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/provider"
)

func newProviderList(a *app) *cobra.Command {
	var tenant, output string
	cmd := &cobra.Command{
		Use: "list", Short: "List the mailboxes", Long: "List the mailboxes of all tenants, or of one." + exitCodesPointer,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withStore(cmd.Context(), func(store *db.Store) error {
				list, err := store.ListProviders(cmd.Context(), tenant)
				if err != nil {
					return err
				}
				if output != "json" {
					return a.printProviders(list)
				}
				views := []provider.View{}
				for _, p := range list {
					views = append(views, provider.View{Provider: p})
				}
				return a.printJSON(views)
			})
		},
	}
	tenantFlag(cmd, &tenant)
	outputFlag(cmd, &output)
	return cmd
}

// maxErrorRunes is how much of an error a table shows.
const maxErrorRunes = 60

func (a *app) printProviders(list []*db.Provider) error {
	if len(list) == 0 {
		a.notef(noProvider)
		return nil
	}
	now := time.Now()
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tID\tMAILBOX\tHOST\tSTATUS\tPAUSED\tLAST SYNC\tLAST ERROR")
	for _, p := range list {
		paused := "-"
		if p.PausedAt != nil {
			paused = cmp.Or(p.PauseReason, "yes")
		}
		message := []rune(provider.OneLine(cmp.Or(p.LastError, p.ErrorMessage)))
		if len(message) > maxErrorRunes {
			message = append(message[:maxErrorRunes], '…')
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, p.ID, p.Mailbox, p.Host, p.Status, paused,
			ago(p.LastSyncAt, now), string(message))
	}
	return w.Flush()
}

func newProviderShow(a *app) *cobra.Command {
	var output string
	cmd := a.onProvider(&cobra.Command{
		Use: "show PROVIDER", Short: "Show all settings and the state of a mailbox",
		Long: "Show all settings and the state of a mailbox. A password is never shown. Where its folders\n" +
			"stand is for `imapsync status`." + exitCodesPointer,
		Example: "  imapsync provider show support -o json",
	}, func(_ context.Context, _ *provider.Service, p *db.Provider, _ string) error {
		if output == "json" {
			return a.printJSON(provider.View{Provider: p})
		}
		return a.printProvider(p)
	})
	outputFlag(cmd, &output)
	return cmd
}

func (a *app) printProvider(p *db.Provider) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	row := func(name, value string) { fmt.Fprintf(w, "%s\t%s\n", name, value) }
	settings := func(ofOAuth bool) {
		for _, t := range provider.Settings() {
			switch {
			case t.OAuth != ofOAuth || t.NoFlag || t.Name == "port":
			case t.Name == "name":
				row("name", p.Name)
				row("id", p.ID)
				row("tenant", p.Tenant)
			case t.Name == "host":
				row("server", net.JoinHostPort(p.Host, strconv.Itoa(p.Port)))
			case t.Kind == provider.PEM && p.CAPEM != "":
				row(flagOf(t.Name), authority(p.CAPEM))
			default:
				row(flagOf(t.Name), t.Shown(&p.Settings))
			}
		}
	}
	settings(false)
	for _, r := range [][2]string{
		{"", ""}, {"status", p.Status}, {"active", strconv.FormatBool(p.Active)}, {"paused", pausedText(p)},
		{"created", moment(&p.CreatedAt)}, {"last sync", moment(p.LastSyncAt)}, {"last attempt", moment(p.LastAttemptAt)},
		{"last success", moment(p.LastSuccessAt)}, {"next attempt", nextAttempt(p)},
		{"failures in a row", strconv.Itoa(p.ConsecutiveFailures)}, {"login failures in a row", strconv.Itoa(p.AuthFailures)},
		{"last error", cmp.Or(lastError(p), "none")},
		{"published", strconv.FormatInt(p.Published, 10)}, {"duplicates", strconv.FormatInt(p.Duplicates, 10)},
		{"quarantined", strconv.FormatInt(p.Quarantined, 10)},
	} {
		row(r[0], r[1])
	}
	if p.AuthType == db.AuthOAuth2 {
		row("", "")
		settings(true)
		row("authorised", moment(p.AuthorisedAt))
		row("token expires", moment(p.TokenExpiresAt))
	}
	return w.Flush()
}

// lastError is why the last pass failed, in one line.
func lastError(p *db.Provider) string {
	return strings.TrimPrefix(p.LastErrorCode+": "+provider.OneLine(cmp.Or(storedError(p), p.ErrorMessage)), ": ")
}

// authority names the certificates of a PEM.
func authority(caPEM string) string {
	var names []string
	for rest := []byte(caPEM); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return cmp.Or(strings.Join(names, "; "), "of its own")
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			names = append(names, provider.OneLine(cert.Subject.String()))
		}
	}
}

func pausedText(p *db.Provider) string {
	if p.PausedAt == nil {
		return "no"
	}
	return fmt.Sprintf("since %s (%s)", moment(p.PausedAt), cmp.Or(p.PauseReason, "no reason given"))
}

func nextAttempt(p *db.Provider) string {
	if p.NextAttemptAt == nil {
		return "with the next run"
	}
	return moment(p.NextAttemptAt)
}

// moment writes a time, in UTC.
func moment(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format(time.RFC3339)
}
