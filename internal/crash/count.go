package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"imapsync/event"
	"imapsync/internal/contract"
	"imapsync/internal/devenv"
)

// report is what a go came to.
type report struct {
	Seed   uint64
	Rounds int
	Kills  struct{ Workers, Broker, Database, Frozen int }

	Promoted   int // standbys of the database
	Brokers    struct{ Frozen, CutOff int }
	IMAP       int // times that server was ended
	Renumbered int // folders
	Dropped    int // times connections were
	Changed    int // settings

	Amid int // of all these, how many struck while events were on their way
	Runs int // processes started

	Delivered   int // different mails
	Copies      int // further copies of some of them in a second folder
	Expunged    int // removed from a folder after they were published
	OnStream    int
	Ledger      int // published, as the ledger has it
	Uncommitted int // expunged between their publishing and its commit: on the stream alone
	Quarantined int // had to be tried again after the killing
	Lost        int
	Doubled     int
	Stuck       int // waits for a person: messages, folders, mailboxes
	Missing     int // as reconcile says
	Blobs       int // read back

	Killing, Took time.Duration
}

func (r *report) print(w io.Writer) {
	fmt.Fprintf(w, "\nrounds       %d (seed %d)\n", r.Rounds, r.Seed)
	fmt.Fprintf(w, "kill -9      %d runs of %d, %d times the broker, %d times the database\n", r.Kills.Workers, r.Runs, r.Kills.Broker, r.Kills.Database)
	fmt.Fprintf(w, "stopped      %d runs, overtaken by another, then woken\n", r.Kills.Frozen)
	fmt.Fprintf(w, "promoted     %d times the standby of the database, the primary gone\n", r.Promoted)
	fmt.Fprintf(w, "brokers      of three one was frozen %d times, cut off %d times\n", r.Brokers.Frozen, r.Brokers.CutOff)
	fmt.Fprintf(w, "imap         ended %d times; %d folders numbered anew; connections dropped %d times\n", r.IMAP, r.Renumbered, r.Dropped)
	fmt.Fprintf(w, "settings     changed %d times\n", r.Changed)
	fmt.Fprintf(w, "in the midst %d times events were on their way just then\n", r.Amid)
	fmt.Fprintf(w, "delivered    %d mails and %d copies; %d expunged meanwhile\n", r.Delivered, r.Copies, r.Expunged)
	fmt.Fprintf(w, "quarantine   %d had to be tried again\n", r.Quarantined)
	fmt.Fprintf(w, "on stream    %d events\n", r.OnStream)
	fmt.Fprintf(w, "in ledger    %d published; %d more were expunged before their commit\n", r.Ledger, r.Uncommitted)
	fmt.Fprintf(w, "lost         %d\n", r.Lost)
	fmt.Fprintf(w, "doubled      %d\n", r.Doubled)
	fmt.Fprintf(w, "stuck        %d\n", r.Stuck)
	fmt.Fprintf(w, "reconcile    %d missing; verify: all there; %d blobs read back\n", r.Missing, r.Blobs)
	fmt.Fprintf(w, "took         %s, the killing %s, %.2f s a round\n", r.Took.Round(time.Second), r.Killing.Round(time.Second),
		r.Killing.Seconds()/float64(max(r.Rounds, 1)))
}

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

// few shows the first of a list.
func few(list []string) string {
	slices.Sort(list)
	if len(list) > 10 {
		return strings.Join(list[:10], ", ") + " …"
	}
	return strings.Join(list, ", ")
}

