package db

import (
	"errors"
	"testing"

	"github.com/lib/pq"

	"imapsync/internal/devenv"
)

// A client that falls silent in a transaction must not hold its rows for ever.
func TestTransactionsAreBound(t *testing.T) {
	store, err := Open(t.Context(), Options{URL: devenv.TestPostgres(t, nil), MaxConns: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var within, after string
	show := `SHOW idle_in_transaction_session_timeout`
	if err := store.inTx(t.Context(), func(tx *txn) error { return tx.GetContext(t.Context(), &within, show) }); err != nil {
		t.Fatal(err)
	}
	if err := store.pool.GetContext(t.Context(), &after, show); err != nil {
		t.Fatal(err)
	}
	if within != "10s" || after != "0" {
		t.Errorf("within the transaction %s, after it %s; want 10s and 0", within, after)
	}
	if err := wrap(&pq.Error{Code: "25P03"}); !errors.Is(err, ErrUnreachable) {
		t.Errorf("the end of such a transaction is %v, want ErrUnreachable", err)
	}
}
