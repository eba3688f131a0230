package db

import (
	"cmp"
	"context"
	"crypto/sha256"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lib/pq"

	"imapsync/internal/fault"
)

// keepAlive is how often the lock connection is asked whether it still lives.
const keepAlive = 5 * time.Second

// Locks holds the advisory locks of all providers in flight on one pinned
// connection, which is used for nothing else: a cancelled query would kill the
// session and its locks.
type Locks struct {
	store *Store

	mu      sync.Mutex // one statement at a time on the connection
	session *lockSession
	closed  bool
}

// lockSession is one life of the lock connection. When it dies every lock it
// held is gone, and lost is closed.
type lockSession struct {
	pool *sql.DB
	conn *sql.Conn
	held map[int64]bool
	lost chan struct{}
}

// Lock is one provider's lock together with its fence.
type Lock struct {
	Fence   Fence
	key     int64
	locks   *Locks
	session *lockSession
}

// OpenLocks connects. Without a URL of its own for locks it first makes sure
// that no pooler shares server sessions, and returns ErrPooler if one does.
func (s *Store) OpenLocks(ctx context.Context) (*Locks, error) {
	if s.opts.LockURL == "" {
		pooled, err := detectPooler(ctx, s.opts.URL)
		if err != nil {
			return nil, fmt.Errorf("look for a pooler: %w", err)
		}
		if pooled {
			return nil, fault.New(fault.Ours, "pooler", ErrPooler)
		}
	}
	l := &Locks{store: s}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.connect(ctx); err != nil {
		return nil, fmt.Errorf("lock connection: %w", err)
	}
	return l, nil
}

// connect opens a session and its keeper. The caller holds mu.
func (l *Locks) connect(ctx context.Context) error {
	pool, err := openPool(cmp.Or(l.store.opts.LockURL, l.store.opts.URL), 2*keepAlive)
	if err != nil {
		return err
	}
	pool.SetMaxOpenConns(1)
	conn, err := pool.Conn(ctx)
	if err != nil {
		pool.Close()
		return wrap(ctx, err)
	}
	s := &lockSession{pool: pool, conn: conn, held: map[int64]bool{}, lost: make(chan struct{})}
	// A node that vanished must not hold a mailbox until the server's default
	// keepalive of two hours finds out.
	_, err = conn.ExecContext(ctx, `SELECT set_config('tcp_keepalives_idle', '10', false),
		set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false),
		set_config('tcp_user_timeout', '20000', false)`)
	if err != nil {
		s.discard()
		return fmt.Errorf("set keepalives: %w", wrap(ctx, err))
	}
	l.session = s
	go l.keep(context.WithoutCancel(ctx), s) // a cancel would end the session
	return nil
}

// keep asks the session for a sign of life until it ends or dies.
func (l *Locks) keep(ctx context.Context, s *lockSession) {
	ticker := time.NewTicker(keepAlive)
	defer ticker.Stop()
	for {
		select {
		case <-s.lost:
			return
		case <-ticker.C:
		}
		l.mu.Lock()
		if l.session == s {
			// The deadline of the connection bounds it.
			if _, err := s.conn.ExecContext(ctx, "SELECT 1"); err != nil {
				l.drop()
			}
		}
		l.mu.Unlock()
	}
}

// drop gives the session up. The caller holds mu.
func (l *Locks) drop() {
	close(l.session.lost)
	l.session.discard()
	l.session = nil
}

// discard ends the connection for good: closing a pinned connection would put
// it, with its locks, back into the pool.
func (s *lockSession) discard() {
	_ = s.conn.Raw(func(any) error { return driver.ErrBadConn }) // ErrBadConn is the order to discard, not a fault
	_ = s.conn.Close()
	_ = s.pool.Close()
}

// Close ends the connection and with it every lock still held.
func (l *Locks) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.session != nil {
		l.drop()
	}
}

// TryLock takes the provider's lock without waiting and raises its run_epoch.
// ok is false when another run holds it.
func (l *Locks) TryLock(ctx context.Context, tenant, providerID, runID string, now time.Time) (lock *Lock, ok bool, err error) {
	key := lockKey("imapsync", tenant, providerID)
	got, err := l.take(ctx, []int64{key})
	if err != nil {
		return nil, false, fmt.Errorf("advisory lock: %w", err)
	}
	if lock = got[key]; lock == nil {
		return nil, false, nil
	}
	lock.Fence, err = l.store.bumpEpoch(ctx, tenant, providerID, runID, now)
	if err != nil {
		lock.Unlock()
		return nil, false, err
	}
	return lock, true, nil
}

