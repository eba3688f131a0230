package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jmoiron/sqlx"
)

// Fence is the right to write for one provider: it holds as long as no other
// run has raised run_epoch. The lock keeps runs apart, the fence keeps a run
// that lost its lock without noticing from doing harm.
type Fence struct {
	Tenant     string `db:"tenant"`
	ProviderID string `db:"provider_id"`
	RunID      string `db:"run_id"`
	Epoch      int64  `db:"run_epoch"`
}

func (s *Store) bumpEpoch(ctx context.Context, tenant, providerID, runID string, now time.Time) (Fence, error) {
	f := Fence{Tenant: tenant, ProviderID: providerID, RunID: runID}
	err := s.pool.GetContext(ctx, &f.Epoch, `
		INSERT INTO imap_sync_state (tenant, provider_id, run_epoch, run_id, last_attempt_at)
		VALUES ($1, $2, 1, $3, $4)
		ON CONFLICT (tenant, provider_id) DO UPDATE
		SET run_epoch = imap_sync_state.run_epoch + 1, run_id = $3, last_attempt_at = $4
		RETURNING run_epoch`, tenant, providerID, runID, now)
	return f, wrap(err)
}

// hold locks the provider's state row for the transaction, or returns
// ErrFenced. A plain SELECT would lose the race with a run that takes over.
func (f Fence) hold(ctx context.Context, tx *sqlx.Tx) error {
	var epochs []int64
	err := tx.SelectContext(ctx, &epochs, `
		SELECT run_epoch FROM imap_sync_state
		WHERE tenant = $1 AND provider_id = $2 AND run_epoch = $3 FOR UPDATE`, f.Tenant, f.ProviderID, f.Epoch)
	if err != nil {
		return fmt.Errorf("hold fence: %w", err)
	}
	if len(epochs) == 0 {
		return ErrFenced
	}
	return nil
}

// behind runs fn in a transaction behind the fence.
func (s *Store) behind(ctx context.Context, fence Fence, fn func(tx *sqlx.Tx) error) error {
	return s.inTx(ctx, func(tx *sqlx.Tx) error {
		if err := fence.hold(ctx, tx); err != nil {
			return err
		}
		return fn(tx)
	})
}
