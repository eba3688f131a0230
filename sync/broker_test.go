package sync

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/devenv"
	"imapsync/publish"
)

// brokerEnv is one on a broker of its own, reached through a proxy that
// filters what the broker answers.
func brokerEnv(t *testing.T, filter func([]byte) []byte, opts ...devenv.NATSOption) (*testEnv, *devenv.NATS, *devenv.Proxy) {
	t.Helper()
	ns := devenv.TestNATSServer(t, opts...)
	u, err := url.Parse(ns.URL())
	must(t, err)
	proxy := devenv.TestProxy(t, u.Host, filter)
	env := newEnvOn(t, devenv.TestPostgres(t, migrate), "nats://"+proxy.Addr())
	env.publisher(publish.PublisherOptions{AckTimeout: 300 * time.Millisecond})
	return env, ns, proxy
}

// publisher gives the runner another one, on the same connection.
func (env *testEnv) publisher(o publish.PublisherOptions) {
	env.t.Helper()
	pub, err := publish.NewPublisher(env.t.Context(), env.nc, o)
	must(env.t, err)
	env.runner.Publisher = pub
}

// stream is the stream of the events.
func (env *testEnv) stream() jetstream.Stream {
	env.t.Helper()
	js, err := jetstream.New(env.nc)
	must(env.t, err)
	stream, err := js.Stream(env.t.Context(), event.StreamName)
	must(env.t, err)
	return stream
}

// reshape changes the settings of the stream.
func (env *testEnv) reshape(change func(*jetstream.StreamConfig)) {
	env.t.Helper()
	js, err := jetstream.New(env.nc)
	must(env.t, err)
	cfg := env.stream().CachedInfo().Config
	change(&cfg)
	_, err = js.UpdateStream(env.t.Context(), cfg)
	must(env.t, err)
}

// notAhead fails the test when the ledger, or the cursor, is ahead of what the
// stream has.
func (env *testEnv) notAhead(p *db.Provider) {
	env.t.Helper()
	rows, at := env.ledger(p), env.cursors(p)["INBOX"]
	if n := len(env.events()); rows > n || int(at[0]) > n {
		env.t.Errorf("%d rows in the ledger and the cursor at %v, with %d events on the stream", rows, at, n)
	}
}

func TestFailure02_BrokerRestartedInMidPublish(t *testing.T) {
	t.Parallel()
	env, ns, _ := brokerEnv(t, nil)
	_, p := env.mailbox(700)
	rounds := 0
	env.runner.OnProgress = func(Progress) {
		if rounds++; rounds%3 != 1 {
			return
		}
		must(t, ns.Stop())
		time.Sleep(50 * time.Millisecond)
		must(t, ns.Start(context.WithoutCancel(t.Context())))
	}
	if res := env.ok(p); res.Counts.Published != 700 {
		t.Errorf("%+v, want 700 published in one pass", res.Counts)
	}
	env.rival().each(p, 700)
}

// The stream, or the broker's disk, is full: the pass stops, nothing that was
// refused is committed, and with room again the rest follows.
func TestFailure02_StreamFull(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		opts []devenv.NATSOption
		fill func(env *testEnv)
		room func(env *testEnv)
	}{
		"the stream's own limit": {
			fill: func(env *testEnv) {
				env.reshape(func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 130, jetstream.DiscardNew })
			},
			room: func(env *testEnv) { env.reshape(func(c *jetstream.StreamConfig) { c.MaxMsgs = -1 }) },
		},
		"the broker's disk": {
			opts: []devenv.NATSOption{devenv.NATSMaxStore(1_000_000)},
			fill: func(env *testEnv) { env.ballast(860_000) },
			room: func(env *testEnv) { env.ballast(0) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			env, _, _ := brokerEnv(t, nil, tt.opts...)
			_, p := env.mailbox(300)
			tt.fill(env)
			_, results, err := env.tryRun(p)
			if !errors.Is(err, publish.ErrStreamFull) {
				t.Fatalf("got %v, %+v; want ErrStreamFull", err, results)
			}
			stored := len(env.events())
			if stored == 0 || stored == 300 {
				t.Fatalf("%d events on the full stream, want some and not all", stored)
			}
			env.notAhead(p)
			if quarantined := results[0].Counts.Quarantined; quarantined > 0 {
				t.Errorf("%d messages went to quarantine because the stream is full", quarantined)
			}
			tt.room(env)
			env.ok(p)
			env.each(p, 300)
		})
	}
}

