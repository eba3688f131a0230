package db

import (
	"context"
	"time"

	"github.com/lib/pq"
)

// FolderState is the cursor of one folder. Every UID up to SettledUID is
// final; LastUID is the highest that was handled.
type FolderState struct {
	Folder       string        `db:"folder"`
	UIDValidity  uint64        `db:"uid_validity"`
	StartUID     uint32        `db:"start_uid"` // up to here nothing was to be published
	SettledUID   uint32        `db:"settled_uid"`
	LastUID      uint32        `db:"last_uid"`
	UIDNext      uint32        `db:"uid_next"`
	Backlog      int64         `db:"backlog"`   // messages seen on the server and not handled
	InFlight     pq.Int64Array `db:"in_flight"` // UIDs being handled; one that was killed before is in it several times
	ResyncSince  *time.Time    `db:"resync_since"`
	ResyncReason string        `db:"resync_reason"`
	ResyncCount  int           `db:"resync_count"`
	LastSearchAt *time.Time    `db:"last_search_at"`
	LastServedAt *time.Time    `db:"last_served_at"`
	LastError    string        `db:"last_error"`

	Account      string     `db:"account"`       // host, port and user name as one hash; "" in a row from before it was kept
	FirstLookAt  *time.Time `db:"first_look_at"` // when the folder was first read
	HorizonAt    *time.Time `db:"horizon_at"`    // what was handled before has left the ledger
	Held         int64      `db:"held"`          // unknown old messages that wait for a person
	OldLeft      int64      `db:"old_left"`      // so many more of them are published all the same; below zero: all
	RenumberedAt *time.Time `db:"renumbered_at"` // when the server last numbered the folder anew
	Unstable     bool       `db:"unstable"`      // UIDVALIDITY never holds: the folder is read by place, from the newest down
	SweepLeft    int64      `db:"sweep_left"`    // messages of such a folder below the place that it was read down to
	LowestUID    uint32     `db:"lowest_uid"`    // when the whole folder was last listed; 0: not known

	Exists       int64      `db:"messages"`      // messages in the folder, as last believed; -1: not known
	ShrunkAt     *time.Time `db:"shrunk_at"`     // when more than half of them were gone at once
	CountedAt    *time.Time `db:"counted_at"`    // when the whole folder was last listed
	GapSince     *time.Time `db:"gap_since"`     // when the lowest gap was first met
	GapLooks     int        `db:"gap_looks"`     // searches since that did not show it
	GapSessions  int        `db:"gap_sessions"`  // on so many connections
	Surplus      int64      `db:"surplus"`       // messages that EXISTS counts and no listing shows
	SurplusSince *time.Time `db:"surplus_since"` // since when it is that number
	SurplusLooks int        `db:"surplus_looks"`

	Unfetched pq.Int64Array `db:"unfetched"` // UIDs whose bodies the server did not give, which may be its own fault
}

// ResyncAccepted is the ResyncReason of a folder whose unknown messages a
// person wants published, however many they are.
const ResyncAccepted = "accepted"

// Open reports whether the folder has UIDs that are neither final nor handled,
// so that it must be searched even when the server reports nothing new.
func (f *FolderState) Open() bool {
	return f.SettledUID < f.LastUID || f.Backlog > 0 || len(f.InFlight) > 0 || f.ResyncSince != nil
}

// FolderStates loads the cursors of a provider by folder name. An element of
// in_flight that has more than the 32 bits of a UID is from a version that
// packed several into one: its first UID counts, the others are read again as if
// nothing had happened.
func (s *Store) FolderStates(ctx context.Context, ref Ref) (map[string]*FolderState, error) {
	list, err := selectAll[*FolderState](ctx, s, "folder states", `
		SELECT folder, uid_validity, greatest(start_uid, pruned_uid) AS start_uid, settled_uid, last_uid, uid_next,
			backlog, ARRAY(SELECT uid & 4294967295 FROM unnest(in_flight) uid) AS in_flight, resync_since,
			coalesce(resync_reason, '') AS resync_reason, resync_count,
			last_search_at, last_served_at, coalesce(last_error, '') AS last_error,
			account, first_look_at, horizon_at, held, old_left, renumbered_at, unstable, sweep_left, lowest_uid,
			messages, shrunk_at, counted_at, gap_since, gap_looks, gap_sessions, surplus, surplus_since, surplus_looks,
			unfetched
		FROM imap_folder_state WHERE tenant = $1 AND provider_id = $2 ORDER BY folder`, ref.Tenant, ref.ID)
	if err != nil {
		return nil, err
	}
	states := make(map[string]*FolderState, len(list))
	for _, f := range list {
		states[f.Folder] = f
	}
	return states, nil
}

