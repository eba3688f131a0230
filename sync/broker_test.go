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

// brokerHouse is a house on a broker of its own, reached through a proxy that
// filters what the broker answers.
func brokerHouse(t *testing.T, filter func([]byte) []byte, opts ...devenv.NATSOption) (*house, *devenv.NATS, *devenv.Proxy) {
	t.Helper()
	ns := devenv.TestNATSServer(t, opts...)
	u, err := url.Parse(ns.URL())
	must(t, err)
	proxy := devenv.TestProxy(t, u.Host, filter)
	h := newHouseOn(t, devenv.TestPostgres(t, migrate), "nats://"+proxy.Addr())
	h.publisher(publish.PublisherOptions{AckTimeout: 300 * time.Millisecond})
	return h, ns, proxy
}

// publisher gives the runner another one, on the house's connection.
func (h *house) publisher(o publish.PublisherOptions) {
	h.t.Helper()
	pub, err := publish.NewPublisher(h.t.Context(), h.nc, o)
	must(h.t, err)
	h.runner.Publisher = pub
}

// stream is the stream of the events.
func (h *house) stream() jetstream.Stream {
	h.t.Helper()
	js, err := jetstream.New(h.nc)
	must(h.t, err)
	stream, err := js.Stream(h.t.Context(), event.StreamName)
	must(h.t, err)
	return stream
}

// reshape changes the settings of the stream.
func (h *house) reshape(change func(*jetstream.StreamConfig)) {
	h.t.Helper()
	js, err := jetstream.New(h.nc)
	must(h.t, err)
	cfg := h.stream().CachedInfo().Config
	change(&cfg)
	_, err = js.UpdateStream(h.t.Context(), cfg)
	must(h.t, err)
}

// notAhead fails the test when the ledger, or the cursor, is ahead of what the
// stream has.
func (h *house) notAhead(p *db.Provider) {
	h.t.Helper()
	rows, at := h.ledger(p), h.cursors(p)["INBOX"]
	if n := len(h.events()); rows > n || int(at[0]) > n {
		h.t.Errorf("%d rows in the ledger and the cursor at %v, with %d events on the stream", rows, at, n)
	}
}

func TestFailure02_BrokerRestartedInMidPublish(t *testing.T) {
	t.Parallel()
	h, ns, _ := brokerHouse(t, nil)
	_, p := h.mailbox(700)
	rounds := 0
	h.runner.OnProgress = func(Progress) {
		if rounds++; rounds%3 != 1 {
			return
		}
		must(t, ns.Stop())
		time.Sleep(50 * time.Millisecond)
		must(t, ns.Start(context.WithoutCancel(t.Context())))
	}
	if res := h.ok(p); res.Counts.Published != 700 {
		t.Errorf("%+v, want 700 published in one pass", res.Counts)
	}
	h.rival().each(p, 700)
}

// The stream, or the broker's disk, is full: the pass stops, nothing that was
// refused is committed, and with room again the rest follows.
func TestFailure02_StreamFull(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		opts []devenv.NATSOption
		fill func(h *house)
		room func(h *house)
	}{
		"the stream's own limit": {
			fill: func(h *house) {
				h.reshape(func(c *jetstream.StreamConfig) { c.MaxMsgs, c.Discard = 130, jetstream.DiscardNew })
			},
			room: func(h *house) { h.reshape(func(c *jetstream.StreamConfig) { c.MaxMsgs = -1 }) },
		},
		"the broker's disk": {
			opts: []devenv.NATSOption{devenv.NATSMaxStore(1_000_000)},
			fill: func(h *house) { h.ballast(860_000) },
			room: func(h *house) { h.ballast(0) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, _, _ := brokerHouse(t, nil, tt.opts...)
			_, p := h.mailbox(300)
			tt.fill(h)
			_, results, err := h.tryRun(p)
			if !errors.Is(err, publish.ErrStreamFull) {
				t.Fatalf("got %v, %+v; want ErrStreamFull", err, results)
			}
			stored := len(h.events())
			if stored == 0 || stored == 300 {
				t.Fatalf("%d events on the full stream, want some and not all", stored)
			}
			h.notAhead(p)
			if quarantined := results[0].Counts.Quarantined; quarantined > 0 {
				t.Errorf("%d messages went to quarantine because the stream is full", quarantined)
			}
			tt.room(h)
			h.ok(p)
			h.each(p, 300)
		})
	}
}

