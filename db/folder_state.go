package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
	"github.com/lib/pq"
)

// FolderState is the cursor of one folder. Every UID up to SettledUID is
// final; LastUID is the highest that was handled.
type FolderState struct {
	Folder       string        `db:"folder"`
	UIDValidity  uint32        `db:"uid_validity"`
	StartUID     uint32        `db:"start_uid"` // up to here nothing was to be published
	SettledUID   uint32        `db:"settled_uid"`
	LastUID      uint32        `db:"last_uid"`
	UIDNext      uint32        `db:"uid_next"`
	Backlog      int64         `db:"backlog"`    // messages seen on the server and not handled
	GapPasses    int           `db:"gap_passes"` // searches completed since SettledUID last moved
	InFlight     pq.Int64Array `db:"in_flight"`  // UIDs being handled; one that was killed before is in it several times
	ResyncSince  *time.Time    `db:"resync_since"`
	ResyncReason string        `db:"resync_reason"`
	ResyncCount  int           `db:"resync_count"`
	PausedReason string        `db:"paused_reason"`
	LastSearchAt *time.Time    `db:"last_search_at"`
	LastServedAt *time.Time    `db:"last_served_at"`
	LastError    string        `db:"last_error"`
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
	var list []*FolderState
	err := s.pool.SelectContext(ctx, &list, `
		SELECT folder, uid_validity, greatest(start_uid, pruned_uid) AS start_uid, settled_uid, last_uid, uid_next,
			backlog, gap_passes, ARRAY(SELECT uid & 4294967295 FROM unnest(in_flight) uid) AS in_flight, resync_since,
			coalesce(resync_reason, '') AS resync_reason, resync_count, coalesce(paused_reason, '') AS paused_reason,
			last_search_at, last_served_at, coalesce(last_error, '') AS last_error
		FROM imap_folder_state WHERE tenant = $1 AND provider_id = $2 ORDER BY folder`, ref.Tenant, ref.ID)
	if err != nil {
		return nil, fmt.Errorf("folder states: %w", wrap(err))
	}
	states := make(map[string]*FolderState, len(list))
	for _, f := range list {
		states[f.Folder] = f
	}
	return states, nil
}

// writeFolder stores the cursor. The caller holds the fence.
func writeFolder(ctx context.Context, tx *sqlx.Tx, fence Fence, f *FolderState) error {
	row := struct {
		Fence
		FolderState
	}{fence, *f}
	row.LastError = Clean(f.LastError)
	_, err := tx.NamedExecContext(ctx, `
		INSERT INTO imap_folder_state (tenant, provider_id, folder, uid_validity, start_uid, settled_uid, last_uid,
			uid_next, backlog, gap_passes, in_flight, resync_since, resync_reason, resync_count, paused_reason,
			last_search_at, last_served_at, last_error, backlog_since)
		VALUES (:tenant, :provider_id, :folder, :uid_validity, :start_uid, :settled_uid, :last_uid,
			:uid_next, :backlog, :gap_passes, coalesce(CAST(:in_flight AS bigint[]), '{}'), :resync_since, nullif(:resync_reason, ''),
			:resync_count, nullif(:paused_reason, ''), :last_search_at, :last_served_at, nullif(:last_error, ''),
			CASE WHEN CAST(:backlog AS bigint) > 0 THEN CAST(:last_search_at AS timestamptz) END)
		ON CONFLICT (tenant, provider_id, folder) DO UPDATE SET
			uid_validity = EXCLUDED.uid_validity, start_uid = EXCLUDED.start_uid, settled_uid = EXCLUDED.settled_uid,
			last_uid = EXCLUDED.last_uid, uid_next = EXCLUDED.uid_next, backlog = EXCLUDED.backlog,
			gap_passes = EXCLUDED.gap_passes, in_flight = EXCLUDED.in_flight, resync_since = EXCLUDED.resync_since,
			resync_reason = EXCLUDED.resync_reason, resync_count = EXCLUDED.resync_count,
			paused_reason = EXCLUDED.paused_reason, last_search_at = EXCLUDED.last_search_at,
			last_served_at = EXCLUDED.last_served_at, last_error = EXCLUDED.last_error,
			backlog_since = CASE WHEN EXCLUDED.backlog > 0
				THEN coalesce(imap_folder_state.backlog_since, EXCLUDED.backlog_since) END,
			pruned_uid = CASE WHEN imap_folder_state.uid_validity = EXCLUDED.uid_validity
				THEN imap_folder_state.pruned_uid ELSE 0 END`, row)
	if err != nil {
		return fmt.Errorf("write folder state: %w", err)
	}
	return nil
}

// SetFolder stores a cursor without ledger rows: a first look at a folder, an
// attempt about to begin, an error. It returns ErrFenced when another run has
// the provider.
func (s *Store) SetFolder(ctx context.Context, fence Fence, f *FolderState) error {
	return s.behind(ctx, fence, func(tx *sqlx.Tx) error { return writeFolder(ctx, tx, fence, f) })
}

// ClearInFlight takes back that messages of a folder are being handled, and leaves
// its cursor as it is: a commit whose answer was lost may have moved it. It
// returns ErrFenced when another run has the provider.
func (s *Store) ClearInFlight(ctx context.Context, fence Fence, folder string) error {
	return s.behind(ctx, fence, func(tx *sqlx.Tx) error {
		_, err := tx.ExecContext(ctx, `
			UPDATE imap_folder_state SET in_flight = '{}' WHERE tenant = $1 AND provider_id = $2 AND folder = $3`,
			fence.Tenant, fence.ProviderID, folder)
		if err != nil {
			return fmt.Errorf("clear in flight: %w", err)
		}
		return nil
	})
}

// pastValidity and above, in the ledger, is the numbering of a server that
// changed it without saying so; UIDVALIDITY has 32 bits.
const pastValidity = 1 << 32

// RenumberFolder stores the new cursor of a folder whose messages got new UIDs,
// with an audit entry. Quarantined messages are dead under their old UIDs: they
// are found again under the new ones. sameValidity says that the UIDs changed
// under the UIDVALIDITY they had, so that the ledger's rows must step aside.
func (s *Store) RenumberFolder(ctx context.Context, fence Fence, f *FolderState, sameValidity bool, audit Audit) error {
	return s.behind(ctx, fence, func(tx *sqlx.Tx) error {
		if sameValidity {
			// The rows keep what was published; no UID of the new numbering meets them.
			_, err := tx.ExecContext(ctx, `
				UPDATE imap_messages SET uid_validity = $4
				WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND uid_validity = $5`,
				fence.Tenant, fence.ProviderID, f.Folder, pastValidity+fence.Epoch, f.UIDValidity)
			if err != nil {
				return fmt.Errorf("put the old numbering aside: %w", err)
			}
		}
		_, err := tx.ExecContext(ctx, `
			UPDATE imap_quarantine SET state = 'dead', error_code = 'renumbered', next_attempt_at = NULL, updated_at = $4,
				error = 'the server has numbered the folder anew; found again, the message goes out by its new UID. Before: ' || left(error, 1000)
			WHERE tenant = $1 AND provider_id = $2 AND folder = $3 AND state IN ('retry', 'released')
				AND (uid_validity <> $5 OR $6)`,
			fence.Tenant, fence.ProviderID, f.Folder, audit.At, f.UIDValidity, sameValidity)
		if err != nil {
			return fmt.Errorf("give up old uids: %w", err)
		}
		if err := writeFolder(ctx, tx, fence, f); err != nil {
			return err
		}
		return insertAudit(ctx, tx, audit)
	})
}