// writeFolder stores the cursor. The caller holds the fence.
func writeFolder(ctx context.Context, tx *txn, fence Fence, f *FolderState) {
	row := struct {
		Fence
		FolderState
	}{fence, *f}
	row.LastError = Clean(f.LastError)
	tx.named(ctx, "write folder state", `
		INSERT INTO imap_folder_state (tenant, provider_id, folder, uid_validity, start_uid, settled_uid, last_uid,
			uid_next, backlog, in_flight, resync_since, resync_reason, resync_count,
			last_search_at, last_served_at, last_error, account, first_look_at, horizon_at, held, old_left, renumbered_at, unstable, sweep_left, lowest_uid,
			messages, shrunk_at, counted_at, gap_since, gap_looks, gap_sessions, surplus, surplus_since, surplus_looks, unfetched, backlog_since)
		VALUES (:tenant, :provider_id, :folder, :uid_validity, :start_uid, :settled_uid, :last_uid,
			:uid_next, :backlog, coalesce(CAST(:in_flight AS bigint[]), '{}'), :resync_since, nullif(:resync_reason, ''),
			:resync_count, :last_search_at, :last_served_at, nullif(:last_error, ''),
			:account, :first_look_at, :horizon_at, :held, :old_left, :renumbered_at, :unstable, :sweep_left, :lowest_uid,
			:messages, :shrunk_at, :counted_at, :gap_since, :gap_looks, :gap_sessions, :surplus, :surplus_since, :surplus_looks,
			coalesce(CAST(:unfetched AS bigint[]), '{}'),
			CASE WHEN CAST(:backlog AS bigint) > 0 THEN CAST(:last_search_at AS timestamptz) END)
		ON CONFLICT (tenant, provider_id, folder) DO UPDATE SET
			uid_validity = EXCLUDED.uid_validity, start_uid = EXCLUDED.start_uid, settled_uid = EXCLUDED.settled_uid,
			last_uid = EXCLUDED.last_uid, uid_next = EXCLUDED.uid_next, backlog = EXCLUDED.backlog,
			in_flight = EXCLUDED.in_flight, resync_since = EXCLUDED.resync_since,
			resync_reason = EXCLUDED.resync_reason, resync_count = EXCLUDED.resync_count,
			last_search_at = EXCLUDED.last_search_at,
			last_served_at = EXCLUDED.last_served_at, last_error = EXCLUDED.last_error,
			account = EXCLUDED.account, first_look_at = EXCLUDED.first_look_at, held = EXCLUDED.held,
			horizon_at = CASE WHEN imap_folder_state.account IN ('', EXCLUDED.account)
				THEN greatest(imap_folder_state.horizon_at, EXCLUDED.horizon_at) ELSE EXCLUDED.horizon_at END,
			old_left = EXCLUDED.old_left, renumbered_at = EXCLUDED.renumbered_at, unstable = EXCLUDED.unstable,
			sweep_left = EXCLUDED.sweep_left, lowest_uid = EXCLUDED.lowest_uid,
			messages = EXCLUDED.messages, shrunk_at = EXCLUDED.shrunk_at, counted_at = EXCLUDED.counted_at,
			gap_since = EXCLUDED.gap_since, gap_looks = EXCLUDED.gap_looks, gap_sessions = EXCLUDED.gap_sessions,
			surplus = EXCLUDED.surplus, surplus_since = EXCLUDED.surplus_since, surplus_looks = EXCLUDED.surplus_looks,
			unfetched = EXCLUDED.unfetched,
			backlog_since = CASE WHEN EXCLUDED.backlog > 0
				THEN coalesce(imap_folder_state.backlog_since, EXCLUDED.backlog_since) END,
			pruned_uid = CASE WHEN imap_folder_state.uid_validity = EXCLUDED.uid_validity
				THEN imap_folder_state.pruned_uid ELSE 0 END`, row)
}

// SetFolder stores a cursor without ledger rows: a first look at a folder, an
// attempt about to begin, an error. It returns ErrFenced when another run has
// the provider.
func (s *Store) SetFolder(ctx context.Context, fence Fence, f *FolderState) error {
	return s.behind(ctx, fence, func(tx *txn) error {
		writeFolder(ctx, tx, fence, f)
		return tx.err
	})
}

// NoteFolders stores since when a provider is read with the folders and the account that
// are named. It returns ErrFenced when another run has the provider.
func (s *Store) NoteFolders(ctx context.Context, fence Fence, named string, at time.Time) error {
	return s.behind(ctx, fence, func(tx *txn) error {
		tx.exec(ctx, "note folders", `UPDATE imap_sync_state SET folders_named = $3, folders_at = $4
			WHERE tenant = $1 AND provider_id = $2`, fence.Tenant, fence.ProviderID, named, at)
		return tx.err
	})
}