// ballast fills the broker's disk with a stream of so many bytes; 0 takes it away.
func (h *house) ballast(size int) {
	h.t.Helper()
	js, err := jetstream.New(h.nc)
	must(h.t, err)
	if size == 0 {
		must(h.t, js.DeleteStream(h.t.Context(), "BALLAST"))
		return
	}
	_, err = js.CreateStream(h.t.Context(), jetstream.StreamConfig{Name: "BALLAST", Subjects: []string{"ballast"}})
	must(h.t, err)
	for range size / 10_000 {
		_, err := js.Publish(h.t.Context(), "ballast", make([]byte, 10_000))
		must(h.t, err)
	}
}

// The stream is deleted in the middle of a run: the run stops and says so. The
// next one makes it again and goes on; what was lost with the stream is the
// business of verify.
func TestFailure02_StreamDeletedInMidRun(t *testing.T) {
	t.Parallel()
	h, _, _ := brokerHouse(t, nil)
	_, p := h.mailbox(severalChunks)
	h.publisher(publish.PublisherOptions{StreamGrace: time.Second})
	committed := 0
	h.once(func() {
		js, err := jetstream.New(h.nc)
		must(t, err)
		must(t, js.DeleteStream(t.Context(), event.StreamName))
		committed = h.ledger(p)
	})
	_, results, err := h.tryRun(p)
	if !errors.Is(err, event.ErrStream) || !strings.Contains(err.Error(), "stream") {
		t.Fatalf("got %v, %+v; want ErrStream", err, results)
	}
	lost := h.ledger(p) // with the stream: all that was acknowledged before
	if lost < committed || lost >= severalChunks {
		t.Errorf("%d rows before and %d after, want no more than what was acknowledged", committed, lost)
	}
	h.publisher(publish.PublisherOptions{})
	h.ok(p)
	if n := len(h.events()); n != severalChunks-lost {
		t.Errorf("%d events on the new stream, want the %d that were not acknowledged by the old one", n, severalChunks-lost)
	}
	if rows := h.ledger(p); rows != severalChunks {
		t.Errorf("%d rows in the ledger, want severalChunks", rows)
	}
}

