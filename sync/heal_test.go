package sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/devenv"
	"imapsync/publish"
)

// healEnv has a broker that can be set back, and a mailbox of so many mails that
// have been published.
type healEnv struct {
	*testEnv

	ns  *devenv.NATS
	d   *devenv.Dovecot
	p   *db.Provider
	log *bytes.Buffer
}

func newHealEnv(t *testing.T, n int) *healEnv {
	ns := devenv.TestNATSServer(t)
	env := &healEnv{testEnv: newEnvOn(t, devenv.TestPostgres(t, migrate), ns.URL()), ns: ns, log: &bytes.Buffer{}}
	env.d, env.p = env.mailbox(n)
	env.ok(env.p)
	return env
}

// process is another one, on the same servers.
func (env *healEnv) process(change func(*Options)) {
	env.t.Helper()
	env.testEnv = env.rival()
	env.runner.Log = slog.New(slog.NewTextHandler(env.log, nil))
	if change != nil {
		change(&env.runner.Options)
	}
}

// again passes over providers by another process, with their state as it is stored.
func (env *healEnv) again(providers ...*db.Provider) Summary {
	env.t.Helper()
	env.process(nil)
	return env.pass(providers...)
}

func (env *healEnv) pass(providers ...*db.Provider) Summary {
	env.t.Helper()
	summary, results := env.run(providers...)
	for _, res := range results {
		if res.Err != nil {
			env.t.Fatal(res.Err)
		}
	}
	return summary
}

// setBack has the broker lose what it takes while lost is done.
func (env *healEnv) setBack(lost func()) {
	env.t.Helper()
	start := func() { must(env.t, env.ns.Start(context.WithoutCancel(env.t.Context()))) }
	must(env.t, env.ns.Stop())
	putBack, err := env.ns.Save()
	must(env.t, err)
	start()
	env.process(nil)
	lost()
	must(env.t, env.ns.Stop())
	must(env.t, putBack())
	start()
	env.process(nil)
}

func (env *healEnv) deliver(from, to int) {
	env.t.Helper()
	must(env.t, env.d.Deliver("u", "INBOX", mails(from, to)...))
}

// lost is what is stored of a provider's lost events.
func (env *healEnv) lost(p *db.Provider) db.Lost {
	env.t.Helper()
	stored, err := env.store.Provider(env.t.Context(), p.Ref())
	must(env.t, err)
	return stored.Lost
}

func (env *healEnv) said(what ...string) {
	env.t.Helper()
	for _, w := range what {
		if !strings.Contains(env.log.String(), w) {
			env.t.Errorf("the log does not say %q:\n%s", w, env.log)
		}
	}
}

// ids are the ids of the events on the stream.
func (env *healEnv) ids() map[string]bool {
	env.t.Helper()
	ids := map[string]bool{}
	for _, ev := range env.events() {
		ids[ev.ID] = true
	}
	return ids
}

// Jepsen: a power cut takes back acknowledged writes under the broker's defaults. The
// same stream, shorter: what it lost is published again under the same identity, also
// of a mailbox that has no new mail, and with it whatever is new.
func TestFailure39_StreamThatLostItsEndIsMadeGood(t *testing.T) {
	t.Parallel()
	for name, news := range map[string]int{"with new mail": 1, "without": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newHealEnv(t, 10)
			must(t, env.d.AddUser("quiet", "p"))
			quiet := env.provider(env.d, "quiet", "p", nil)
			var before map[string]bool
			env.setBack(func() {
				env.deliver(11, 15)
				must(t, env.d.Deliver("quiet", "INBOX", mails(1, 3)...))
				env.pass(env.p, quiet)
				before = env.ids()
			})
			if n := len(env.events()); n != 10 {
				t.Fatalf("the broker has %d events, want that it lost all but 10", n)
			}
			if news > 0 {
				env.deliver(16, 16)
			}
			summary := env.again(env.p, quiet)
			if summary.Republished != 8 || summary.Counts.Published != news || summary.Missing != 0 {
				t.Errorf("%+v, want 8 published again and %d new", summary, news)
			}
			env.said("stream_lost_end", "events=8", "republished=true")
			after := env.ids()
			for id := range before {
				if !after[id] {
					t.Errorf("the event %s is not there again", id)
				}
			}
			if n := len(env.events()); n != 18+news || len(after) != n {
				t.Errorf("%d events under %d ids, want %d", n, len(after), 18+news)
			}
			for _, p := range []*db.Provider{env.p, quiet} {
				if l := env.lost(p); l.LostState != db.LostNone || l.LostEvents != 0 || l.Republished == 0 {
					t.Errorf("%s: %+v, want nothing lost any more", p.Name, l)
				}
			}
			// It is over: neither this process nor another does it again.
			env.log.Reset()
			env.deliver(17, 17)
			env.pass(env.p, quiet)
			env.deliver(18, 18)
			env.again(env.p, quiet)
			if n := len(env.events()); n != 20+news || strings.Contains(env.log.String(), "level=ERROR") {
				t.Errorf("%d events, want %d, and the log\n%s", n, 20+news, env.log)
			}
		})
	}
}