// ClearInFlight takes back that messages of a folder are being handled, notes which
// the server did not give, and leaves its cursor as it is: a commit whose answer was
// lost may have moved it. It returns ErrFenced when another run has the provider.
func (s *Store) ClearInFlight(ctx context.Context, fence Fence, folder string, unfetched pq.Int64Array) error {
	return s.behind(ctx, fence, func(tx *txn) error {
		tx.exec(ctx, "clear in flight", `
			UPDATE imap_folder_state SET in_flight = '{}', unfetched = coalesce($4::bigint[], '{}')
			WHERE tenant = $1 AND provider_id = $2 AND folder = $3`,
			fence.Tenant, fence.ProviderID, folder, unfetched)
		return tx.err
	})
}

// FolderStatus is where one folder stands, for people and metrics.
type FolderStatus struct {
	Tenant       string     `db:"tenant"`
	ProviderID   string     `db:"provider_id"`
	Folder       string     `db:"folder"`
	UIDValidity  uint64     `db:"uid_validity"`
	SettledUID   uint32     `db:"settled_uid"`
	LastUID      uint32     `db:"last_uid"`
	Backlog      int64      `db:"backlog"`       // messages seen and not handled
	BacklogSince *time.Time `db:"backlog_since"` // since when there are any
	LastSearchAt *time.Time `db:"last_search_at"`
	ResyncCount  int        `db:"resync_count"` // changes of UIDVALIDITY in a row
	Held         int64      `db:"held"`         // unknown old messages that wait for a person
	Unstable     bool       `db:"unstable"`     // UIDVALIDITY never holds
	LastError    string     `db:"last_error"`
	Retrying     int64      `db:"retrying"` // in quarantine, to be tried again
	RetryingFrom *time.Time `db:"retrying_from"`
	Dead         int64      `db:"dead"`    // in quarantine, waiting for a person
	Surplus      int64      `db:"surplus"` // messages that EXISTS counts and no listing shows
}

// Oldest is since when a message of the folder is known and not delivered, nil
// when there is none. One that waits for a person does not count.
func (f *FolderStatus) Oldest() *time.Time {
	if f.BacklogSince != nil && (f.RetryingFrom == nil || f.BacklogSince.Before(*f.RetryingFrom)) {
		return f.BacklogSince
	}
	return f.RetryingFrom
}

// Searched counts a pass that went well as a search: where the server reported
// nothing new, the folder was not opened and its row not written.
func (f *FolderStatus) Searched(p *Provider) {
	if f.LastSearchAt != nil && p.LastSuccessAt != nil && f.LastError == "" && p.LastSuccessAt.After(*f.LastSearchAt) {
		f.LastSearchAt = p.LastSuccessAt
	}
}

// FolderStatuses tells where the folders stand of one provider, or of all in a
// tenant, or of all when both are empty: by provider, then by name.
func (s *Store) FolderStatuses(ctx context.Context, tenant, providerID string) ([]FolderStatus, error) {
	return selectAll[FolderStatus](ctx, s, "folder statuses", `
		SELECT f.tenant, f.provider_id, f.folder, f.uid_validity, f.settled_uid, f.last_uid, f.backlog, f.backlog_since,
			f.last_search_at, f.resync_count, f.surplus, f.held, f.unstable, coalesce(f.last_error, '') AS last_error,
			coalesce(q.retrying, 0) AS retrying, q.retrying_from, coalesce(q.dead, 0) AS dead
		FROM imap_folder_state f
		LEFT JOIN (
			SELECT tenant, provider_id, folder, count(*) FILTER (WHERE state IN ('retry', 'released')) AS retrying,
				min(created_at) FILTER (WHERE state IN ('retry', 'released')) AS retrying_from,
				count(*) FILTER (WHERE state = 'dead') AS dead
			FROM imap_quarantine
			WHERE ($1 = '' OR tenant = nullif($1, '')::uuid) AND ($2 = '' OR provider_id = nullif($2, '')::uuid)
			GROUP BY tenant, provider_id, folder
		) q ON q.tenant = f.tenant AND q.provider_id = f.provider_id AND q.folder = f.folder
		WHERE ($1 = '' OR f.tenant = nullif($1, '')::uuid) AND ($2 = '' OR f.provider_id = nullif($2, '')::uuid)
		ORDER BY f.tenant, f.provider_id, f.folder`, tenant, providerID)
}
