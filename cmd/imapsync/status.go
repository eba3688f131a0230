package main

import (
	"cmp"
	"context"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"fmt"

	"github.com/spf13/cobra"

	"imapsync/db"
	"imapsync/internal/fault"
	"imapsync/provider"
	mailsync "imapsync/sync"
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

	Credentials []forecast `json:"credentials,omitempty"` // when they will die

	words string // Error in the words of the command line
}

type folderStatus struct {
	Name         string     `json:"name"`
	UIDValidity  uint32     `json:"uidValidity"`
	SettledUID   uint32     `json:"settledUid"`
	LastUID      uint32     `json:"lastUid"`
	Backlog      int64      `json:"backlog"`
	Retrying     int64      `json:"retrying"` // in quarantine, to be tried again
	Dead         int64      `json:"dead"`     // in quarantine, waiting for a person
	LastSearchAt *time.Time `json:"lastSearchAt,omitempty"`
	OldestAt     *time.Time `json:"oldestUndeliveredAt,omitempty"` // when it was first seen, or earlier
	Paused       bool       `json:"paused"`
	Error        string     `json:"error,omitempty"`

	words string // Error in the words of the command line
}

func newStatus(a *app) *cobra.Command {
	var tenant, output string
	cmd := &cobra.Command{
		Use: "status [PROVIDER]", Short: "Show where every provider and folder stands",
		Args: oneProviderOrAll,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withStore(cmd.Context(), func(store *db.Store) error {
				list, err := statusOf(cmd.Context(), store, args, tenant)
				if err != nil {
					return err
				}
				switch output {
				case "json":
					return a.printJSON(list)
				case "prometheus":
					return writeMetrics(a.stdout, metricsOf(list, time.Now()))
				}
				return a.printStatus(list)
			})
		},
	}
	tenantFlag(cmd, &tenant)
	outputFlag(cmd, &output, "prometheus")
	return cmd
}

func statusOf(ctx context.Context, store *db.Store, args []string, tenant string) ([]providerStatus, error) {
	providers, err := findProviders(ctx, store, args, tenant)
	if err != nil {
		return nil, err
	}
	byID := map[db.Ref]*db.Provider{}
	for _, p := range providers {
		byID[ref(p)] = p
	}
	byRef := map[db.Ref][]folderStatus{}
	folders, err := folderStatuses(ctx, store, providers, len(args) == 1, tenant)
	if err != nil {
		return nil, err
	}
	for i := range folders {
		f := &folders[i]
		ref := db.Ref{Tenant: f.Tenant, ID: f.ProviderID}
		told := cmp.Or(f.PausedReason, f.LastError)
		if p := byID[ref]; p != nil {
			f.Searched(p)
			if f.PausedReason != "" {
				paused := mailsync.PausedFolder(&db.FolderState{Folder: f.Folder, ResyncCount: f.ResyncCount, PausedReason: f.PausedReason})
				told = fault.Ended(told, find(p, paused).Say)
			}
		}
		byRef[ref] = append(byRef[ref], folderStatus{
			Name: f.Folder, UIDValidity: f.UIDValidity, SettledUID: f.SettledUID, LastUID: f.LastUID, Backlog: f.Backlog,
			Retrying: f.Retrying, Dead: f.Dead, LastSearchAt: f.LastSearchAt, OldestAt: f.Oldest(),
			Paused: f.PausedReason != "", Error: cmp.Or(f.PausedReason, f.LastError), words: told,
		})
	}
	list := []providerStatus{}
	for _, p := range providers {
		s := providerStatus{
			Tenant: p.Tenant, ID: p.ID, Name: p.Name, Mailbox: p.Mailbox, Status: p.Status, Active: p.Active,
			PausedAt: p.PausedAt, PauseReason: p.PauseReason, LastSuccessAt: p.LastSuccessAt,
			LastAttemptAt: p.LastAttemptAt, NextAttemptAt: p.NextAttemptAt, ConsecutiveFailures: p.ConsecutiveFailures,
			ErrorCode: p.LastErrorCode, Error: p.LastError, Published: p.Published, Duplicates: p.Duplicates,
			Quarantined: p.Quarantined, Folders: byRef[db.Ref{Tenant: p.Tenant, ID: p.ID}],
			Credentials: forecasts(p, time.Now()), words: storedError(p),
		}
		if s.Folders == nil {
			s.Folders = []folderStatus{}
		}
		list = append(list, s)
	}
	return list, nil
}

// folderStatuses asks for the folders of all providers at once.
func folderStatuses(ctx context.Context, store *db.Store, providers []*db.Provider, one bool, tenant string) ([]db.FolderStatus, error) {
	if one {
		return store.FolderStatuses(ctx, providers[0].Tenant, providers[0].ID)
	}
	return store.FolderStatuses(ctx, tenant, "")
}

func (a *app) printStatus(list []providerStatus) error {
	now := time.Now()
	paint := colours(isTerminal(a.stdout))
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	// A cell's colour is part of its width: every cell of a column has one, all
	// of the same length.
	fmt.Fprintf(w, "%s\t%s\tLAST SEARCH\tOLDEST UNDELIVERED\tNEXT ATTEMPT\tPUBLISHED\tQUARANTINED\tBACKLOG\tERROR\n",
		paint(plain, "PROVIDER"), paint(plain, "STATE"))
	for _, s := range list {
		var backlog, quarantined int64
		var oldest *time.Time
		for _, f := range s.Folders {
			backlog += f.Backlog
			quarantined += f.Retrying + f.Dead
			if f.OldestAt != nil && (oldest == nil || f.OldestAt.Before(*oldest)) {
				oldest = f.OldestAt
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", paint(bold, s.Name), paint(s.colour(), s.state()), ago(s.LastSuccessAt, now),
			age(oldest, now), s.next(now), s.Published, quarantined, backlog, provider.OneLine(s.words))
		for _, c := range s.Credentials {
			if c.Warn {
				fmt.Fprintf(w, "%s\n", paint(yellow, "  "+credentialWarning(c, now)))
			}
		}
		for _, f := range s.Folders {
			state, colour := fmt.Sprintf("uid %d", f.LastUID), plain
			if f.Paused {
				state, colour = "paused", yellow
			} else if f.Error != "" {
				colour = red
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t\t\t%d\t%d\t%s\n", paint(plain, "  "+f.Name), paint(colour, state), ago(f.LastSearchAt, now),
				age(f.OldestAt, now), f.Retrying+f.Dead, f.Backlog, provider.OneLine(f.words))
		}
	}
	if len(list) == 0 {
		fmt.Fprintln(w, noProvider)
	}
	return w.Flush()
}

// The colours of a terminal, each as long as the others.
const (
	plain  = "\x1b[00m"
	bold   = "\x1b[01m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
)

// colours paints text on a terminal and nowhere else.
func colours(terminal bool) func(colour, text string) string {
	if !terminal || os.Getenv("NO_COLOR") != "" {
		return func(_, text string) string { return text }
	}
	return func(colour, text string) string { return colour + text + plain }
}

func (s providerStatus) colour() string {
	switch {
	case s.PausedAt != nil || !s.Active:
		return yellow
	case s.Status == db.StatusError:
		return red
	case s.Status == db.StatusConnected:
		return green
	}
	return plain
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

// ago writes a time as a distance from now.
func ago(t *time.Time, now time.Time) string {
	if t == nil {
		return "never"
	}
	return now.Sub(*t).Round(time.Second).String() + " ago"
}