// A process that stays notices it by its connection.
func TestFailure39_AProcessThatStaysNoticesIt(t *testing.T) {
	t.Parallel()
	env := newHealEnv(t, 3)
	var stays *testEnv
	env.setBack(func() {
		env.deliver(4, 6)
		env.pass(env.p)
		stays = env.testEnv
	})
	env.testEnv = stays
	soon(t, "the connection again", func() bool { return env.nc.Stats().Reconnects > 0 })
	stored, err := env.store.Provider(t.Context(), env.p.Ref())
	must(t, err)
	if summary := env.pass(stored); summary.Republished != 3 {
		t.Errorf("%+v, want 3 published again", summary)
	}
	env.each(env.p, 6)
}

// What was put on the stream since stands where the lost events stood.
func TestFailure39_OthersPublishedSince(t *testing.T) {
	t.Parallel()
	env := newHealEnv(t, 5)
	env.setBack(func() {
		env.deliver(6, 35)
		env.pass(env.p)
	})
	js, err := jetstream.New(env.nc)
	must(t, err)
	for i := range 40 {
		_, err := js.Publish(t.Context(), fmt.Sprintf("mail.inbound.v1.other.other.%d", i), []byte("{}"))
		must(t, err)
	}
	env.deliver(36, 36)
	if summary := env.again(env.p); summary.Republished != 30 || summary.Counts.Published != 1 {
		t.Errorf("%+v, want 30 published again and 1 new", summary)
	}
	if n := env.stream().CachedInfo().State.Msgs; n != 5+40+30+1 {
		t.Errorf("%d messages on the stream", n)
	}
	must(t, js.DeleteStream(t.Context(), event.StreamName)) // what others put there is no event
}

// Beyond the bounds nothing is published unasked, by no run; new mail is.
func TestFailure39_BeyondTheBoundsAPersonDecides(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"events":  func(o *Options) { o.HealEvents = 4 },
		"span":    func(o *Options) { o.HealSpan = time.Nanosecond },
		"nothing": func(o *Options) { o.HealSpan, o.HealEvents = -1, -1 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newHealEnv(t, 3)
			env.setBack(func() {
				env.deliver(4, 5)
				env.pass(env.p)
				env.deliver(6, 8)
				env.pass(env.p)
			})
			env.deliver(9, 9)
			for range 2 {
				env.process(change)
				if summary := env.pass(env.p); summary.Republished != 0 || summary.Missing != 5 {
					t.Errorf("%+v, want 5 missing and nothing published again", summary)
				}
				env.said("events_missing", "events=5")
				env.log.Reset()
			}
			if n := len(env.events()); n != 4 {
				t.Errorf("%d events, want the 3 from before and the new one", n)
			}
			// No later run takes it up with other bounds.
			if summary := env.again(env.p); summary.Republished != 0 || summary.Missing != 5 {
				t.Errorf("%+v, want 5 missing and nothing published again", summary)
			}
		})
	}
}

// What is not there though the stream goes further expired, was purged or deleted.
func TestFailure39_PurgeAndRetentionAreNoEvidence(t *testing.T) {
	t.Parallel()
	env := newHealEnv(t, 5)
	for _, lose := range []func(){
		env.purge,
		func() { env.reshape(func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 }) },
		func() { must(t, env.stream().DeleteMsg(t.Context(), env.stream().CachedInfo().State.LastSeq)) },
	} {
		lose()
		env.deliver(6, 6)
		if summary := env.again(env.p); summary.Republished != 0 || summary.Missing != 0 || summary.Counts.Published != 1 {
			t.Errorf("%+v, want 1 published and no alarm", summary)
		}
	}
	if strings.Contains(env.log.String(), "level=ERROR") {
		t.Errorf("an alarm:\n%s", env.log)
	}
}

