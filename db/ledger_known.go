package db

import (
	"context"
	"database/sql"
	"fmt"
)

// Known is a message of the provider that has been published.
type Known struct {
	EventKey  string `db:"event_key"`
	MessageID string `db:"message_id"`
}

// KnownMessages lists the published messages that have one of the event keys
// or one of the Message-IDs: a key that is known is a duplicate, a Message-ID
// under another key means that the sender reuses it.
func (s *Store) KnownMessages(ctx context.Context, ref Ref, keys, messageIDs []string) ([]Known, error) {
	tx, err := s.pool.BeginTxx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", wrap(err))
	}
	defer func() { _ = tx.Rollback() }() // it has written nothing
	var list []Known
	if _, err = tx.ExecContext(ctx, boundTx+"; "+byOrder); err == nil {
		err = tx.SelectContext(ctx, &list, knownMessages, ref.Tenant, ref.ID, texts(keys), texts(messageIDs))
	}
	if err != nil {
		return nil, fmt.Errorf("read ledger: %w", wrap(err))
	}
	return list, nil
}

const (
	// byOrder has the planner look up each text in the index that is in the order
	// of such texts, as the query asks for an order and nothing may be sorted.
	// Left to itself it has every row of the provider read, in whatever index
	// begins with the provider, as long as the statistics do not know of them.
	byOrder = `SET LOCAL enable_sort = off`

	knownMessages = `
		SELECT m.event_key, m.message_id FROM unnest($3::text[]) AS given(key), LATERAL (
			SELECT event_key, coalesce(message_id, '') AS message_id FROM imap_messages
			WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published'
				AND event_key BETWEEN given.key AND given.key
			ORDER BY event_key LIMIT 1) m
		UNION ALL
		SELECT m.event_key, m.message_id FROM unnest($4::text[]) AS given(id), LATERAL (
			SELECT event_key, message_id FROM imap_messages
			WHERE tenant = $1 AND provider_id = $2 AND outcome = 'published'
				AND message_id BETWEEN given.id AND given.id
			ORDER BY message_id LIMIT 1) m`
)
