package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
	"imapsync/internal/devenv"
)

// A mail over a cap goes out from backfill, and again from verify, exactly as
// from run: by the environment's caps, by the command line's, by the mailbox's.
func TestCapsHoldWhereverMailIsPublished(t *testing.T) {
	t.Parallel()
	g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATS(t).URL())
	g.mailbox("support", nil, g.tls()...)
	g.must(g.dovecot.Deliver("support", "INBOX",
		withFiles("small", 100), withFiles("one too large", 100, 5_000, 100), withFiles("too many", 100, 100, 100, 100),
		withFiles("too large together", 1_900, 1_900), withFiles("too large raw", 1_950, 1_950, 1_950), withFiles("too large", 20_000)))
	reasons := map[string][]string{
		"one too large": {event.SkipAttachmentBytes}, "too many": {event.SkipAttachmentCount},
		"too large together": {event.SkipAttachmentTotal}, "too large raw": {event.SkipAttachmentTotal, event.SkipRawMIMEBytes},
		"too large": {event.SkipRawMIMEBytes},
	}
	for name, tt := range map[string]struct {
		set        []string // of the mailbox
		env, flags []string
	}{
		"environment": {env: []string{"IMAPSYNC_MAX_MESSAGE_BYTES=16000", "IMAPSYNC_MAX_ATTACHMENT_BYTES=2000",
			"IMAPSYNC_MAX_ATTACHMENTS_TOTAL_BYTES=3000", "IMAPSYNC_MAX_ATTACHMENTS=3", "IMAPSYNC_MAX_RAW_MIME_BYTES=8000"}},
		"flags": {flags: []string{"--max-message-bytes", "16000", "--max-attachment-bytes", "2000",
			"--max-attachments-total-bytes", "3000", "--max-attachments", "3", "--max-raw-mime-bytes", "8000"}},
		"mailbox": {env: []string{"IMAPSYNC_MAX_RAW_MIME_BYTES=8000"}, set: []string{"--max-message-bytes", "16000",
			"--max-attachment-bytes", "2000", "--max-attachments-total-bytes", "3000", "--max-attachments", "3"}},
	} {
		if tt.set != nil {
			g.run(exitOK, append([]string{"provider", "set", "support", "--no-test"}, tt.set...)...)
		}
		publish := func(args ...string) map[string]event.EmailData {
			t.Helper()
			g.loseStream()
			if code, output := g.startWith(tt.env, append(args, tt.flags...)...).wait(); code != exitOK {
				t.Fatalf("%s: %q: exit %d\n%s", name, args, code, output)
			}
			return g.bySubject()
		}
		forget := func() {
			t.Helper()
			_, err := g.pool.ExecContext(t.Context(), `DELETE FROM imap_messages`)
			g.must(err)
		}
		forget()
		_, err := g.pool.ExecContext(t.Context(), `DELETE FROM imap_folder_state`)
		g.must(err)
		run := publish("run", "--provider", "support")
		for subject, mail := range run {
			var got []string
			for _, r := range mail.IngressSkipReasons {
				got = append(got, r.Reason)
			}
			if slices.Sort(got); !slices.Equal(slices.Compact(got), reasons[subject]) {
				t.Errorf("%s: %q: left out because of %q, want %q", name, subject, got, reasons[subject])
			}
		}
		if len(run) != 6 {
			t.Errorf("%s: %d events, want 6", name, len(run))
		}
		if diff := cmp.Diff(run, publish("verify", "--make-stream", "--republish")); diff != "" {
			t.Errorf("%s: verify publishes otherwise than run:\n%s", name, diff)
		}
		forget()
		if diff := cmp.Diff(run, publish("backfill", "support", "--since", "2d")); diff != "" {
			t.Errorf("%s: backfill publishes otherwise than run:\n%s", name, diff)
		}
	}
}