// A loss that could not be made good for long is no reason to publish what the stream
// has forgotten by itself since, or what somebody has purged after the loss.
func TestFailure39_HealsWhatWasLostAlone(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ since, until, published string }{
		"found long ago":     {"20 days", "15 days", "16 days"},
		"published long ago": {"20 days", "0", "15 days"},
		"purged since":       {"2 hours", "1 hour", "1 minute"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newHealEnv(t, 3)
			js, err := jetstream.New(env.nc)
			must(t, err)
			stream, err := js.Stream(t.Context(), event.StreamName)
			must(t, err)
			must(t, stream.Purge(t.Context()))
			_, err = env.pool().Exec(`UPDATE imap_messages SET processed_at = now() - $1::interval`, tt.published)
			must(t, err)
			_, err = env.pool().Exec(`UPDATE imap_sync_state SET lost_state = 'heal', lost_since = now() - $1::interval,
				lost_until = now() - $2::interval, lost_events = 3`, tt.since, tt.until)
			must(t, err)
			if summary := env.again(env.p); summary.Republished != 0 || len(env.events()) != 0 {
				t.Errorf("%+v, %d events; want nothing published again", summary, len(env.events()))
			}
			if l := env.lost(env.p); l.LostState != db.LostNone || l.LostEvents != 0 {
				t.Errorf("%+v, want that it is over", l)
			}
		})
	}
}

// A stream that was made anew has none of the older events. Publishing all of them
// is nobody's business but a person's.
func TestFailure39_StreamMadeAnewIsSaid(t *testing.T) {
	t.Parallel()
	env := newHealEnv(t, 5)
	env.deliver(6, 6)
	env.again(env.p)
	js, err := jetstream.New(env.nc)
	must(t, err)
	must(t, js.DeleteStream(t.Context(), event.StreamName))
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: event.StreamName, Subjects: []string{event.Subjects}})
	must(t, err)
	env.deliver(7, 7)
	if summary := env.again(env.p); summary.Republished != 0 || summary.Missing != 6 || summary.Counts.Published != 1 {
		t.Errorf("%+v, want 6 missing and 1 published", summary)
	}
	env.said("stream_made_anew", "events=6")
	if n := len(env.events()); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

// A copy of the stream under other sequences has lost nothing.
func TestFailure39_CopiedStreamHasLostNothing(t *testing.T) {
	t.Parallel()
	env := newHealEnv(t, 5)
	js, err := jetstream.New(env.nc)
	must(t, err)
	stream := env.stream()
	var kept []*jetstream.RawStreamMsg
	for seq := range uint64(5) {
		m, err := stream.GetMsg(t.Context(), seq+1)
		must(t, err)
		kept = append(kept, m)
	}
	must(t, js.DeleteStream(t.Context(), event.StreamName))
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: event.StreamName, Subjects: []string{event.Subjects}, FirstSeq: 100})
	must(t, err)
	for _, m := range kept {
		_, err := js.Publish(t.Context(), m.Subject, m.Data)
		must(t, err)
	}
	env.deliver(6, 6)
	if summary := env.again(env.p); summary.Republished != 0 || summary.Missing != 0 || summary.Counts.Published != 1 {
		t.Errorf("%+v, want 1 published and no alarm", summary)
	}
	env.each(env.p, 6)
}

// Of a queue nobody can tell what was lost and what was taken: there is an alarm, and
// nothing else.
func TestFailure39_QueueThatLostItsEnd(t *testing.T) {
	t.Parallel()
	env := newHealEnv(t, 1)
	js, err := jetstream.New(env.nc)
	must(t, err)
	must(t, js.DeleteStream(t.Context(), event.StreamName))
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: event.StreamName, Subjects: []string{event.Subjects}, Retention: jetstream.WorkQueuePolicy})
	must(t, err)
	env.deliver(2, 3)
	env.again(env.p)
	env.setBack(func() {
		env.deliver(4, 5)
		env.pass(env.p)
	})
	env.log.Reset()
	if summary := env.again(env.p); summary.Republished != 0 || summary.Missing == 0 {
		t.Errorf("%+v, want an alarm alone", summary)
	}
	env.said("stream_lost_end", "republished=false")
	js, err = jetstream.New(env.nc)
	must(t, err)
	must(t, js.DeleteStream(t.Context(), event.StreamName)) // nobody reads a queue twice
}

