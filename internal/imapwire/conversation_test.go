package imapwire

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapsync/internal/devenv/imapserver"
)

// testLimits make a bad server's cost visible within a test.
var testLimits = Limits{
	Command:     time.Second,
	Literal:     time.Second,
	Idle:        time.Second,
	LiteralSize: 1 << 20,
	Line:        64 << 10,
	SearchNums:  250_000,
}

// conversation is what a client learned through the wire.
type conversation struct {
	stage   string // how far it came
	err     error  // why no further: the wire's error before go-imap's
	folders []string
	status  imap.StatusData
	selects imap.SelectData
	uids    []imap.UID
	sizes   map[imap.UID]int64
	bodies  map[imap.UID]string
	dates   int
	wire    *Conn
}

// converse holds the conversation of a poller, each step as the session does it.
func converse(srv *imapserver.Server, lim Limits) *conversation {
	c := &conversation{stage: "tls", sizes: map[imap.UID]int64{}, bodies: map[imap.UID]string{}}
	conn, err := net.Dial("tcp", srv.Addr())
	if err != nil {
		c.err = err
		return c
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(4 * lim.Command))
	tc := tls.Client(conn, &tls.Config{RootCAs: srv.CAs(), ServerName: "localhost"})
	if c.err = tc.Handshake(); c.err != nil {
		return c
	}
	conn.SetDeadline(time.Time{})
	c.wire = New(tc, lim)
	client := imapclient.New(c.wire, nil)
	err = c.run(client, srv)
	c.wire.Close()
	<-client.Closed()
	if werr := c.wire.Err(); err != nil && werr != nil {
		err = werr
	}
	c.err = err
	return c
}

func (c *conversation) run(client *imapclient.Client, srv *imapserver.Server) error {
	c.stage = "greeting"
	if err := client.WaitGreeting(); err != nil {
		return err
	}
	c.wire.Redact(srv.Password)
	c.stage = "login"
	if client.State() == imap.ConnStateAuthenticated {
		return errors.New("preauth")
	}
	client.Caps()
	if err := client.Login(srv.Username, srv.Password).Wait(); err != nil {
		return err
	}
	c.stage = "id"
	if client.Caps().Has(imap.CapID) {
		if _, err := client.ID(&imap.IDData{Name: "test"}).Wait(); err != nil && c.wire.Err() != nil {
			return err
		}
	}
	c.stage = "list"
	boxes, err := client.List("", "*", nil).Collect()
	if err != nil {
		return err
	}
	for _, b := range boxes {
		c.folders = append(c.folders, b.Mailbox)
	}
	c.stage = "status"
	st, err := client.Status("INBOX", &imap.StatusOptions{UIDNext: true, UIDValidity: true, NumMessages: true}).Wait()
	if err != nil {
		return err
	}
	c.status = *st
	c.stage = "select"
	sel, err := client.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil {
		return err
	}
	c.selects = *sel
	c.stage = "search"
	found, err := client.UIDSearch(&imap.SearchCriteria{UID: []imap.UIDSet{{{Start: 1, Stop: 1<<32 - 1}}}}, nil).Wait()
	if err != nil {
		return err
	}
	c.uids = found.AllUIDs()
	if len(c.uids) == 0 {
		return nil
	}
	c.stage = "fetch"
	set := imap.UIDSetNum(c.uids[:min(len(c.uids), 50)]...)
	sizes, err := client.Fetch(set, &imap.FetchOptions{UID: true, RFC822Size: true, InternalDate: true}).Collect()
	if err != nil {
		return err
	}
	for _, m := range sizes {
		c.sizes[m.UID] = m.RFC822Size
		if !m.InternalDate.IsZero() {
			c.dates++
		}
	}
	c.stage = "body"
	if err := c.fetchBodies(client, set); err != nil {
		return err
	}
	c.stage = "idle"
	idle, err := client.Idle()
	if err != nil {
		if _, refused := errors.AsType[*imap.Error](err); !refused {
			return err
		}
	} else {
		if err := idle.Close(); err != nil {
			return err
		}
		if err := idle.Wait(); err != nil {
			return err
		}
	}
	c.stage = "noop"
	if err := client.Noop().Wait(); err != nil {
		return err
	}
	c.stage = "logout"
	if err := client.Logout().Wait(); err != nil {
		return err
	}
	c.stage = "done"
	return nil
}

// fetchBodies notes a body as soon as its announced length has been read, as a
// streaming consumer would.
func (c *conversation) fetchBodies(client *imapclient.Client, set imap.UIDSet) error {
	cmd := client.Fetch(set, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		var uid imap.UID
		for item := msg.Next(); item != nil; item = msg.Next() {
			switch item := item.(type) {
			case imapclient.FetchItemDataUID:
				uid = item.UID
			case imapclient.FetchItemDataBodySection:
				if item.Literal == nil {
					continue
				}
				b, err := io.ReadAll(item.Literal)
				if err != nil {
					// cmd.Close would read the literal again, beside go-imap's
					// own reader: a data race of its own. Once that has ended,
					// there is nothing left to close.
					c.wire.Close()
					<-client.Closed()
					return err
				}
				if int64(len(b)) != item.Literal.Size() {
					return fmt.Errorf("literal of %d ended at %d", item.Literal.Size(), len(b))
				}
				c.bodies[uid] = string(b)
			}
		}
	}
	return cmd.Close()
}

// checkHonest compares what was learned with what an honest server has.
func checkHonest(c *conversation, srv *imapserver.Server) error {
	if c.err != nil || c.stage != "done" {
		return fmt.Errorf("stopped at %s: %w", c.stage, c.err)
	}
	if !slices.Contains(c.folders, "INBOX") {
		return fmt.Errorf("folders: %q", c.folders)
	}
	for _, m := range srv.Mailbox("INBOX").Messages() {
		if !slices.Contains(c.uids, imap.UID(m.UID)) {
			return fmt.Errorf("uid %d not found: %v", m.UID, c.uids)
		}
		if got := c.sizes[imap.UID(m.UID)]; got != int64(len(m.Raw)) {
			return fmt.Errorf("uid %d: size %d, not %d", m.UID, got, len(m.Raw))
		}
		if got := c.bodies[imap.UID(m.UID)]; got != string(m.Raw) {
			return fmt.Errorf("uid %d: body %.60q", m.UID, got)
		}
	}
	return nil
}

// TestWireHonest: through the wire, a server that behaves is as it is.
func TestWireHonest(t *testing.T) {
	srv := imapserver.Test(t, imapserver.Config{}, 3)
	imapserver.Within(t, 10*time.Second, func() {
		c := converse(srv, testLimits)
		if err := checkHonest(c, srv); err != nil {
			t.Error(err)
		}
		if c.status.UIDNext != 4 || c.selects.UIDNext != 4 || c.status.HighestModSeq == 0 || c.selects.HighestModSeq != c.status.HighestModSeq || c.selects.NumMessages != 3 || c.dates != 3 {
			t.Errorf("status %+v, select %+v, dates %d", c.status, c.selects, c.dates)
		}
		if err := c.wire.Err(); err != nil {
			t.Error("error after an orderly end:", err)
		}
		if st := c.wire.LastStatus(); st != (Status{}) {
			t.Error("status after an orderly end:", st)
		}
	})
	if v := srv.Violations(); v != nil {
		t.Error(v)
	}
}
