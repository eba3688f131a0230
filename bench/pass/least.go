package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"io"
	"os"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
	"imapsync/publish"
)

const (
	leastName     = "FETCH, publish, commit: no parsing"
	leastBlobName = "FETCH, blobs, publish, commit: no parsing"

	leastCommand = "least" // the argument by which this program is that client
	leastCommits = 40
	leastEvent   = 8 << 10   // bytes of a mail in its event, which holds no attachments
	leastChunk   = 128 << 10 // as object stores of other clients have them
	leastTenant  = "00000000-0000-4000-8000-000000000000"
)

// leastOptions are what that client's process is told, as JSON.
type leastOptions struct {
	Address, User, CAFile string
	NATS, Database        string
	Mails                 int
	Blobs                 bool
}

// least is a client that does the least by which no mail is lost or doubled: it
// reads all mail by one FETCH, publishes the beginning of each unparsed under
// the headers that we use, waits until it is stored, and writes a row for it. It
// looks nothing up and takes no lock. What it takes besides raw FETCH is what
// the broker and the database take on this machine, whoever asks. It is a
// process of its own, as the product is.
func (s *servers) least(name, user string, want int, blobs bool) contender {
	return contender{name: name, run: func(ctx context.Context) (sample, error) {
		self, err := os.Executable()
		if err != nil {
			return sample{}, err
		}
		if err := s.emptyBroker(ctx); err != nil {
			return sample{}, err
		}
		database, url, err := s.database(ctx)
		if err != nil {
			return sample{}, err
		}
		options, err := json.Marshal(leastOptions{
			Address: hostPort(s.dovecot.Host, s.dovecot.TLSPort), User: user, CAFile: s.dovecot.CAFile,
			NATS: s.nats.URL(), Database: url, Mails: want, Blobs: blobs,
		})
		if err != nil {
			return sample{}, err
		}
		got, _, err := process(ctx, nil, nil, self, leastCommand, string(options))
		if err != nil {
			return got, err
		}
		if err := s.published(ctx, want); err != nil {
			return got, err
		}
		return got, s.postgres.DropDatabase(ctx, database)
	}}
}

// onWay is a mail that is with the broker: its row, once all of it is stored.
type onWay struct {
	ledgerRow
	event  jetstream.PubAckFuture
	chunks []jetstream.PubAckFuture
}

// runLeast reads and publishes; beside it, what is stored is committed.
func runLeast(ctx context.Context, options string) (err error) {
	var o leastOptions
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		return err
	}
	ca, err := os.ReadFile(o.CAFile)
	if err != nil {
		return err
	}
	nc, err := nats.Connect(o.NATS)
	if err != nil {
		return err
	}
	defer nc.Close()
	events, err := newWindow(nc, 512, leastEvent)
	if err != nil {
		return err
	}
	if _, err := publish.EnsureStream(ctx, events.js, publish.MakeOptions{}); err != nil {
		return err
	}
	chunks, err := newWindow(nc, 64, leastChunk)
	if err != nil {
		return err
	}
	if o.Blobs {
		if _, err := publish.OpenBlobs(ctx, nc, publish.BlobOptions{Create: true}); err != nil {
			return err
		}
	}
	pool, err := sql.Open("postgres", o.Database)
	if err != nil {
		return err
	}
	defer pool.Close()

	batches, committed := make(chan []onWay, leastCommits), make(chan error, 1)
	go func() { committed <- commitLeast(ctx, pool, batches) }()
	defer func() {
		close(batches)
		err = errors.Join(err, <-committed)
	}()
	var batch []onWay
	left, each := o.Mails, (o.Mails+leastCommits-1)/leastCommits
	return fetch(o.Address, o.User, ca, 1, o.Mails, func(uid int64, mail io.Reader, size int64) error {
		m := onWay{ledgerRow: newLedgerRow(uid, size)}
		head := events.take()
		n, err := io.ReadFull(mail, head[:min(size, leastEvent)])
		if err != nil {
			return err
		}
		if o.Blobs {
			m.chunks, err = putLeast(chunks, m.key, head[:n], mail, size)
		} else {
			_, err = io.Copy(io.Discard, mail)
		}
		if err != nil {
			return err
		}
		m.event, err = events.publish(event.Subject(leastTenant, leastTenant, m.key), head[:n], nats.Header{
			jetstream.MsgIDHeader:               {leastTenant + "." + leastTenant + "." + m.key},
			jetstream.ExpectedLastSubjSeqHeader: {"0"},
			jetstream.ExpectedStreamHeader:      {event.StreamName},
		})
		if err != nil {
			return err
		}
		batch = append(batch, m)
		if left--; left == 0 || len(batch) == each {
			batches <- batch
			batch = nil
		}
		return nil
	})
}

// putLeast stores a mail as chunks, and three quarters of each again where it
// has an attachment: base64 decoded is that much.
func putLeast(w *window, key string, head []byte, rest io.Reader, size int64) ([]jetstream.PubAckFuture, error) {
	var acks []jetstream.PubAckFuture
	mail, attached := io.MultiReader(bytes.NewReader(head), rest), size > attachedAbove
	put := func(what string, data []byte) error {
		ack, err := w.publish("$O.imap-mail.C."+what+"-"+key, data, nil)
		acks = append(acks, ack)
		return err
	}
	for size > 0 {
		raw := w.take()
		n, err := io.ReadFull(mail, raw[:min(size, leastChunk)])
		if err != nil {
			return nil, err
		}
		size -= int64(n)
		if attached {
			decoded := w.take()
			if err := put("file", decoded[:copy(decoded, raw[:n*3/4])]); err != nil {
				return nil, err
			}
		}
		if err := put("raw", raw[:n]); err != nil {
			return nil, err
		}
	}
	return acks, nil
}

// commitLeast writes each batch as soon as all of it is stored.
func commitLeast(ctx context.Context, pool *sql.DB, batches <-chan []onWay) error {
	for batch := range batches {
		rows := make([]ledgerRow, len(batch))
		for i, m := range batch {
			for _, chunk := range m.chunks {
				if _, err := stored(chunk); err != nil {
					return err
				}
			}
			ack, err := stored(m.event)
			if err != nil {
				return err
			}
			rows[i] = m.ledgerRow
			rows[i].seq = int64(ack.Sequence)
		}
		if err := commitRows(ctx, pool, rows); err != nil {
			return err
		}
	}
	return nil
}