// setBackAndExpunge has the stream lose the events of mails 4 to 6, and the server mail 5.
func (env *healEnv) setBackAndExpunge() {
	env.t.Helper()
	env.setBack(func() {
		env.deliver(4, 6)
		env.pass(env.p)
	})
	c, err := env.d.Login("u")
	must(env.t, err)
	defer c.Close()
	_, err = c.Select("INBOX", nil).Wait()
	must(env.t, err)
	must(env.t, c.Store(seqSet(5), &deleted, nil).Close())
	must(env.t, c.Expunge().Close())
}

// Mail that is no longer on the server is listed by key, and does not hold up the rest.
func TestFailure39_MailThatIsGoneIsListed(t *testing.T) {
	t.Parallel()
	env := newHealEnv(t, 3)
	env.setBackAndExpunge()
	var key string
	must(t, env.pool().QueryRow(`SELECT event_key FROM imap_messages WHERE uid = 5`).Scan(&key))
	if summary := env.again(env.p); summary.Republished != 2 {
		t.Errorf("%+v, want 2 published again", summary)
	}
	env.said("event_gone", key)
	if l := env.lost(env.p); l.LostState != db.LostHeal || l.LostEvents != 1 {
		t.Errorf("%+v, want that one look is no evidence", l)
	}
	// A quarter of an hour later it is.
	env.process(nil)
	env.runner.Clock = laterClock{machineClock{}, time.Hour}
	env.pass(env.p)
	if l := env.lost(env.p); l.LostState != db.LostNone || l.LostEvents != 0 {
		t.Errorf("%+v, want that it is over", l)
	}
	log, err := env.store.AuditLog(t.Context(), env.p.Tenant, env.p.ID, 1)
	must(t, err)
	if len(log) != 1 || log[0].Action != "events_republished" || !strings.Contains(log[0].Detail["gone"], key) {
		t.Errorf("audit log: %+v, want the key of what is gone", log)
	}
	env.log.Reset()
	env.deliver(7, 7)
	env.again(env.p)
	if strings.Contains(env.log.String(), "level=ERROR") {
		t.Errorf("said again:\n%s", env.log)
	}
}

// A mailbox whose pass comes long after another's found the loss is looked at twice, too.
func TestFailure39_OneLookIsNoEvidence(t *testing.T) {
	t.Parallel()
	env := newHealEnv(t, 3)
	env.setBackAndExpunge()
	spans, err := env.store.PublishedSpans(t.Context(), time.Time{}, time.Now().Add(time.Hour), 3)
	must(t, err)
	must(t, env.store.MarkLost(t.Context(), spans[0], db.LostHeal, time.Now(), db.Audit{Tenant: env.p.Tenant, ProviderID: env.p.ID, At: time.Now(), Actor: "test", Action: "events_lost"}))
	for i, want := range []db.LostState{db.LostHeal, db.LostNone} {
		env.process(nil)
		env.runner.Clock = laterClock{machineClock{}, time.Hour}
		env.pass(env.p)
		if l := env.lost(env.p); l.LostState != want {
			t.Errorf("after look %d: %+v, want %q", i+1, l, want)
		}
	}
}

// A folder that is missing, or has lost more than half of its mail, for an hour is no
// evidence that the mail of lost events is gone; after a day it is.
func TestFailure39_EmptyForAnHourIsNotGone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		away, back func(c *imapclient.Client) error
	}{
		"missing": {
			func(c *imapclient.Client) error { return c.Rename("Other", "Elsewhere", nil).Wait() },
			func(c *imapclient.Client) error { return c.Rename("Elsewhere", "Other", nil).Wait() },
		},
		"emptied": {func(c *imapclient.Client) error {
			_, err := c.Select("Other", nil).Wait()
			return errors.Join(err, c.Store(imap.SeqSet{{Start: 1, Stop: 0}}, &deleted, nil).Close(), c.Expunge().Close())
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := newHealEnv(t, 3)
			_, err := env.pool().Exec(`UPDATE imap_email_provider_config SET folder_filters = '["Other"]'`)
			must(t, err)
			env.setBack(func() {
				must(t, env.d.Deliver("u", "Other", mails(4, 6)...))
				env.pass(env.p)
			})
			client, err := env.d.Login("u")
			must(t, err)
			defer client.Close()
			must(t, c.away(client))
			look := func(after time.Duration) {
				env.process(nil)
				env.runner.Clock = laterClock{machineClock{}, after}
				env.run(env.p)
			}
			look(0)
			look(time.Hour)
			if l := env.lost(env.p); l.LostState != db.LostHeal || l.LostEvents != 3 || strings.Contains(env.log.String(), "event_gone") {
				t.Errorf("%+v, want that it is looked for\n%s", l, env.log)
			}
			if c.back != nil {
				must(t, c.back(client))
			} else {
				_, err := env.pool().Exec(`UPDATE imap_messages SET processed_at = processed_at - interval '1 day';
					UPDATE imap_folder_state SET shrunk_at = shrunk_at - interval '1 day';
					UPDATE imap_sync_state SET lost_since = lost_since - interval '1 day', lost_until = lost_until - interval '1 day'`)
				must(t, err)
			}
			look(2 * time.Hour)
			if l, n := env.lost(env.p), len(env.ids()); l.LostState != db.LostNone || c.back != nil && n != 6 {
				t.Errorf("%+v, %d on the stream, want that it is over", l, n)
			}
			if gone := strings.Contains(env.log.String(), "event_gone"); gone != (c.back == nil) {
				t.Errorf("the log calls mail gone: %v\n%s", gone, env.log)
			}
		})
	}
}