// count compares what was delivered with the stream, the stream with the
// ledger, and the server with the ledger.
func (s *siege) count(ctx context.Context) error {
	r := s.report
	r.Delivered, r.Copies, r.Expunged = len(s.post.mails), s.post.copies, len(s.post.expunged)
	nc, err := connect(ctx, s.brokers.url())
	if err != nil {
		return err
	}
	defer nc.Close()
	var events []published
	err = retry(ctx, func() (err error) { // the brokers may be electing still
		if events, _, err = nc.read(ctx, 1); err != nil {
			err = errors.Join(err, s.brokers.ready(ctx))
		}
		return err
	})
	if err != nil {
		return err
	}
	r.OnStream = len(events)
	schema, err := contract.New(event.Schema)
	if err != nil {
		return err
	}
	if _, err := devenv.OpenNATS(s.brokers.url()).Conforming(ctx, schema); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	times, addresses, keys := map[string]int{}, map[string]int{}, map[string]string{}
	for _, ev := range events {
		times[ev.subject]++
		addresses[ev.address]++
		keys[ev.key] = ev.subject
	}
	var errs []error
	wrong := func(n *int, list []string, what string) {
		if *n = len(list); *n > 0 {
			errs = append(errs, fmt.Errorf("%d %s: %s", *n, what, few(list)))
		}
	}
	var lost, doubled, strange []string
	for subject := range s.post.mails {
		if times[subject] == 0 {
			lost = append(lost, subject)
		}
	}
	for subject, n := range times {
		if n > 1 {
			doubled = append(doubled, subject)
		}
		if _, ours := s.post.mails[subject]; !ours {
			strange = append(strange, subject)
		}
	}
	for address, n := range addresses {
		if n > 1 {
			doubled = append(doubled, address)
		}
	}
	wrong(&r.Lost, lost, "mails were delivered and are not on the stream")
	wrong(&r.Doubled, doubled, "are on the stream more than once")
	wrong(new(int), strange, "are on the stream and were never delivered")
	errs = append(errs, s.countLedger(ctx, keys), s.stuck(ctx), s.reconcile(ctx), s.readBlobs(ctx, nc, events))
	if _, err := s.imapsync(ctx, "verify"); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// stuck counts what waits for a person.
func (s *siege) stuck(ctx context.Context) error {
	rows, err := s.pool.QueryContext(ctx, `
		SELECT 'message ' || folder || ' ' || uid || ': ' || state || ' ' || error_code FROM imap_quarantine
		UNION ALL SELECT 'folder ' || folder || ': ' || held || ' held' FROM imap_folder_state WHERE held > 0
		UNION ALL SELECT 'mailbox ' || mailbox || ': ' || status || ', paused ' || coalesce(inbound_pause_reason, 'no') FROM email_providers
			WHERE status <> 'connected' OR inbound_paused_at IS NOT NULL`)
	if err != nil {
		return err
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var what string
		if err := rows.Scan(&what); err != nil {
			return err
		}
		list = append(list, what)
	}
	if s.report.Stuck = len(list); s.report.Stuck > 0 {
		return errors.Join(fmt.Errorf("%d stuck: %s", len(list), few(list)), rows.Err())
	}
	return rows.Err()
}

// readBlobs reads every attachment back, and compares it with what its event says.
func (s *siege) readBlobs(ctx context.Context, nc link, events []published) error {
	js, err := jetstream.New(nc.Conn)
	if err != nil {
		return err
	}
	if stream, err := nc.stream(ctx); err != nil || stream.CachedInfo().Config.Replicas != len(s.brokers.list) {
		return fmt.Errorf("the stream is not on all brokers (%w)", err)
	}
	var wrong []string
	for _, ev := range events {
		for _, a := range ev.attachments {
			data, err := readBlob(ctx, js, a.Blob)
			if errors.Is(err, context.DeadlineExceeded) {
				return fmt.Errorf("%s of %q: %w", a.Name, ev.subject, err)
			}
			if sum := sha256.Sum256(data); err != nil || hex.EncodeToString(sum[:]) != a.SHA256 {
				wrong = append(wrong, fmt.Sprintf("%s of %q: %v", a.Name, ev.subject, err))
			}
			s.report.Blobs++
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d blobs cannot be read: %s", len(wrong), few(wrong))
	}
	return nil
}

// readBlob has a bound of its own: nats.go waits for a chunk that is missing for as long
// as its context lasts, and that of the whole is an hour away.
func readBlob(ctx context.Context, js jetstream.JetStream, blob *event.Blob) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	store, err := js.ObjectStore(ctx, blob.Bucket)
	if err != nil {
		return nil, err
	}
	return store.GetBytes(ctx, blob.Key)
}

// countLedger compares the ledger with the events of the stream, by key.
func (s *siege) countLedger(ctx context.Context, keys map[string]string) error {
	rows, err := s.pool.QueryContext(ctx, `SELECT event_key FROM imap_messages WHERE outcome = 'published'`)
	if err != nil {
		return err
	}
	defer rows.Close()
	unknown := maps.Clone(keys)
	var nowhere, twice []string
	ledger := map[string]bool{}
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return err
		}
		s.report.Ledger++
		if ledger[key] {
			twice = append(twice, key)
		}
		ledger[key] = true
		if _, on := keys[key]; !on {
			nowhere = append(nowhere, key)
		}
		delete(unknown, key)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	var without []string
	for _, subject := range unknown {
		// Between publishing and commit the run was killed, and before the
		// next one came, the mail was gone from its folder.
		if s.post.expunged[subject] {
			s.report.Uncommitted++
		} else {
			without = append(without, subject)
		}
	}
	var errs []error
	for what, list := range map[string][]string{
		"are published in the ledger and not on the stream": nowhere,
		"are published twice in the ledger":                 twice,
		"are on the stream and not in the ledger":           without,
	} {
		if len(list) > 0 {
			errs = append(errs, fmt.Errorf("%d %s: %s", len(list), what, few(list)))
		}
	}
	return errors.Join(errs...)
}

// reconcile asks imapsync itself to compare the server with the ledger.
func (s *siege) reconcile(ctx context.Context) error {
	var errs []error
	for user := range mailboxes {
		output, err := s.imapsync(ctx, "reconcile", user, "-o", "json")
		var folders []struct {
			Folder                         string
			OnServer, Waiting, Quarantined int
			Missing                        []uint32
			Error                          string
		}
		if jsonErr := json.Unmarshal(output, &folders); jsonErr != nil {
			return errors.Join(err, jsonErr)
		}
		errs = append(errs, err)
		if len(folders) != len(mailboxes[user]) {
			errs = append(errs, fmt.Errorf("reconcile %s: %d folders, want %d", user, len(folders), len(mailboxes[user])))
		}
		for _, f := range folders {
			s.report.Missing += len(f.Missing)
			if len(f.Missing) > 0 || f.Waiting > 0 || f.Quarantined > 0 || f.Error != "" {
				errs = append(errs, fmt.Errorf("reconcile %s: %+v", user, f))
			}
		}
	}
	return errors.Join(errs...)
}
