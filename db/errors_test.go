package db

import (
	"context"
	"errors"
	"io"
	"net/url"
	"testing"

	"github.com/lib/pq"
	"github.com/lib/pq/pqerror"

	"imapsync/internal/devenv"
)

// What a SQLSTATE means decides whether a run says "unreachable", "it takes no
// writes" or "a bug", and none is taken for another.
func TestSQLStates(t *testing.T) {
	all := []error{ErrUnreachable, ErrReadOnly, ErrServer, ErrStatement, ErrConfig}
	for code, want := range map[string]error{
		"08006": ErrUnreachable, "08P01": ErrUnreachable, "53100": ErrUnreachable, "53300": ErrUnreachable, "57014": ErrUnreachable,
		"57P01": ErrUnreachable, "57P03": ErrUnreachable, "25P03": ErrUnreachable,
		"25006": ErrReadOnly,
		"40001": ErrServer, "40P01": ErrServer, "55P03": ErrServer, "58030": ErrServer, "XX001": ErrServer,
		"28P01": ErrConfig, "3D000": ErrConfig, "42501": ErrConfig,
		"22P02": ErrStatement, "22021": ErrStatement, "42601": ErrStatement, "42P01": ErrStatement, "42703": ErrStatement,
		"23505": ErrStatement, "0A000": ErrStatement, "25001": ErrStatement,
	} {
		got := wrap(t.Context(), &pq.Error{Code: pqerror.Code(code)})
		for _, one := range all {
			if errors.Is(got, one) != errors.Is(one, want) {
				t.Errorf("%s: %v, want %v", code, got, want)
			}
		}
	}
	if err := wrap(t.Context(), io.ErrUnexpectedEOF); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a connection that broke: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := wrap(ended, &pq.Error{Code: "57014"}); errors.Is(err, ErrUnreachable) || !errors.Is(err, context.Canceled) {
		t.Errorf("a query that we cancelled: %v", err)
	}
}

// A certificate or a file that is wrong is a setting, not a server that is away.
func TestUnusableCertificate(t *testing.T) {
	u, err := url.Parse(devenv.TestPostgres(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("sslmode", "verify-full")
	q.Set("sslrootcert", "/nowhere/ca.pem")
	u.RawQuery = q.Encode()
	if _, err := Open(t.Context(), Options{URL: u.String()}); !errors.Is(err, ErrConfig) {
		t.Errorf("%v, want %v", err, ErrConfig)
	}
}

func TestCheckWrites(t *testing.T) {
	address := devenv.TestPostgres(t, migrate)
	if err := openStore(t, Options{URL: address}).CheckWrites(t.Context()); err != nil {
		t.Errorf("a database that takes writes: %v", err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("default_transaction_read_only", "on")
	u.RawQuery = q.Encode()
	if err := openStore(t, Options{URL: u.String()}).CheckWrites(t.Context()); !errors.Is(err, ErrReadOnly) {
		t.Errorf("a database that takes none: %v", err)
	}
	if err := openStore(t, Options{URL: devenv.TestPostgres(t, nil)}).CheckWrites(t.Context()); !errors.Is(err, ErrStatement) {
		t.Errorf("a table that is not there: %v", err)
	}
}

// TestTransactionOnReadOnly: a transaction that meets a database without writes says so,
// and writes nothing.
func TestTransactionOnReadOnly(t *testing.T) {
	t.Parallel()
	server, address := devenv.TestPostgresServer(t, migrate, devenv.PostgresReplicated())
	standby, err := server.StartStandby(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { standby.Close() })
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.Host = standby.Addr()
	addresses := map[string]string{"a standby": u.String()}
	u.Host = server.Addr()
	q := u.Query()
	q.Set("default_transaction_read_only", "on")
	u.RawQuery = q.Encode()
	addresses["default_transaction_read_only"] = u.String()
	for name, address := range addresses {
		err := openStore(t, Options{URL: address}).inTx(t.Context(), func(tx *txn) error {
			tx.exec(t.Context(), "write", `DELETE FROM imap_secrets`)
			return tx.err
		})
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s: %v, want %v", name, err, ErrReadOnly)
		}
	}
}
