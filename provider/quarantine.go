package provider

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/fault"
	mailsync "imapsync/sync"
)

// SetQuarantine moves a quarantined message to one of the states of db, for a person.
func (s *Service) SetQuarantine(ctx context.Context, q *db.Quarantine, state, by string) error {
	states, err := s.Store.FolderStates(ctx, db.Ref{Tenant: q.Tenant, ID: q.ProviderID})
	if err != nil {
		return err
	}
	if st := states[q.Folder]; state != db.QuarantineDiscarded && st != nil && st.UIDValidity != q.UIDValidity {
		return fault.Newf(fault.Config, "message_renumbered", "quarantined message %s: its folder was numbered anew, so uid %d is another message now",
			q.ID, q.UID).With("message", q.ID)
	}
	return s.Store.SetQuarantineState(ctx, q, state, db.Audit{
		Tenant: q.Tenant, At: time.Now().UTC(), Actor: by, Action: "quarantine_" + state, ProviderID: q.ProviderID,
		Detail: db.Detail{"id": q.ID, "folder": q.Folder, "uid": fmt.Sprint(q.UID)},
	})
}

// OpenRaw opens the raw mail of a quarantined message: from the object store when
// it was kept there, else from the mail server, whose failure is a *ReadError.
// The caller closes it.
func (s *Service) OpenRaw(ctx context.Context, q *db.Quarantine) (io.ReadCloser, error) {
	if q.RawBlobKey != "" {
		return s.OpenBlob(ctx, q.RawBlobKey)
	}
	j, err := s.NewJob(ctx, mailsync.Options{})
	if err != nil {
		return nil, err
	}
	p, err := s.Store.Provider(ctx, db.Ref{Tenant: q.Tenant, ID: q.ProviderID})
	if err != nil {
		return nil, err
	}
	raw, err := j.Runner.ReadRaw(ctx, p, q.Folder, q.UIDValidity, q.UID)
	if err != nil {
		return nil, &ReadError{err}
	}
	return io.NopCloser(bytes.NewReader(raw)), nil
}

// ReadError says that the mail server did not give a mail.
type ReadError struct{ err error }

func (e *ReadError) Error() string { return e.err.Error() }

// Unwrap returns what went wrong.
func (e *ReadError) Unwrap() error { return e.err }

// blob is one that is read, over a connection of its own.
type blob struct {
	io.ReadCloser

	nc *nats.Conn
}

func (b *blob) Close() error {
	defer b.nc.Close()
	return b.ReadCloser.Close()
}

// OpenBlob opens what the object store keeps under a key. The caller closes it.
func (s *Service) OpenBlob(ctx context.Context, key string) (io.ReadCloser, error) {
	nc, err := s.Connect(ctx)
	if err != nil {
		return nil, err
	}
	blobs, err := event.OpenBlobs(ctx, nc, "")
	if err == nil {
		var r io.ReadCloser
		if r, _, err = blobs.Get(ctx, key); err == nil {
			return &blob{r, nc}, nil
		}
	}
	nc.Close()
	return nil, err
}