// Of a mailbox that cannot be read nobody knows what is gone from it; and a
// command that is proposed names it as it was named.
func TestVerifyCountsNothingUnread(t *testing.T) {
	t.Parallel()
	g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATS(t).URL())
	g.mailbox("support", nil, g.tls()...)
	g.deliver("support", "INBOX", 2, "")
	g.run(exitOK, "run", "--provider", "support")
	g.loseStream()
	g.run(exitOK, "provider", "set", "support", "--no-test", "--port", "1")
	if said := g.run(exitTempfail, "verify", "--make-stream", "--republish"); !strings.Contains(said, "support: 2 published, 2 lost, 0 republished, 0 gone from the mail server\n") {
		t.Errorf("%s", said)
	}
	g.run(exitOK, append([]string{"provider", "set", "support", "--no-test"}, g.tls()...)...)
	if said := g.run(exitOK, "verify", "--republish"); !strings.Contains(said, "support: 2 published, 2 lost, 2 republished, 0 gone from the mail server\n") {
		t.Errorf("%s", said)
	}
	var id string
	g.must(g.pool.QueryRowContext(t.Context(), `DELETE FROM imap_messages WHERE uid = 1 RETURNING provider_id`).Scan(&id))
	if said := g.run(exitFailed, "reconcile", id); !strings.Contains(said, "1 messages are missing: `imapsync backfill "+id+" --since DATE`") {
		t.Errorf("%s", said)
	}
}

// withFiles is a mail with files of so many bytes.
func withFiles(subject string, sizes ...int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: ann@example.org\nTo: support@example.com\nSubject: %s\nMessage-ID: <%s@example.org>\n"+
		"Date: Mon, 2 Mar 2026 10:00:00 +0000\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"+
		"--b\nContent-Type: text/plain\n\nSee the files.\n", subject, strings.ReplaceAll(subject, " ", "-"))
	for i, size := range sizes {
		fmt.Fprintf(&b, "--b\nContent-Type: application/octet-stream\nContent-Disposition: attachment; filename=%d.bin\n"+
			"Content-Transfer-Encoding: base64\n\n", i)
		for chunk := range slices.Chunk(bytes.Repeat([]byte{byte(i)}, size), 57) {
			fmt.Fprintln(&b, base64.StdEncoding.EncodeToString(chunk))
		}
	}
	b.WriteString("--b--\n")
	return bytes.ReplaceAll(b.Bytes(), []byte("\n"), []byte("\r\n"))
}

// loseStream takes the stream away, as a broker that lost its disk does.
func (g *ground) loseStream() {
	g.t.Helper()
	nc, err := nats.Connect(g.natsURL)
	g.must(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	g.must(err)
	if err := js.DeleteStream(g.t.Context(), event.StreamName); !errors.Is(err, jetstream.ErrStreamNotFound) {
		g.must(err)
	}
}

// bySubject reads what is on the stream.
func (g *ground) bySubject() map[string]event.EmailData {
	g.t.Helper()
	nc, err := nats.Connect(g.natsURL)
	g.must(err)
	defer nc.Close()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	defer cancel()
	sub, err := event.Subscribe(ctx, nc, event.SubscribeOptions{})
	g.must(err)
	info, err := g.stream().Info(ctx)
	g.must(err)
	left := info.State.Msgs
	mails := map[string]event.EmailData{}
	for rec, err := range sub.Events(ctx) {
		g.must(err)
		mails[rec.Event.Payload.EmailData.Subject] = rec.Event.Payload.EmailData
		if left--; left == 0 {
			break
		}
	}
	return mails
}

// A run that cannot load the settings of its mailboxes says why.
func TestRunSaysWhySettingsAreNotLoaded(t *testing.T) {
	t.Parallel()
	g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATS(t).URL())
	g.mailbox("support", nil, g.tls()...)
	_, err := g.pool.Exec(`ALTER TABLE imap_provider_options RENAME COLUMN eager_login TO elsewhere`)
	g.must(err)
	if said := g.run(exitBug, "run"); !strings.Contains(said, "load providers") || strings.Contains(said, "told to stop") {
		t.Errorf("%s", said)
	}
}

