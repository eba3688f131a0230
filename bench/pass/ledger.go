package main

import (
	"context"
	"database/sql"
	"fmt"

	_ "github.com/lib/pq"
)

// fillLedger writes rows of mail read long ago: nine in ten of other folders
// and years, one in ten of other providers.
func fillLedger(ctx context.Context, url string, rows int) error {
	if rows == 0 {
		return nil
	}
	pool, err := sql.Open("postgres", url)
	if err != nil {
		return err
	}
	defer pool.Close()
	for _, statement := range []string{
		`INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, uid, event_key, message_id, outcome, stream_seq, size, processed_at)
		SELECT p.tenant, CASE WHEN n % 10 = 0 THEN md5((n % 1000)::text)::uuid ELSE p.id END, 'Archive' || n % 20, 1, n, md5(n::text),
			'<' || n || '@mail.example.org>', 'published', n, 5000, now() - n * interval '1 second'
		FROM email_providers p, generate_series(1, $1::bigint) n`,
		`ANALYZE imap_messages`,
		`CHECKPOINT`,
	} {
		var args []any
		if statement[0] == 'I' {
			args = append(args, rows)
		}
		if _, err := pool.ExecContext(ctx, statement, args...); err != nil {
			return fmt.Errorf("fill the ledger: %w", err)
		}
	}
	return nil
}