// ballast fills the broker's disk with a stream of so many bytes; 0 takes it away.
func (env *testEnv) ballast(size int) {
	env.t.Helper()
	js, err := jetstream.New(env.nc)
	must(env.t, err)
	if size == 0 {
		must(env.t, js.DeleteStream(env.t.Context(), "BALLAST"))
		return
	}
	_, err = js.CreateStream(env.t.Context(), jetstream.StreamConfig{Name: "BALLAST", Subjects: []string{"ballast"}})
	must(env.t, err)
	for range size / 10_000 {
		_, err := js.Publish(env.t.Context(), "ballast", make([]byte, 10_000))
		must(env.t, err)
	}
}

// The stream is deleted in the middle of a run: the run stops and says so. The
// next one makes it again and goes on; what was lost with the stream is the
// business of verify.
func TestFailure02_StreamDeletedInMidRun(t *testing.T) {
	t.Parallel()
	env, _, _ := brokerEnv(t, nil)
	_, p := env.mailbox(severalChunks)
	env.publisher(publish.PublisherOptions{StreamGrace: time.Second})
	committed := 0
	env.once(func() {
		js, err := jetstream.New(env.nc)
		must(t, err)
		must(t, js.DeleteStream(t.Context(), event.StreamName))
		committed = env.ledger(p)
	})
	_, results, err := env.tryRun(p)
	if !errors.Is(err, event.ErrStream) || !strings.Contains(err.Error(), "stream") {
		t.Fatalf("got %v, %+v; want ErrStream", err, results)
	}
	lost := env.ledger(p) // with the stream: all that was acknowledged before
	if lost < committed || lost >= severalChunks {
		t.Errorf("%d rows before and %d after, want no more than what was acknowledged", committed, lost)
	}
	env.publisher(publish.PublisherOptions{})
	env.ok(p)
	if n := len(env.events()); n != severalChunks-lost {
		t.Errorf("%d events on the new stream, want the %d that were not acknowledged by the old one", n, severalChunks-lost)
	}
	if rows := env.ledger(p); rows != severalChunks {
		t.Errorf("%d rows in the ledger, want severalChunks", rows)
	}
}

// A broker that takes little: the body is cut and kept as a blob, the event
// goes out.
func TestFailure08_SmallPayload(t *testing.T) {
	t.Parallel()
	env, _, _ := brokerEnv(t, nil, devenv.NATSMaxPayload(64<<10))
	d, p := env.mailbox(3)
	big := fmt.Appendf(nil, "From: a@example.org\r\nMessage-ID: <big@example.org>\r\nSubject: mail big\r\n\r\n%s", strings.Repeat("A line of text.\r\n", 20_000))
	must(t, d.Deliver("u", "INBOX", big))
	must(t, d.Deliver("u", "INBOX", mail(4, "mail after")))
	env.ok(p)
	env.each(p, 5)
	for _, ev := range env.events() {
		data := ev.Payload.EmailData
		if data.Subject == "mail big" && (data.Body.TextBlob == nil || data.Body.TextBlob.Size < 300_000) {
			t.Errorf("the cut body: %+v, want all of it as a blob", data.Body.TextBlob)
		}
	}
}

// The broker's limit is lowered under a publisher that knows the old one: what
// is too large goes to quarantine, alone, and out again with the next limit.
func TestFailure01_PayloadOverTheLimit(t *testing.T) {
	t.Parallel()
	env, _, _ := brokerEnv(t, nil)
	d, p := env.mailbox(10)
	big := fmt.Appendf(nil, "From: a@example.org\r\nMessage-ID: <big@example.org>\r\nSubject: mail big\r\n\r\n%s", strings.Repeat("A line of text.\r\n", 6_000))
	must(t, d.Deliver("u", "INBOX", big))
	must(t, d.Deliver("u", "INBOX", mails(11, 20)...))
	env.reshape(func(c *jetstream.StreamConfig) { c.MaxMsgSize = 64 << 10 })
	if res := env.ok(p); res.Counts.Published != 20 || res.Counts.Quarantined != 1 {
		t.Errorf("%+v, want 20 published and 1 in quarantine", res.Counts)
	}
	list, err := env.store.ListQuarantine(t.Context(), db.QuarantineFilter{Limit: 10})
	must(t, err)
	if len(list) != 1 || list[0].ErrorCode != "too_large" || list[0].UID != 11 {
		t.Errorf("quarantine: %+v, want uid 11, too_large", list)
	}
	env.publisher(publish.PublisherOptions{}) // the next run sees the new limit
	_, err = env.pool().Exec(`UPDATE imap_quarantine SET next_attempt_at = NULL`)
	must(t, err)
	env.ok(p)
	env.each(p, 21)
}

