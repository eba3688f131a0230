package imapserver

import (
	"crypto/tls"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/emersion/go-sasl"
)

// TestHonest: without a quirk, go-imap's bare client finds a proper server.
func TestHonest(t *testing.T) {
	for _, security := range []Security{TLS, STARTTLS, Plain} {
		s, err := Start(Config{Security: security, Token: "tok"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		inbox := s.Mailbox("INBOX")
		one := inbox.AppendAt("From: a@example.com\r\nSubject: one\r\n\r\n1\r\n", time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC))
		two := inbox.Append("From: b@example.com\r\nSubject: two\r\n\r\n2\r\n")
		hidden := inbox.AppendHidden("Subject: late\r\n\r\n")
		inbox.MarkSeen(two)

		config := &tls.Config{RootCAs: s.CAs(), ServerName: "localhost"}
		var c *imapclient.Client
		switch security {
		case TLS:
			conn, err := tls.Dial("tcp", s.Addr(), config)
			if err != nil {
				t.Fatal(err)
			}
			c = imapclient.New(conn, nil)
		case STARTTLS:
			conn, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			if c, err = imapclient.NewStartTLS(conn, &imapclient.Options{TLSConfig: config}); err != nil {
				t.Fatal(err)
			}
		case Plain:
			if c, err = imapclient.DialInsecure(s.Addr(), nil); err != nil {
				t.Fatal(err)
			}
		}
		defer c.Close()
		if err := c.Authenticate(sasl.NewPlainClient("", s.Username, s.Password)); err != nil {
			t.Fatal(security, err)
		}
		if _, err := c.Select("inbox", &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			criteria imap.SearchCriteria
			want     []imap.UID
		}{
			{imap.SearchCriteria{}, []imap.UID{imap.UID(one), imap.UID(two)}},
			{imap.SearchCriteria{NotFlag: []imap.Flag{imap.FlagSeen}}, []imap.UID{imap.UID(one)}},
			{imap.SearchCriteria{UID: []imap.UIDSet{{{Start: 2, Stop: 9}}}}, []imap.UID{imap.UID(two)}},
			{imap.SearchCriteria{Since: time.Date(2024, 1, 3, 0, 0, 0, 0, time.UTC)}, []imap.UID{imap.UID(two)}},
			{imap.SearchCriteria{Or: [][2]imap.SearchCriteria{{{Flag: []imap.Flag{imap.FlagSeen}}, {Before: time.Date(2024, 1, 3, 0, 0, 0, 0, time.UTC)}}}}, []imap.UID{imap.UID(one), imap.UID(two)}},
		} {
			found, err := c.UIDSearch(&tc.criteria, nil).Wait()
			if err != nil || !slices.Equal(found.AllUIDs(), tc.want) {
				t.Errorf("search %+v: %v, %v", tc.criteria, found.AllUIDs(), err)
			}
		}
		header := &imap.FetchItemBodySection{Peek: true, Specifier: imap.PartSpecifierHeader, HeaderFields: []string{"Subject"}}
		part := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Offset: 6, Size: 3}}
		for section, want := range map[*imap.FetchItemBodySection]string{header: "Subject: one\r\n\r\n", part: "a@e"} {
			got, err := c.Fetch(imap.UIDSetNum(imap.UID(one)), &imap.FetchOptions{UID: true, RFC822Size: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{section}}).Collect()
			if err != nil || len(got) != 1 || string(got[0].FindBodySection(section)) != want || got[0].RFC822Size != 40 || !got[0].InternalDate.Equal(time.Date(2024, 1, 2, 3, 4, 5, 0, time.UTC)) {
				t.Errorf("fetch: %+v, %v", got, err)
			}
		}
		inbox.Show()
		inbox.Expunge(one)
		found, err := c.UIDSearch(&imap.SearchCriteria{}, nil).Wait()
		if err != nil || !slices.Equal(found.AllUIDs(), []imap.UID{imap.UID(two), imap.UID(hidden)}) {
			t.Errorf("after changes: %v, %v", found.AllUIDs(), err)
		}
		if v := s.Violations(); v != nil {
			t.Error(v)
		}
		if err := c.Logout().Wait(); err != nil {
			t.Error(err)
		}
	}
}

// TestBearer: tokens are checked, and a refusal comes as a challenge first.
func TestBearer(t *testing.T) {
	s, err := Start(Config{Token: "tok"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for token, ok := range map[string]bool{"tok": true, "old": false} {
		c, err := imapclient.DialTLS(s.Addr(), &imapclient.Options{TLSConfig: &tls.Config{RootCAs: s.CAs(), ServerName: "localhost"}})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() {
			done <- c.Authenticate(sasl.NewOAuthBearerClient(&sasl.OAuthBearerOptions{Username: s.Username, Token: token}))
		}()
		select {
		case err := <-done:
			if (err == nil) != ok {
				t.Errorf("token %s: %v", token, err)
			}
		case <-time.After(time.Minute):
			t.Errorf("token %s: no answer", token)
		}
		c.Close()
	}
}

// TestQuirks: names are unique and every entry says what it is.
func TestQuirks(t *testing.T) {
	seen := map[string]bool{}
	for _, q := range Quirks() {
		if q.Name == "" || q.Stage == "" || q.Describe == "" || q.Row == 0 || q.Do == nil && q.Setup == nil || seen[q.Name] {
			t.Errorf("%+v", q)
		}
		seen[q.Name] = true
	}
	if len(seen) < 60 {
		t.Errorf("only %d quirks", len(seen))
	}
}

// TestPlay: a quirk that passes fires once, one that lasts until Behave.
func TestPlay(t *testing.T) {
	s, err := Start(Config{Security: Plain})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	greets := func() bool {
		c, err := imapclient.DialInsecure(s.Addr(), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.WaitGreeting() == nil
	}
	s.Play(Named("greeting-cut"))
	if greets() || !greets() {
		t.Error("greeting-cut is not once")
	}
	s.PlayTimes(Named("greeting-cut"), -1)
	first, second := greets(), greets()
	if first || second {
		t.Error("greeting-cut does not last")
	}
	s.Behave()
	if !greets() {
		t.Error("the server does not behave")
	}
	if n := s.Connections(); n != 5 {
		t.Error(n, "connections")
	}
}