// TryWatch takes the watch locks of those providers that no process watches.
// It keeps watching processes apart and is held for as long as one watches; the
// lock of a pass is another, so that repair commands are not kept out.
func (l *Locks) TryWatch(ctx context.Context, refs []Ref) (map[Ref]*Lock, error) {
	keys := make([]int64, len(refs))
	for i, ref := range refs {
		keys[i] = lockKey("imapsync-watch", ref.Tenant, ref.ID)
	}
	got, err := l.take(ctx, keys)
	if err != nil {
		return nil, fmt.Errorf("watch locks: %w", err)
	}
	locks := make(map[Ref]*Lock, len(got))
	for i, ref := range refs {
		if lock := got[keys[i]]; lock != nil {
			locks[ref] = lock
		}
	}
	return locks, nil
}

// take takes of the locks those that are free.
func (l *Locks) take(ctx context.Context, keys []int64) (map[int64]*Lock, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errors.New("locks are closed")
	}
	if l.session == nil { // it has died
		if err := l.connect(ctx); err != nil {
			return nil, fmt.Errorf("lock connection: %w", err)
		}
	}
	s := l.session
	// Postgres would grant those held a second time to the same session.
	keys = slices.DeleteFunc(slices.Clone(keys), func(key int64) bool { return s.held[key] })
	var got pq.Int64Array
	err := s.conn.QueryRowContext(context.WithoutCancel(ctx), `
		SELECT coalesce(array_agg(key) FILTER (WHERE ok), '{}')
		FROM (SELECT key, pg_try_advisory_lock(key) AS ok FROM unnest($1::bigint[]) AS key) AS tried`,
		pq.Int64Array(keys)).Scan(&got)
	if err != nil {
		l.drop()
		return nil, wrap(ctx, err)
	}
	locks := make(map[int64]*Lock, len(got))
	for _, key := range got {
		s.held[key] = true
		locks[key] = &Lock{key: key, locks: l, session: s}
	}
	return locks, nil
}

// Lost is closed when the connection that holds the lock has died: the pass
// must stop, another run may have the provider by now.
func (k *Lock) Lost() <-chan struct{} { return k.session.lost }

// Unlock gives the lock back. It is bounded by the connection's own deadline.
func (k *Lock) Unlock() {
	l := k.locks
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session != k.session {
		return // the locks went with the connection
	}
	delete(k.session.held, k.key)
	if _, err := k.session.conn.ExecContext(context.Background(), "SELECT pg_advisory_unlock($1)", k.key); err != nil {
		l.drop()
	}
}

// lockKey is the first 8 bytes of SHA-256("<kind>/<tenant>/<provider>").
func lockKey(kind, tenant, providerID string) int64 {
	sum := sha256.Sum256([]byte(kind + "/" + tenant + "/" + providerID))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

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
	epoch, err := selectOne[int64](ctx, s, "raise run epoch", `
		INSERT INTO imap_sync_state (tenant, provider_id, run_epoch, run_id, last_attempt_at)
		VALUES ($1, $2, 1, $3, $4)
		ON CONFLICT (tenant, provider_id) DO UPDATE
		SET run_epoch = imap_sync_state.run_epoch + 1, run_id = $3, last_attempt_at = $4
		RETURNING run_epoch`, tenant, providerID, runID, now)
	return Fence{Tenant: tenant, ProviderID: providerID, RunID: runID, Epoch: epoch}, err
}

// hold locks the provider's state row for the transaction, or returns
// ErrFenced. A plain SELECT would lose the race with a run that takes over. Who
// writes that row beside a pass does so before other rows of the provider: two
// that wait for each other would end as a deadlock.
func (f Fence) hold(ctx context.Context, tx *txn) error {
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
func (s *Store) behind(ctx context.Context, fence Fence, fn func(tx *txn) error) error {
	return s.inTx(ctx, func(tx *txn) error {
		if err := fence.hold(ctx, tx); err != nil {
			return err
		}
		return fn(tx)
	})
}