// Acknowledgements are lost on the way: the events are stored and nobody says
// so. They are sent again, refused as known, and counted once.
func TestFailure02_AcksLost(t *testing.T) {
	t.Parallel()
	var deaf atomic.Bool
	env, ns, proxy := brokerEnv(t, func(answer []byte) []byte {
		if deaf.Load() {
			return nil
		}
		return answer
	})
	direct := newEnvOn(t, env.dbURL, ns.URL())
	_, p := env.mailbox(severalChunks)
	var stood int
	env.once(func() {
		deaf.Store(true)
		stood = env.ledger(p)
		go func() {
			soon(t, "events that nobody acknowledged", func() bool { return len(direct.events()) > stood })
			time.Sleep(time.Second) // for whoever would commit them
			direct.notAhead(p)
			// What was acknowledged before may have been committed since: one chunk.
			if rows := env.ledger(p); rows > stood+chunkMessages {
				t.Errorf("%d rows in the ledger, %d when the acknowledgements stopped", rows, stood)
			}
			deaf.Store(false)
			proxy.Cut()
		}()
	})
	if res := env.ok(p); res.Counts.Published != severalChunks {
		t.Errorf("%+v, want %d published", res.Counts, severalChunks)
	}
	direct.each(p, severalChunks)
}

// severalChunks are so many messages that some are on their way when the first
// are committed.
const severalChunks = 4*chunkMessages + chunkMessages/2

// The acknowledgements never come again: the pass ends at its deadline, and
// nothing unacknowledged is committed.
func TestFailure04_AcksNeverCome(t *testing.T) {
	t.Parallel()
	var deaf atomic.Bool
	env, ns, _ := brokerEnv(t, func(answer []byte) []byte {
		if deaf.Load() {
			return nil
		}
		return answer
	})
	direct := newEnvOn(t, env.dbURL, ns.URL())
	_, p := env.mailbox(severalChunks)
	deadline := func(d time.Duration) {
		_, err := env.pool().Exec(`INSERT INTO imap_provider_options (tenant, provider_id, start, pass_timeout_ms)
			VALUES ($1, $2, 'all', $3) ON CONFLICT (tenant, provider_id) DO UPDATE SET pass_timeout_ms = $3`, p.Tenant, p.ID, d.Milliseconds())
		must(t, err)
	}
	deadline(10 * time.Second) // enough for the first chunk
	env.once(func() { deaf.Store(true) })
	started := time.Now()
	_, results, err := env.tryRun(p)
	if took := time.Since(started); took > time.Minute {
		t.Errorf("the pass took %s with a deadline of 10 s", took)
	}
	if err == nil && results[0].Err == nil {
		t.Fatal("the pass went well without acknowledgements")
	}
	if rows := direct.ledger(p); rows >= severalChunks || rows == 0 {
		t.Errorf("%d rows in the ledger, want those that were acknowledged", rows)
	}
	direct.notAhead(p)
	deadline(patience)
	direct.password = env.password
	direct.ok(p)
	direct.each(p, severalChunks)
}

// A broker cuts a client that reads too slowly, with the answers it still had
// for it. The client comes back and sends again what it has no answer for.
func TestFailure02_SlowConsumer(t *testing.T) {
	t.Parallel()
	var answers, cuts atomic.Int64
	var working atomic.Bool
	var env *testEnv
	var ns *devenv.NATS
	var proxy *devenv.Proxy
	env, ns, proxy = brokerEnv(t, func(answer []byte) []byte {
		if !working.Load() || answers.Add(1)%3 != 1 || cuts.Load() == 5 {
			return answer // the first may be all there is, when the machine is busy
		}
		cuts.Add(1)
		time.Sleep(150 * time.Millisecond)
		go proxy.Cut()
		return nil
	})
	_, p := env.mailbox(400)
	working.Store(true)
	if res := env.ok(p); res.Counts.Published != 400 {
		t.Errorf("%+v, want 400 published", res.Counts)
	}
	newEnvOn(t, env.dbURL, ns.URL()).each(p, 400)
	if cuts.Load() == 0 {
		t.Error("the client was never cut")
	}
	t.Logf("cut %d times", cuts.Load())
}
