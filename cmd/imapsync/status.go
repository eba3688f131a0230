package main

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/oauth"
)

// providerStatus is one provider as `status -o json` shows it.
type providerStatus struct {
	Tenant              string         `json:"tenant"`
	ID                  string         `json:"id"`
	Name                string         `json:"name"`
	Mailbox             string         `json:"mailbox"`
	Status              string         `json:"status"` // connected, disconnected, error, configuring
	Active              bool           `json:"active"`
	PausedAt            *time.Time     `json:"pausedAt,omitempty"`
	PauseReason         string         `json:"pauseReason,omitempty"`
	LastSuccessAt       *time.Time     `json:"lastSuccessAt,omitempty"`
	LastAttemptAt       *time.Time     `json:"lastAttemptAt,omitempty"`
	NextAttemptAt       *time.Time     `json:"nextAttemptAt,omitempty"`
	ConsecutiveFailures int            `json:"consecutiveFailures"`
	ErrorCode           string         `json:"errorCode,omitempty"`
	Error               string         `json:"error,omitempty"`
	Published           int64          `json:"published"`
	Duplicates          int64          `json:"duplicates"`
	Quarantined         int64          `json:"quarantined"`
	Folders             []folderStatus `json:"folders"`

	Credentials []oauth.Forecast `json:"credentials,omitempty"` // when they will die
}

type folderStatus struct {
	Name         string     `json:"name"`
	UIDValidity  uint32     `json:"uidValidity"`
	SettledUID   uint32     `json:"settledUid"`
	LastUID      uint32     `json:"lastUid"`
	Backlog      int64      `json:"backlog"`
	LastSearchAt *time.Time `json:"lastSearchAt,omitempty"`
	Error        string     `json:"error,omitempty"`
}

func newStatus(a *app) *cobra.Command {
	var tenant, output string
	cmd := &cobra.Command{
		Use: "status [PROVIDER]", Short: "Show where every provider and folder stands",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError("status takes at most one PROVIDER, got %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if tenant != "" {
				id, err := uuid.Parse(tenant)
				if err != nil {
					return usageError("--tenant %q: not a UUID", tenant)
				}
				tenant = id.String()
			}
			store, err := a.openStore(cmd.Context())
			if err != nil {
				return err
			}
			defer store.Close()
			list, err := statusOf(cmd.Context(), store, args, tenant)
			if err != nil {
				return err
			}
			if output == "json" {
				return a.printJSON(list)
			}
			return a.printStatus(list)
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "only of this tenant")
	outputFlag(cmd, &output)
	return cmd
}

func statusOf(ctx context.Context, store *db.Store, args []string, tenant string) ([]providerStatus, error) {
	var providers []*db.Provider
	if len(args) == 1 {
		p, err := store.FindProvider(ctx, args[0], tenant)
		if err != nil {
			return nil, findError(err)
		}
		providers = []*db.Provider{p}
	} else {
		var err error
		if providers, err = store.ListProviders(ctx, tenant); err != nil {
			return nil, err
		}
	}
	list := []providerStatus{}
	for _, p := range providers {
		s := providerStatus{
			Tenant: p.Tenant, ID: p.ID, Name: p.Name, Mailbox: p.Mailbox, Status: p.Status, Active: p.Active,
			PausedAt: p.PausedAt, PauseReason: p.PauseReason, LastSuccessAt: p.LastSuccessAt,
			LastAttemptAt: p.LastAttemptAt, NextAttemptAt: p.NextAttemptAt, ConsecutiveFailures: p.ConsecutiveFailures,
			ErrorCode: p.LastErrorCode, Error: p.LastError, Published: p.Published, Duplicates: p.Duplicates,
			Quarantined: p.Quarantined, Folders: []folderStatus{},
			Credentials: forecasts(p, time.Now()),
		}
		states, err := store.FolderStates(ctx, db.Ref{Tenant: p.Tenant, ID: p.ID})
		if err != nil {
			return nil, err
		}
		for _, st := range states {
			s.Folders = append(s.Folders, folderStatus{
				Name: st.Folder, UIDValidity: st.UIDValidity, SettledUID: st.SettledUID, LastUID: st.LastUID,
				Backlog: st.Backlog, LastSearchAt: st.LastSearchAt, Error: cmp.Or(st.PausedReason, st.LastError),
			})
		}
		slices.SortFunc(s.Folders, func(a, b folderStatus) int { return cmp.Compare(a.Name, b.Name) })
		list = append(list, s)
	}
	return list, nil
}

func (a *app) printStatus(list []providerStatus) error {
	now := time.Now()
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "PROVIDER\tSTATE\tLAST SUCCESS\tNEXT ATTEMPT\tPUBLISHED\tQUARANTINED\tBACKLOG\tERROR")
	for _, s := range list {
		var backlog int64
		for _, f := range s.Folders {
			backlog += f.Backlog
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", s.Name, s.state(), ago(s.LastSuccessAt, now), s.next(now),
			s.Published, s.Quarantined, backlog, oneLine(s.Error))
		for _, c := range s.Credentials {
			if c.Warn {
				fmt.Fprintf(w, "  %s\n", credentialWarning(c, now))
			}
		}
		for _, f := range s.Folders {
			fmt.Fprintf(w, "  %s\tuid %d\t%s\t\t\t\t%d\t%s\n", f.Name, f.LastUID, ago(f.LastSearchAt, now), f.Backlog, oneLine(f.Error))
		}
	}
	if len(list) == 0 {
		fmt.Fprintln(w, "no provider yet: `imapsync provider add --help`")
	}
	return w.Flush()
}

func (s providerStatus) state() string {
	switch {
	case s.PausedAt != nil:
		return "paused (" + s.PauseReason + ")"
	case !s.Active:
		return "inactive"
	}
	return s.Status
}

func (s providerStatus) next(now time.Time) string {
	switch {
	case s.PausedAt != nil || !s.Active:
		return "-"
	case s.NextAttemptAt == nil || !s.NextAttemptAt.After(now):
		return "due"
	}
	return "in " + s.NextAttemptAt.Sub(now).Round(time.Second).String()
}

// credentialWarning is one line about a credential that is about to die.
func credentialWarning(c oauth.Forecast, now time.Time) string {
	what := strings.ReplaceAll(c.Credential, "_", " ")
	switch {
	case c.EndsAt == nil:
		return fmt.Sprintf("%s: %s: %s", what, c.Rule, c.Fix)
	case c.EndsAt.Before(now):
		return fmt.Sprintf("%s: ended %s (%s): %s", what, c.EndsAt.Format(time.DateOnly), c.Rule, c.Fix)
	}
	return fmt.Sprintf("%s: ends %s, in %d days (%s): %s", what, c.EndsAt.Format(time.DateOnly), int(c.EndsAt.Sub(now).Hours()/24), c.Rule, c.Fix)
}

// ago writes a time as a distance from now.
func ago(t *time.Time, now time.Time) string {
	if t == nil {
		return "never"
	}
	return now.Sub(*t).Round(time.Second).String() + " ago"
}