// A broker that takes little: the body is cut and kept as a blob, the event
// goes out.
func TestFailure08_SmallPayload(t *testing.T) {
	t.Parallel()
	h, _, _ := brokerHouse(t, nil, devenv.NATSMaxPayload(64<<10))
	d, p := h.mailbox(3)
	big := fmt.Appendf(nil, "From: a@example.org\r\nMessage-ID: <big@example.org>\r\nSubject: mail big\r\n\r\n%s", strings.Repeat("A line of text.\r\n", 20_000))
	must(t, d.Deliver("u", "INBOX", big))
	must(t, d.Deliver("u", "INBOX", mail(4, "mail after")))
	h.ok(p)
	h.each(p, 5)
	for _, ev := range h.events() {
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
	h, _, _ := brokerHouse(t, nil)
	d, p := h.mailbox(10)
	big := fmt.Appendf(nil, "From: a@example.org\r\nMessage-ID: <big@example.org>\r\nSubject: mail big\r\n\r\n%s", strings.Repeat("A line of text.\r\n", 6_000))
	must(t, d.Deliver("u", "INBOX", big))
	must(t, d.Deliver("u", "INBOX", mails(11, 20)...))
	h.reshape(func(c *jetstream.StreamConfig) { c.MaxMsgSize = 64 << 10 })
	if res := h.ok(p); res.Counts.Published != 20 || res.Counts.Quarantined != 1 {
		t.Errorf("%+v, want 20 published and 1 in quarantine", res.Counts)
	}
	list, err := h.store.ListQuarantine(t.Context(), db.QuarantineFilter{Limit: 10})
	must(t, err)
	if len(list) != 1 || list[0].ErrorCode != "too_large" || list[0].UID != 11 {
		t.Errorf("quarantine: %+v, want uid 11, too_large", list)
	}
	h.publisher(publish.PublisherOptions{}) // the next run sees the new limit
	_, err = h.pool().Exec(`UPDATE imap_quarantine SET next_attempt_at = NULL`)
	must(t, err)
	h.ok(p)
	h.each(p, 21)
}

// Acknowledgements are lost on the way: the events are stored and nobody says
// so. They are sent again, refused as known, and counted once.
func TestFailure02_AcksLost(t *testing.T) {
	t.Parallel()
	var deaf atomic.Bool
	h, ns, proxy := brokerHouse(t, func(answer []byte) []byte {
		if deaf.Load() {
			return nil
		}
		return answer
	})
	direct := newHouseOn(t, h.dbURL, ns.URL())
	_, p := h.mailbox(severalChunks)
	var stood int
	h.once(func() {
		deaf.Store(true)
		stood = h.ledger(p)
		go func() {
			soon(t, "events that nobody acknowledged", func() bool { return len(direct.events()) > stood })
			time.Sleep(time.Second) // for whoever would commit them
			direct.notAhead(p)
			// What was acknowledged before may have been committed since: one chunk.
			if rows := h.ledger(p); rows > stood+chunkMessages {
				t.Errorf("%d rows in the ledger, %d when the acknowledgements stopped", rows, stood)
			}
			deaf.Store(false)
			proxy.Cut()
		}()
	})
	if res := h.ok(p); res.Counts.Published != severalChunks {
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
	h, ns, _ := brokerHouse(t, func(answer []byte) []byte {
		if deaf.Load() {
			return nil
		}
		return answer
	})
	direct := newHouseOn(t, h.dbURL, ns.URL())
	_, p := h.mailbox(severalChunks)
	deadline := func(d time.Duration) {
		_, err := h.pool().Exec(`INSERT INTO imap_provider_options (tenant, provider_id, start, pass_timeout_ms)
			VALUES ($1, $2, 'all', $3) ON CONFLICT (tenant, provider_id) DO UPDATE SET pass_timeout_ms = $3`, p.Tenant, p.ID, d.Milliseconds())
		must(t, err)
	}
	deadline(10 * time.Second) // enough for the first chunk
	h.once(func() { deaf.Store(true) })
	started := time.Now()
	_, results, err := h.tryRun(p)
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
	direct.password = h.password
	direct.ok(p)
	direct.each(p, severalChunks)
}

// A broker cuts a client that reads too slowly, with the answers it still had
// for it. The client comes back and sends again what it has no answer for.
func TestFailure02_SlowConsumer(t *testing.T) {
	t.Parallel()
	var answers, cuts atomic.Int64
	var working atomic.Bool
	var h *house
	var ns *devenv.NATS
	var proxy *devenv.Proxy
	h, ns, proxy = brokerHouse(t, func(answer []byte) []byte {
		if !working.Load() || answers.Add(1)%3 != 1 || cuts.Load() == 5 {
			return answer // the first may be all there is, when the machine is busy
		}
		cuts.Add(1)
		time.Sleep(150 * time.Millisecond)
		go proxy.Cut()
		return nil
	})
	_, p := h.mailbox(400)
	working.Store(true)
	if res := h.ok(p); res.Counts.Published != 400 {
		t.Errorf("%+v, want 400 published", res.Counts)
	}
	newHouseOn(t, h.dbURL, ns.URL()).each(p, 400)
	if cuts.Load() == 0 {
		t.Error("the client was never cut")
	}
	t.Logf("cut %d times", cuts.Load())
}
