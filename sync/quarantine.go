package sync

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"time"

	"imapsync/db"
	"imapsync/publish"
)

// maxAttempts is how often a message is tried before it waits for a person.
const maxAttempts = 5

// quarantine describes a failed message and when it is tried again.
func (f *folderPass) quarantine(ctx context.Context, m *message, now time.Time) db.Quarantine {
	q := db.Quarantine{
		UID: m.UID, State: db.QuarantineRetry, Stage: m.failure.stage, ErrorCode: m.failure.code,
		Error: m.failure.err.Error(), Attempts: m.attempts + 1, Size: m.Size,
		MessageID: m.summary.messageID, Subject: m.summary.subject, Sender: m.summary.sender, EventKey: m.summary.key,
	}
	if q.Attempts >= maxAttempts {
		q.State, q.RawBlobKey = db.QuarantineDead, f.keepRaw(ctx, m)
	} else {
		next := now.Add(time.Minute << (2 * (q.Attempts - 1)))
		q.NextAttemptAt = &next
	}
	f.log.Warn("message_quarantined", "uid", m.UID, "stage", q.Stage, "code", q.ErrorCode, "error", q.Error,
		"attempts", q.Attempts, "state", q.State)
	return q
}

// keepRaw stores the mail of a message that is given up, so that it outlives
// the mailbox. It returns the key of the blob, empty when there is none: the
// message still stands on the server then.
func (f *folderPass) keepRaw(ctx context.Context, m *message) string {
	if len(m.raw) == 0 || m.headerOnly {
		return ""
	}
	sum := sha256.Sum256(m.raw)
	key := publish.BlobKey(f.provider.Tenant, f.provider.ID, hex.EncodeToString(sum[:]))
	blobs, err := f.runner.Publisher.Blobs(ctx)
	if err == nil {
		_, err = blobs.Put(ctx, key, int64(len(m.raw)), func() io.Reader { return bytes.NewReader(m.raw) })
	}
	if err != nil {
		f.log.Warn("raw_not_kept", "uid", m.UID, "error", err.Error())
		return ""
	}
	return key
}
