package main

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strconv"

	"github.com/lib/pq"
)

// ledgerRow is a mail as the client that does the least enters it.
type ledgerRow struct {
	uid, size, seq int64
	key            string // as long as an event key
}

func newLedgerRow(uid, size int64) ledgerRow {
	sum := sha256.Sum256(strconv.AppendInt(nil, uid, 10))
	return ledgerRow{uid: uid, size: size, key: hex.EncodeToString(sum[:16])}
}

// commitRows writes rows in one transaction, with what the indexes want.
func commitRows(ctx context.Context, pool *sql.DB, rows []ledgerRow) error {
	n := len(rows)
	uids, sizes, seqs, keys := make([]int64, n), make([]int64, n), make([]int64, n), make([]string, n)
	for i, r := range rows {
		uids[i], sizes[i], seqs[i], keys[i] = r.uid, r.size, r.seq, r.key
	}
	_, err := pool.ExecContext(ctx, `
		INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, uid, event_key, message_id, fingerprint,
			outcome, stream_seq, size, processed_at)
		SELECT $1::uuid, $1::uuid, 'INBOX', 1, m.uid, m.key, '<' || m.key || '@mail.example.org>', m.key || m.key,
			'published', m.seq, m.size, now()
		FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::bigint[]) AS m(uid, key, seq, size)`,
		leastTenant, pq.Array(uids), pq.Array(keys), pq.Array(seqs), pq.Array(sizes))
	if err != nil {
		return fmt.Errorf("write ledger: %w", err)
	}
	return nil
}

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
