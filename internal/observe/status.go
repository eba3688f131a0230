package observe

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"imapsync/db"
)

// Provider is where one provider stands, as JSON has it.
type Provider struct {
	Tenant              string     `json:"tenant"`
	ID                  string     `json:"id"`
	Name                string     `json:"name"`
	Mailbox             string     `json:"mailbox"`
	Status              string     `json:"status"` // connected, disconnected, error, configuring
	Active              bool       `json:"active"`
	PausedAt            *time.Time `json:"pausedAt,omitempty"`
	PauseReason         string     `json:"pauseReason,omitempty"`
	LastSuccessAt       *time.Time `json:"lastSuccessAt,omitempty"`
	LastAttemptAt       *time.Time `json:"lastAttemptAt,omitempty"`
	NextAttemptAt       *time.Time `json:"nextAttemptAt,omitempty"`
	ConsecutiveFailures int        `json:"consecutiveFailures"`
	ErrorCode           string     `json:"errorCode,omitempty"`
	Error               string     `json:"error,omitempty"`
	Published           int64      `json:"published"`
	Duplicates          int64      `json:"duplicates"`
	Quarantined         int64      `json:"quarantined"`
	LostEvents          int64      `json:"lostEvents"`  // published, and not on the stream any more
	Republished         int64      `json:"republished"` // of those that were, in all
	Folders             []Folder   `json:"folders"`

	Source *db.Provider `json:"-"`
}

// Folder is where a folder of it stands.
type Folder struct {
	Name         string     `json:"name"`
	UIDValidity  uint64     `json:"uidValidity"`
	SettledUID   uint32     `json:"settledUid"`
	LastUID      uint32     `json:"lastUid"`
	Backlog      int64      `json:"backlog"`
	Retrying     int64      `json:"retrying"` // in quarantine, to be tried again
	Dead         int64      `json:"dead"`     // in quarantine, waiting for a person
	Unseen       int64      `json:"unseen"`   // counted by EXISTS, and not shown by the server
	LastSearchAt *time.Time `json:"lastSearchAt,omitempty"`
	OldestAt     *time.Time `json:"oldestUndeliveredAt,omitempty"` // when it was first seen, or earlier
	Held         int64      `json:"held"`                          // old and unknown, waiting for a person
	Unstable     bool       `json:"unstable"`                      // UIDVALIDITY never holds: read slowly, by headers
	Error        string     `json:"error,omitempty"`

	Source db.FolderStatus `json:"-"`
}

// Status asks where providers, of all tenants or of one, and their folders stand.
func Status(ctx context.Context, store *db.Store, providers []*db.Provider, tenant string) ([]Provider, error) {
	id := ""
	if len(providers) == 1 {
		tenant, id = providers[0].Tenant, providers[0].ID
	}
	folders, err := store.FolderStatuses(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	byProvider := map[db.Ref][]db.FolderStatus{}
	for _, f := range folders {
		ref := db.Ref{Tenant: f.Tenant, ID: f.ProviderID}
		byProvider[ref] = append(byProvider[ref], f)
	}
	list := []Provider{}
	for _, p := range providers {
		s := Provider{
			Tenant: p.Tenant, ID: p.ID, Name: p.Name, Mailbox: p.Mailbox, Status: p.Status, Active: p.Active,
			PausedAt: p.PausedAt, PauseReason: p.PauseReason, LastSuccessAt: p.LastSuccessAt,
			LastAttemptAt: p.LastAttemptAt, NextAttemptAt: p.NextAttemptAt, ConsecutiveFailures: p.ConsecutiveFailures,
			ErrorCode: p.LastErrorCode, Error: p.LastError, Published: p.Published, Duplicates: p.Duplicates,
			Quarantined: p.Quarantined, LostEvents: p.LostEvents, Republished: p.Republished, Folders: []Folder{}, Source: p,
		}
		for _, f := range byProvider[db.Ref{Tenant: p.Tenant, ID: p.ID}] {
			f.Searched(p)
			s.Folders = append(s.Folders, Folder{
				Name: f.Folder, UIDValidity: f.UIDValidity, SettledUID: f.SettledUID, LastUID: f.LastUID, Backlog: f.Backlog,
				Retrying: f.Retrying, Dead: f.Dead, LastSearchAt: f.LastSearchAt, OldestAt: f.Oldest(),
				Unseen: f.Surplus, Held: f.Held, Unstable: f.Unstable, Error: cmp.Or(f.LastError, unseen(f.Surplus)), Source: f,
			})
		}
		list = append(list, s)
	}
	return list, nil
}

// unseen says of a folder that the server counts more messages in it than it shows.
func unseen(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("EXISTS counts %d messages that the server does not show", n)
}