// A folder that was numbered anew meanwhile, and shows nothing of itself yet or is still
// gone through, is no evidence that its mail is gone: it is looked for at its new UIDs.
func TestFailure39_NumberedAnewIsNotGone(t *testing.T) {
	t.Parallel()
	env := newHealEnv(t, 3)
	env.setBack(func() {
		env.deliver(4, 6)
		env.pass(env.p)
	})
	must(t, env.d.Stop())
	must(t, env.d.Renumber("u", "INBOX"))
	must(t, env.d.Start(t.Context()))
	total := 0
	for range 3 {
		env.process(nil)
		env.runner.Clock = laterClock{machineClock{}, time.Hour} // the first look would be the last
		total += env.pass(env.p).Republished
	}
	if l := env.lost(env.p); total != 3 || l.LostState != db.LostNone || len(env.ids()) != 6 {
		t.Errorf("%d published again, %d on the stream, %+v; want 3, 6 and that it is over", total, len(env.ids()), l)
	}
	if strings.Contains(env.log.String(), "event_gone") {
		t.Errorf("the log calls mail gone that is there:\n%s", env.log)
	}
}

// laterClock runs ahead of another.
type laterClock struct {
	Clock
	by time.Duration
}

func (c laterClock) Now() time.Time { return c.Clock.Now().Add(c.by) }

// A broker that lost its end lost blobs with it: they are put again first.
func TestFailure39_BlobsArePutAgain(t *testing.T) {
	t.Parallel()
	env := newHealEnv(t, 1)
	withFile := func(n int) []byte {
		return fmt.Appendf(nil, "From: a@example.org\r\nMessage-ID: <file-%d@example.org>\r\nSubject: mail file\r\nMIME-Version: 1.0\r\n"+
			"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\nPDF %d\r\n--b--\r\n", n, n)
	}
	must(t, env.d.Deliver("u", "INBOX", withFile(1)))
	env.again(env.p)
	env.setBack(func() {
		must(t, env.d.Deliver("u", "INBOX", withFile(2)))
		env.pass(env.p)
	})
	if summary := env.again(env.p); summary.Republished != 1 {
		t.Errorf("%+v, want 1 published again", summary)
	}
	blobs, err := env.runner.Publisher.Blobs(t.Context())
	must(t, err)
	files := 0
	for _, ev := range env.events() {
		for _, a := range ev.Payload.EmailData.Attachments {
			files++
			if err := blobs.Check(t.Context(), a.Blob); err != nil {
				t.Error(err)
			}
		}
	}
	if files != 2 {
		t.Errorf("%d attachments, want 2", files)
	}
}