// The bucket is gone with the attachments and the raw mail of all events. No run makes
// it anew; verify misses what it held, and puts it there again.
func TestVerifyLooksForBlobs(t *testing.T) {
	t.Parallel()
	g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATS(t).URL())
	g.mailbox("support", nil, g.tls()...)
	g.must(g.dovecot.Deliver("support", "INBOX", withFiles("one", 100), withFiles("two", 200, 300)))
	g.deliver("support", "INBOX", 1, "plain")
	g.run(exitOK, "run", "--provider", "support")
	whole := "support: 3 published, 0 lost, 0 republished, 0 gone from the mail server\n"
	if said := g.run(exitOK, "verify"); !strings.Contains(said, whole) {
		t.Errorf("%s", said)
	}
	js := g.jetStream()
	lost := "support: 3 published, 0 lost, 0 republished, 0 gone from the mail server, 2 without their attachments or raw mail\n"

	// A chunk of one blob, then the bucket.
	bucket, err := js.Stream(t.Context(), "OBJ_"+event.DefaultBucket)
	g.must(err)
	g.must(bucket.Purge(t.Context(), jetstream.WithPurgeSubject("$O."+event.DefaultBucket+".C.>")))
	if said := g.run(exitFailed, "verify"); !strings.Contains(said, lost) {
		t.Errorf("without chunks: %s", said)
	}
	g.must(js.DeleteObjectStore(t.Context(), event.DefaultBucket))
	if said := g.run(exitFailed, "verify"); !strings.Contains(said, lost) {
		t.Errorf("without the bucket: %s", said)
	}
	g.must(g.dovecot.Deliver("support", "INBOX", withFiles("three", 400)))
	if said := g.run(exitUnavailable, "run", "--provider", "support"); !strings.Contains(said, "bucket imap-mail") || strings.Contains(said, "imap-mail: bucket") || strings.Contains(said, "stream INBOUND_EMAIL") || !strings.Contains(said, "`imapsync verify --make-stream --since 20") {
		t.Errorf("a run without the bucket: %s", said)
	}
	if said := g.run(exitFailed, "doctor"); !strings.Contains(said, "bucket imap-mail") {
		t.Errorf("doctor without the bucket: %s", said)
	}
	if said := g.run(exitUnavailable, "verify", "--republish"); !strings.Contains(said, "bucket imap-mail") {
		t.Errorf("verify makes the bucket unasked: %s", said)
	}
	if said := g.run(exitOK, "verify", "--make-stream", "--republish"); !strings.Contains(said, "support: 3 published, 0 lost, 2 republished, 0 gone from the mail server, 2 without their attachments or raw mail\n") {
		t.Errorf("%s", said)
	}
	if said := g.run(exitOK, "verify"); !strings.Contains(said, whole) {
		t.Errorf("%s", said)
	}
	g.run(exitOK, "run", "--provider", "support")
	info, err := g.stream().Info(t.Context())
	g.must(err)
	if info.State.Msgs != 4 {
		t.Errorf("%d events, want 4, each once", info.State.Msgs)
	}
}

// Events that were copied to another stream stand at other sequences, and nothing of
// them is lost. Of those that are, verify lists the keys that the mail server lacks, too.
func TestVerifyComparesSequencesAndListsWhatIsGone(t *testing.T) {
	t.Parallel()
	g := newGround(t, devenv.TestPostgres(t, migrateAll), devenv.TestNATS(t).URL())
	g.mailbox("support", nil, g.tls()...)
	g.deliver("support", "INBOX", 3, "")
	g.run(exitOK, "run", "--provider", "support")
	js, stream := g.jetStream(), g.stream()
	first, err := stream.GetMsg(t.Context(), 1)
	g.must(err)
	last, err := stream.GetMsg(t.Context(), 3)
	g.must(err)
	g.loseStream()
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: event.StreamName, Subjects: []string{event.Subjects}, FirstSeq: 7})
	g.must(err)
	_, err = js.Publish(t.Context(), first.Subject, first.Data)
	g.must(err)
	gone := last.Subject[strings.LastIndex(last.Subject, ".")+1:]
	c, err := g.dovecot.Login("support")
	g.must(err)
	defer c.Close()
	_, err = c.Select("INBOX", nil).Wait()
	g.must(err)
	g.must(c.Store(imap.SeqSetNum(3), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagDeleted}, Silent: true}, nil).Close())
	g.must(c.Expunge().Close())
	want := "support: 3 published, 2 lost, 1 republished, 1 gone from the mail server, 1 at another place\n  gone: " + gone + "\n"
	if said := g.run(exitFailed, "verify", "--republish"); !strings.Contains(said, want) {
		t.Errorf("%s\nwant %s", said, want)
	}
}

func (g *ground) jetStream() jetstream.JetStream {
	g.t.Helper()
	nc, err := nats.Connect(g.natsURL)
	g.must(err)
	g.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	g.must(err)
	return js
}
