package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/internal/observe"
	"imapsync/provider"
	mailsync "imapsync/sync"
)

// providerStatus is one provider as `status -o json` shows it.
type providerStatus struct {
	observe.Provider

	Credentials []forecast `json:"credentials,omitempty"` // when they will die
}

func newStatus(a *app) *cobra.Command {
	return a.onStore(&cobra.Command{
		Use: "status [PROVIDER]", Short: "Show where every provider and folder stands",
		Args: oneProviderOrAll,
	}, func(ctx context.Context, store *db.Store, args []string) error {
		providers, err := findProviders(ctx, store, args, a.tenant)
		if err != nil {
			return err
		}
		now := time.Now()
		status, err := observe.Status(ctx, store, providers, a.tenant)
		if err != nil {
			return err
		}
		if a.output == "prometheus" {
			return observe.Metrics(status, version(), now).Write(a.stdout)
		}
		list := []providerStatus{}
		for _, s := range status {
			list = append(list, providerStatus{s, forecasts(s.Source, now)})
		}
		if a.json() {
			return a.printJSON(list)
		}
		return a.printStatus(list, now)
	}, "prometheus")
}

func (a *app) printStatus(list []providerStatus, now time.Time) error {
	paint := colours(isTerminal(a.stdout))
	// A cell's colour is part of its width: every cell of a column has one, all
	// of the same length.
	t := newTable(a.stdout, paint(plain, "PROVIDER"), paint(plain, "STATE"), "LAST SEARCH", "OLDEST UNDELIVERED", "NEXT ATTEMPT",
		"PUBLISHED", "QUARANTINED", "BACKLOG", "ERROR")
	for _, s := range list {
		var backlog, quarantined, dead int64
		var oldest *time.Time
		for _, f := range s.Folders {
			backlog += f.Backlog
			quarantined, dead = quarantined+f.Retrying+f.Dead, dead+f.Dead
			if f.OldestAt != nil && (oldest == nil || f.OldestAt.Before(*oldest)) {
				oldest = f.OldestAt
			}
		}
		state, colour, next := s.state(now)
		t.row(paint(bold, s.Name), paint(colour, state), ago(s.LastSuccessAt, now), age(oldest, now), next,
			s.Published, quarantined, backlog, provider.OneLine(storedError(s.Source)))
		for _, step := range provider.LostSteps(s.Source) {
			t.note(paint(red, "  "+step.Text+": "+remedy(s.Source, step)))
		}
		if dead > 0 {
			t.note(paint(red, "  "+deadText(dead)+": imapsync quarantine list --provider "+s.ID+" --state dead"))
		}
		for _, c := range s.Credentials {
			if c.Warn {
				t.note(paint(yellow, "  "+credentialWarning(c, now)))
			}
		}
		for _, f := range s.Folders {
			state, colour := fmt.Sprintf("uid %d", f.LastUID), plain
			if f.Error != "" {
				colour = red
			} else if f.Held > 0 {
				state, colour = fmt.Sprintf("%d held", f.Held), yellow
			}
			t.row(paint(plain, "  "+f.Name), paint(colour, state), ago(f.LastSearchAt, now), age(f.OldestAt, now), "", "",
				f.Retrying+f.Dead, f.Backlog, provider.OneLine(folderError(s.Source, f)))
		}
	}
	if len(list) == 0 {
		t.row(noProvider)
	}
	return t.Flush()
}

// deadText says of mail in quarantine that it waits for a person.
func deadText(n int64) string {
	if n == 1 {
		return "1 mail could not be handled and waits for a person"
	}
	return fmt.Sprintf("%d mails could not be handled and wait for a person", n)
}

// folderError is what is wrong with a folder, or waits for a person in it.
func folderError(p *db.Provider, f observe.Folder) string {
	switch {
	case f.Error != "":
		return f.Error
	case f.Held > 0:
		held := mailsync.HeldMail(f.Name, f.Held)
		return fault.Ended(held.Error(), find(p, held).Say)
	case f.Unstable:
		return mailsync.ErrUnstable.Error()
	}
	return ""
}

// The colours of a terminal, each as long as the others.
const (
	plain  = "\x1b[00m"
	bold   = "\x1b[01m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
)

func colours(terminal bool) func(colour, text string) string {
	if !terminal || os.Getenv("NO_COLOR") != "" {
		return func(_, text string) string { return text }
	}
	return func(colour, text string) string { return colour + text + plain }
}

// state is that of a provider, its colour, and when it is read next.
func (s providerStatus) state(now time.Time) (state, colour, next string) {
	switch {
	case s.PausedAt != nil:
		return "paused (" + s.PauseReason + ")", yellow, "-"
	case !s.Active:
		return "inactive", yellow, "-"
	}
	next = "due"
	if s.NextAttemptAt != nil && s.NextAttemptAt.After(now) {
		next = "in " + s.NextAttemptAt.Sub(now).Round(time.Second).String()
	}
	return s.Status, cmp.Or(map[string]string{db.StatusError: red, db.StatusConnected: green}[s.Status], plain), next
}

func credentialWarning(c forecast, now time.Time) string {
	what := strings.ReplaceAll(c.Credential, "_", " ")
	switch {
	case c.EndsAt == nil:
		return fmt.Sprintf("%s: %s: %s", what, c.Rule, c.Fix)
	case c.EndsAt.Before(now):
		return fmt.Sprintf("%s: ended %s (%s): %s", what, c.EndsAt.Format(time.DateOnly), c.Rule, c.Fix)
	}
	return fmt.Sprintf("%s: ends %s, in %d days (%s): %s", what, c.EndsAt.Format(time.DateOnly), int(c.EndsAt.Sub(now).Hours()/24), c.Rule, c.Fix)
}

// age is how long ago something was that should not last.
func age(t *time.Time, now time.Time) string {
	if t == nil {
		return "-"
	}
	return now.Sub(*t).Round(time.Second).String()
}

func ago(t *time.Time, now time.Time) string {
	if t == nil {
		return "never"
	}
	return age(t, now) + " ago"
}

func (a *app) observer(store *db.Store) *observe.Observer {
	return &observe.Observer{Store: store, Log: a.log, Version: version()}
}

func newExporter(a *app) *cobra.Command {
	var listen string
	cmd := &cobra.Command{
		Use: "exporter", Short: "Serve metrics for Prometheus, read from Postgres", Args: noArgs,
		Long: "Serve metrics for Prometheus on /metrics, read from Postgres at every scrape: they\n" +
			"outlive the runs that made them. It has no authentication and shows mailbox\n" +
			"addresses: leave it on a private address.",
		Example: "  imapsync exporter --listen 127.0.0.1:9464",
		RunE: func(cmd *cobra.Command, _ []string) error {
			a.stays = true
			return a.withStore(cmd.Context(), func(store *db.Store) error {
				o := a.observer(store)
				o.Tenant = a.tenant
				ln, err := o.Listen(cmd.Context(), listen)
				if err != nil {
					return configError("--listen %s: %w", listen, err)
				}
				o.Serve(cmd.Context(), ln)
				return nil
			})
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9464", "address to listen on")
	a.tenantFlag(cmd)
	return cmd
}
