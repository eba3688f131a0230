package db

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/lib/pq"
)

// Watchable is a provider that a watching process may take.
type Watchable struct {
	Ref
	ChangedAt     time.Time  `db:"changed_at"` // of its settings
	NextAttemptAt *time.Time `db:"next_attempt_at"`
}

// ProvidersWatchable lists the providers that are active and not paused, due or
// not.
func (s *Store) ProvidersWatchable(ctx context.Context, f DueFilter) ([]Watchable, error) {
	var list []Watchable
	err := s.pool.SelectContext(ctx, &list, `
		SELECT p.tenant, p.id, greatest(c.updated_at, o.updated_at) AS changed_at, s.next_attempt_at
		FROM email_providers p
		JOIN imap_email_provider_config c ON c.tenant = p.tenant AND c.email_provider_id = p.id
		LEFT JOIN imap_provider_options o ON o.tenant = p.tenant AND o.provider_id = p.id
		LEFT JOIN imap_sync_state s ON s.tenant = p.tenant AND s.provider_id = p.id
		WHERE p.provider_type = 'imap' AND p.is_active AND c.auto_process_emails AND p.inbound_paused_at IS NULL
			AND ($1 = '' OR p.tenant::text = $1)
			AND ($3 <= 1 OR ('x' || substr(md5(p.id::text), 1, 8))::bit(32)::bigint % $3 = $2)
		ORDER BY p.tenant, p.id`, f.Tenant, f.ShardIndex, max(f.ShardCount, 1))
	if err != nil {
		return nil, fmt.Errorf("providers to watch: %w", wrap(err))
	}
	return list, nil
}

// TryWatch takes the watch locks of those providers that no process watches.
// It keeps watching processes apart and is held for as long as one watches; the
// lock of a pass is another, so that repair commands are not kept out.
func (l *Locks) TryWatch(ctx context.Context, refs []Ref) (map[Ref]*Lock, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s, err := l.live(ctx)
	if err != nil {
		return nil, err
	}
	byKey := make(map[int64]Ref, len(refs))
	keys := make([]int64, 0, len(refs))
	for _, ref := range refs {
		key := watchKey(ref)
		if s.held[key] {
			continue // Postgres would grant it a second time to the same session
		}
		byKey[key] = ref
		keys = append(keys, key)
	}
	got, err := tryLocks(context.WithoutCancel(ctx), s.conn, keys)
	if err != nil {
		l.drop(s)
		return nil, fmt.Errorf("watch locks: %w", wrap(err))
	}
	locks := make(map[Ref]*Lock, len(got))
	for _, key := range got {
		s.held[key] = true
		locks[byKey[key]] = &Lock{key: key, locks: l, session: s}
	}
	return locks, nil
}

// watchKey is the first 8 bytes of SHA-256("imapsync-watch/<tenant>/<provider>").
func watchKey(ref Ref) int64 {
	sum := sha256.Sum256([]byte("imapsync-watch/" + ref.Tenant + "/" + ref.ID))
	return int64(binary.BigEndian.Uint64(sum[:8]))
}

// tryLocks takes of the locks those that are free, and returns their keys.
func tryLocks(ctx context.Context, conn *sql.Conn, keys []int64) ([]int64, error) {
	rows, err := conn.QueryContext(ctx, `
		SELECT key FROM (SELECT key, pg_try_advisory_lock(key) AS ok FROM unnest($1::bigint[]) AS key) AS tried WHERE ok`,
		pq.Array(keys))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var got []int64
	for rows.Next() {
		var key int64
		if err := rows.Scan(&key); err != nil {
			return nil, err
		}
		got = append(got, key)
	}
	return got, rows.Err()
}
