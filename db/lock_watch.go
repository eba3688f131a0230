package db

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"fmt"

	"github.com/lib/pq"
)

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