// What was there and is gone is not made in silence; what nobody misses is.
func TestFailure39_GoneStreamIsNotMade(t *testing.T) {
	t.Parallel()
	ns := devenv.TestNATSServer(t)
	env := newEnvOn(t, devenv.TestPostgres(t, migrate), ns.URL())
	may := func(stream string) error { return MayMake(t.Context(), env.store, stream, time.Now()) }
	if err := errors.Join(may(event.StreamName), may("OBJ_imap-mail")); err != nil {
		t.Fatalf("of a new installation: %v", err)
	}
	d, p := env.mailbox(2)
	must(t, d.Deliver("u", "INBOX", fmt.Appendf(nil, "From: a@example.org\r\nSubject: mail 3\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\nPDF\r\n")))
	env.ok(p)
	js, err := jetstream.New(env.nc)
	must(t, err)
	must(t, js.DeleteObjectStore(t.Context(), event.DefaultBucket))
	if err := may("OBJ_imap-mail"); !errors.Is(err, publish.ErrGone) || !strings.Contains(err.Error(), "3 events of 1 mailbox") {
		t.Errorf("the bucket: %v, want ErrGone and what is lost", err)
	}
	must(t, js.DeleteStream(t.Context(), event.StreamName))
	if err := may(event.StreamName); !errors.Is(err, publish.ErrGone) || !strings.Contains(err.Error(), "3 events of 1 mailbox") {
		t.Errorf("the stream: %v, want ErrGone and what is lost", err)
	}
	if err := MayMake(t.Context(), env.store, event.StreamName, time.Now().Add(15*24*time.Hour)); err != nil {
		t.Errorf("it held nothing any more: %v", err)
	}
	_, err = publish.NewPublisher(t.Context(), env.nc, publish.PublisherOptions{Make: publish.MakeOptions{May: func(_ context.Context, stream string) error { return may(stream) }}})
	if !errors.Is(err, publish.ErrGone) {
		t.Errorf("a publisher: %v, want ErrGone", err)
	}
	if _, err := js.Stream(t.Context(), event.StreamName); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the stream was made: %v", err)
	}
}

// A pass without news asks the broker nothing. The first with news of a process looks at
// the last 20 events of the mailbox, the next only publishes.
func TestCompareCostsAtMostTwentyQuestions(t *testing.T) {
	t.Parallel()
	env := newHealEnv(t, 30)
	env.process(nil)
	asked := func(news int) uint64 {
		if news > 0 {
			env.deliver(100, 99+news)
		}
		before := env.nc.Stats().OutMsgs
		env.pass(env.p)
		return env.nc.Stats().OutMsgs - before
	}
	got := []uint64{asked(0), asked(1), asked(3), asked(0)}
	if diff := cmp.Diff([]uint64{0, comparedEvents + 1, 3, 0}, got); diff != "" {
		t.Errorf("messages to the broker by pass (-want +got):\n%s", diff)
	}
}

func BenchmarkCompare(b *testing.B) {
	ns := devenv.TestNATSServer(b)
	env := newEnvOn(b, devenv.TestPostgres(b, migrate), ns.URL())
	_, p := env.mailbox(200)
	env.run(p)
	ps, ctx, _ := env.runner.lock(b.Context(), p)
	defer ps.unlock()
	for b.Loop() {
		env.runner.broker.compared = nil
		must(b, ps.compare(ctx, true))
	}
}

// A broker that takes mail and answers no questions about what it has is published to.
func TestFailure39_UnansweredQuestionsHoldUpNoMail(t *testing.T) {
	t.Parallel()
	deny := func(o *server.Options) {
		o.Users = []*server.User{{Username: "u", Password: "p", Permissions: &server.Permissions{Publish: &server.SubjectPermission{
			Deny: []string{"$JS.API.DIRECT.GET.>", "$JS.API.STREAM.MSG.GET.>"}}}}, {Username: "all", Password: "p"}}
		o.NoAuthUser = "all"
	}
	ns := devenv.TestNATSServer(t, deny)
	env := newEnvOn(t, devenv.TestPostgres(t, migrate), ns.URL())
	d, p := env.mailbox(2)
	env.ok(p)
	must(t, d.Deliver("u", "INBOX", mails(3, 3)...))
	env.natsURL = strings.Replace(ns.URL(), "//", "//u:p@", 1)
	denied := env.rival()
	if res := denied.ok(p); res.Counts.Published != 1 {
		t.Errorf("%+v, want 1 published", res.Counts)
	}
	env.each(p, 3)
	// Nor does a loss that cannot be made good so.
	_, err := env.pool().Exec(`UPDATE imap_sync_state SET lost_state = 'heal', lost_since = now() - interval '1 hour', lost_until = now() + interval '1 minute'`)
	must(t, err)
	must(t, d.Deliver("u", "INBOX", mails(4, 4)...))
	if p, err = env.store.Provider(t.Context(), p.Ref()); err != nil {
		t.Fatal(err)
	}
	if res := denied.rival().ok(p); res.Counts.Published != 1 || p.LostState != db.LostHeal {
		t.Errorf("%+v, %q; want 1 published and the loss to wait", res.Counts, p.LostState)
	}
}
