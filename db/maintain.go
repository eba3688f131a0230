package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Retention says how long history is kept. Zero keeps it for ever.
type Retention struct {
	Runs   time.Duration // rows of imap_runs
	Ledger time.Duration // rows of imap_messages
}

// How long history is kept unless it is said otherwise. The stream forgets an
// event after 14 days, and then the ledger alone tells that unread mail of a
// folder that was numbered anew has been published: hence a year.
const (
	KeepRuns   = 90 * 24 * time.Hour
	KeepLedger = 365 * 24 * time.Hour
	// MinKeepLedger is the age of the stream and a margin.
	MinKeepLedger = 30 * 24 * time.Hour
)

// Maintenance is what Maintain did.
type Maintenance struct {
	Busy       bool     `json:"busy"` // another process is at it; nothing was done
	Created    []string `json:"created"`
	Dropped    []string `json:"dropped"`
	RunRows    int64    `json:"runRows"` // deleted
	LedgerRows int64    `json:"ledgerRows"`
}

const (
	// maintainKey is the advisory lock of maintenance.
	maintainKey = 0x696d6170_6d61696e // "imapmain"
	// partitionsAhead is how many months have a partition before they begin.
	partitionsAhead = 2
	// pruneBatch rows of the ledger are deleted in one transaction.
	pruneBatch = 5000
)

// maintenanceDue reports whether maintenance was last done before a time.
func (s *Store) maintenanceDue(ctx context.Context, before time.Time) (bool, error) {
	done, err := selectOne[time.Time](ctx, s, "maintenance due", `SELECT done_at FROM imap_maintenance WHERE what = 'all'`)
	if errors.Is(err, sql.ErrNoRows) {
		return true, nil
	}
	return err == nil && done.Before(before), err
}

// MaintainWhenDue sees to maintenance once a day. It returns nil when it is not
// due.
func (s *Store) MaintainWhenDue(ctx context.Context, now time.Time) (*Maintenance, error) {
	due, err := s.maintenanceDue(ctx, now.AddDate(0, 0, -1))
	if err != nil || !due {
		return nil, err
	}
	m, err := s.Maintain(ctx, now, Retention{Runs: KeepRuns, Ledger: KeepLedger})
	return &m, err
}

