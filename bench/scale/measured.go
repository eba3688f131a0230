package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/devenv"
	"imapsync/publish"
)

// known is what was measured on 2026-11-30, on two cores: the first four by
// `go run ./pass` (RESULTS.md: providers, mixed with blobs, inflight), the
// counts by PostgreSQL's own statistics over runs of one and of two providers,
// the sizes by -measure.
func known() measured {
	return measured{
		PassCPU: 0.34 / 200, MailCPU: 2.23 / 2000, PassesASecond: 1000 / 1.970, ProcessBytes: 80e6,
		Transactions: 9, RowsWritten: 2, SubjectBytes: 197, LedgerBytes: 712, ConnectionsEach: 5,
	}
}

func measureAll(ctx context.Context, w io.Writer, n int) error {
	subject, err := subjectBytes(ctx, n)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "NATS: %d subjects take %.0f B of memory each\n", n, subject)
	row, err := ledgerBytes(ctx, n)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "PostgreSQL: %d rows of the ledger take %.0f B of disk each, with their indexes\n", n, row)
	return nil
}

// subjectBytes is how much the memory of a server grows by an event of its
// own subject, the bytes of the event being on disk.
func subjectBytes(ctx context.Context, n int) (_ float64, err error) {
	broker, err := devenv.StartNATS(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, broker.Close()) }()
	nc, err := nats.Connect(broker.URL())
	if err != nil {
		return 0, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithPublishAsyncMaxPending(500))
	if err != nil {
		return 0, err
	}
	if _, err := publish.EnsureStream(ctx, js, publish.MakeOptions{}); err != nil {
		return 0, err
	}
	before := heap()
	for i := range n {
		subject := event.Subject("00000000-0000-4000-8000-000000000000", fmt.Sprintf("648edc4d-8eb8-47b8-b465-%012x", i/1000), fmt.Sprintf("%032x", i*7919))
		if _, err := js.PublishAsync(subject, []byte("{}")); err != nil {
			return 0, err
		}
	}
	<-js.PublishAsyncComplete()
	return (heap() - before) / float64(n), nil
}

// heap is the memory in use, what is garbage left out.
func heap() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// ledgerBytes is what a row of the ledger takes on disk.
func ledgerBytes(ctx context.Context, n int) (_ float64, err error) {
	server, err := devenv.StartPostgres(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	url, err := server.CreateDatabase(ctx, "scale", "")
	if err != nil {
		return 0, err
	}
	if _, err := db.Migrate(ctx, db.Options{URL: url}, slog.New(slog.DiscardHandler)); err != nil {
		return 0, err
	}
	pool, err := sql.Open("postgres", url)
	if err != nil {
		return 0, err
	}
	defer pool.Close()
	_, err = pool.ExecContext(ctx, `
		INSERT INTO imap_messages (tenant, provider_id, folder, uid_validity, uid, event_key, message_id, fingerprint,
			outcome, stream_seq, size, processed_at)
		SELECT '00000000-0000-4000-8000-000000000000', md5((i / 7300)::text)::uuid, 'INBOX', 1795488872, i, md5(i::text),
			md5(i::text) || '@mail.example.com', md5(i::text) || md5('f' || i), 'published', i, 75000, now()
		FROM generate_series(1, $1) AS i`, n)
	if err != nil {
		return 0, err
	}
	var size float64
	err = pool.QueryRowContext(ctx, "SELECT pg_total_relation_size('imap_messages')").Scan(&size)
	return size / float64(n), err
}
