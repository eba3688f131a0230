package imapsession

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"imapsync/internal/imapwire"
)

// greetingError classes a failure before the login. A BYE turns every mailbox away: it
// says why (RFC 3501 section 7.1.5), and often asks for patience. A proxy that is ill says
// so by NO or BAD.
func greetingError(err error, last imapwire.Status) error {
	if turnsAway(last.Type) { // go-imap may say no more than that the connection is gone
		return failf("turned_away", "greeting: server said %s", last)
	}
	if e, ok := errors.AsType[*imapwire.Error](err); ok && e.Speaks != "" {
		return wrongProtocol("greeting", e.Speaks, err)
	}
	return failf("greeting", "greeting: %w", err)
}

func turnsAway(greeting string) bool {
	return greeting == "BYE" || greeting == "NO" || greeting == "BAD"
}

// wrongProtocol is the error of a port on which something else than IMAP is spoken.
func wrongProtocol(step, speaks string, err error) error {
	if speaks == "TLS" {
		return failf("starttls_tls", "%s: the server speaks TLS from the start on this port", step)
	}
	return failf("wrong_protocol", "%s: that is %s, not IMAP (%w)", step, speaks, err).With("protocol", speaks)
}

// probePatience is the longest that a port that said nothing is asked what it speaks.
const probePatience = 2 * time.Second

// probeAgain is how soon a port that said nothing is asked again: a host that hangs has
// many mailboxes, and a connection that ends before a login looks like an attack.
const probeAgain = 30 * time.Minute

// probed is what silent ports were found to speak; "" for nothing.
type probed struct {
	mu     sync.Mutex
	speaks map[Server]string
	since  time.Time
}

// of is what a silent port speaks. It asks only a port that was not asked lately.
func (p *probed) of(s Server, now time.Time, ask func() string) string {
	p.mu.Lock()
	if p.speaks == nil || now.Sub(p.since) >= probeAgain || len(p.speaks) >= maxTLSConfigs {
		p.speaks, p.since = map[Server]string{}, now
	}
	known, asked := p.speaks[s]
	if !asked {
		p.speaks[s] = "" // whoever comes meanwhile does not ask as well
	}
	p.mu.Unlock()
	if asked {
		return known
	}
	speaks := ask()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.speaks[s] = speaks
	return speaks
}

// wrongPort finds out why a port said nothing: a server that speaks TLS from the start,
// and one of HTTP, waits to be spoken to. Nothing of the account is said to it. Any
// other error it returns as it is.
func (d *Dialer) wrongPort(ctx context.Context, a Account, err error) error {
	_, code := Classify(err)
	silent := code == "starttls_timeout" || code == "greeting" && errors.Is(err, os.ErrDeadlineExceeded)
	if !silent || ctx.Err() != nil {
		return err
	}
	speaks := d.probed.of(a.Server, d.clock()(), func() string {
		ctx, cancel := context.WithTimeout(ctx, min(probePatience, a.Timeouts.connect()))
		defer cancel()
		return d.probe(ctx, a)
	})
	if speaks == "" {
		return err
	}
	return wrongProtocol("greeting", speaks, errors.New("it says nothing until it is spoken to"))
}

// probe is what a server answers, on a new connection, to the beginning of TLS, or in it
// to an IMAP command; "" when that tells nothing.
func (d *Dialer) probe(ctx context.Context, a Account) string {
	conn, err := Dial(ctx, a)
	if err != nil {
		return ""
	}
	defer conn.Close()
	if a.TLS != TLSImplicit {
		cfg, err := d.tls.of(a.Server, d.clock())
		if err == nil {
			err = tls.Client(conn, cfg).HandshakeContext(ctx)
		}
		return spokeTLS(err)
	}
	secured, err := d.Secure(ctx, conn, a)
	if err != nil {
		return ""
	}
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	answer := make([]byte, 5)
	if _, err = io.WriteString(secured, "X1 CAPABILITY\r\n\r\n"); err == nil {
		_, err = io.ReadFull(secured, answer)
	}
	if speaks := imapwire.Speaks(answer); err == nil && speaks == "HTTP" {
		return speaks
	}
	return ""
}

// spokeTLS is what a server speaks by how a handshake with it ended.
func spokeTLS(err error) string {
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return imapwire.Speaks(e.RecordHeader[:])
	}
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	alert, ok := errors.AsType[*net.OpError](err)
	if err == nil || certificate || ok && alert.Op == "remote error" {
		return "TLS"
	}
	return ""
}