// Maintain makes the partitions of the months ahead and gives up history that is
// old enough. Every step is a transaction that takes the advisory lock, so that
// two processes do not work at the same time, and that can be cut off anywhere.
func (s *Store) Maintain(ctx context.Context, now time.Time, keep Retention) (m Maintenance, err error) {
	m.Created, m.Dropped = []string{}, []string{}
	step := func(fn func(tx *txn) error) error {
		return s.inTx(ctx, func(tx *txn) error {
			if err := tx.GetContext(ctx, &m.Busy, `SELECT NOT pg_try_advisory_xact_lock($1)`, int64(maintainKey)); err != nil || m.Busy {
				return err
			}
			if _, err := tx.ExecContext(ctx, `SET LOCAL lock_timeout = '5s'`); err != nil {
				return err
			}
			return fn(tx)
		})
	}
	if err := step(func(tx *txn) error { return partitions(ctx, tx, now, keep.Runs, &m) }); err != nil || m.Busy {
		return m, err
	}
	for keep.Ledger > 0 {
		var n int64
		if err := step(func(tx *txn) (err error) { n, err = pruneLedger(ctx, tx, now.Add(-keep.Ledger)); return err }); err != nil || m.Busy {
			return m, err
		}
		if m.LedgerRows += n; n < pruneBatch {
			break
		}
	}
	return m, step(func(tx *txn) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO imap_maintenance (what, done_at) VALUES ('all', $1)
			ON CONFLICT (what) DO UPDATE SET done_at = EXCLUDED.done_at`, now)
		return err
	})
}

// partitionName is the name of a month's partition, as package time lays it out.
const partitionName = "imap_runs_200601"

// partitions makes those of the coming months and drops those that hold nothing
// young enough to be kept. What stands in the default partition is deleted.
func partitions(ctx context.Context, tx *txn, now time.Time, keep time.Duration, m *Maintenance) error {
	var have []string
	err := tx.SelectContext(ctx, &have, `SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
		WHERE i.inhparent = 'imap_runs'::regclass`)
	if err != nil {
		return fmt.Errorf("list partitions: %w", err)
	}
	month := time.Date(now.UTC().Year(), now.UTC().Month(), 1, 0, 0, 0, 0, time.UTC)
	for i := range partitionsAhead + 1 {
		from, to := month.AddDate(0, i, 0), month.AddDate(0, i+1, 0)
		name := from.Format(partitionName)
		if slices.Contains(have, name) {
			continue
		}
		// Rows of the month that stand in the default partition would be in the
		// way: then it goes on there, and they are deleted when they are old.
		var inTheWay bool
		if err := tx.GetContext(ctx, &inTheWay, `SELECT EXISTS (SELECT FROM imap_runs_default WHERE started_at >= $1 AND started_at < $2)`, from, to); err != nil {
			return fmt.Errorf("look at the default partition: %w", err)
		}
		if inTheWay {
			continue
		}
		tx.exec(ctx, "make partition "+name, fmt.Sprintf(`CREATE TABLE %s PARTITION OF imap_runs FOR VALUES FROM ('%s') TO ('%s')`,
			name, from.Format(time.RFC3339), to.Format(time.RFC3339)))
		if tx.err != nil {
			return tx.err
		}
		m.Created = append(m.Created, name)
	}
	if keep <= 0 {
		return nil
	}
	cutoff := now.Add(-keep)
	for _, name := range have {
		from, err := time.Parse(partitionName, name)
		if err != nil || from.AddDate(0, 1, 0).After(cutoff) {
			continue // the default partition, or one that is young
		}
		tx.exec(ctx, "drop partition "+name, `DROP TABLE `+name)
		m.Dropped = append(m.Dropped, name)
	}
	m.RunRows = tx.exec(ctx, "delete old runs", `DELETE FROM imap_runs_default WHERE started_at < $1`, cutoff)
	return tx.err
}

// pruneLedger gives up old rows, lowest UID first. It keeps what the cursor has not
// settled, what is held or in quarantine, and what the server may still show: all from
// the lowest UID on that it showed when the folder was last listed, for mail that is
// numbered anew is known by its row alone. What was numbered otherwise goes with its
// age: what the server still had has moved to the new numbering. It notes how far it
// came, so that mail that shows up again is neither missing nor new.
func pruneLedger(ctx context.Context, tx *txn, cutoff time.Time) (int64, error) {
	var n int64
	err := tx.GetContext(ctx, &n, `
		WITH old AS (
			SELECT m.tenant, m.provider_id, m.folder, m.uid_validity, m.uid, m.uid_validity = f.uid_validity AS present
			FROM imap_messages m
			JOIN imap_folder_state f ON f.tenant = m.tenant AND f.provider_id = m.provider_id AND f.folder = m.folder
			WHERE m.processed_at < $1 AND m.outcome NOT IN ('quarantined', 'held') AND f.resync_since IS NULL
				AND (m.uid_validity <> f.uid_validity OR m.uid <= f.settled_uid AND m.uid < f.lowest_uid)
				AND NOT EXISTS (SELECT FROM imap_quarantine q WHERE q.tenant = m.tenant AND q.provider_id = m.provider_id
					AND q.folder = m.folder AND q.uid_validity = m.uid_validity AND q.uid = m.uid)
			ORDER BY m.tenant, m.provider_id, m.folder, m.uid_validity, m.uid
			LIMIT $2
		), gone AS (
			DELETE FROM imap_messages m USING old
			WHERE m.tenant = old.tenant AND m.provider_id = old.provider_id AND m.folder = old.folder
				AND m.uid_validity = old.uid_validity AND m.uid = old.uid
			RETURNING m.tenant, m.provider_id, m.folder, m.processed_at, CASE WHEN old.present THEN m.uid ELSE 0 END AS uid
		), far AS (
			UPDATE imap_folder_state f SET pruned_uid = greatest(f.pruned_uid, g.uid), horizon_at = greatest(f.horizon_at, g.processed_at)
			FROM (SELECT tenant, provider_id, folder, max(uid) AS uid, max(processed_at) AS processed_at FROM gone GROUP BY 1, 2, 3) g
			WHERE f.tenant = g.tenant AND f.provider_id = g.provider_id AND f.folder = g.folder
		)
		SELECT count(*) FROM gone`, cutoff, pruneBatch)
	if err != nil {
		return 0, fmt.Errorf("prune ledger: %w", err)
	}
	return n, nil
}
