package sync

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/devenv"
	"imapsync/parse"
)

// These tests carry the numbers of the ways in which mail pollers fail in the
// field; the others of the same name stand beside what they test.

func TestFailure01_PanicInOneMessageHarmsNoOther(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	list := mails(1, 20)
	list[7] = mail(8, "POISON")
	must(t, d.Deliver("u", "INBOX", list...))
	p := env.provider(d, "u", "p", nil)
	env.runner.parse = func(raw []byte, lim parse.Limits) *parse.Message {
		if bytes.Contains(raw, []byte("POISON")) {
			panic("index out of range")
		}
		return parse.Parse(raw, lim)
	}
	res := env.ok(p)
	if res.Counts.Published != 19 || res.Counts.Quarantined != 1 {
		t.Fatalf("%+v, want 19 published and 1 quarantined", res.Counts)
	}
	for attempt := 2; attempt <= maxCharges; attempt++ {
		must(t, env.due())
		env.ok(p)
	}
	list2, err := env.store.ListQuarantine(t.Context(), db.QuarantineFilter{ProviderID: p.ID, Limit: 10})
	must(t, err)
	if len(list2) != 1 || list2[0].State != db.QuarantineDead || list2[0].Attempts != maxCharges || list2[0].RawBlobKey == "" {
		t.Fatalf("after %d attempts: %+v, want it dead with its raw mail kept", maxCharges, list2)
	}
	blobs, err := env.runner.Publisher.Blobs(t.Context())
	must(t, err)
	if _, err := blobs.Stat(t.Context(), list2[0].RawBlobKey); err != nil {
		t.Errorf("the raw mail: %v", err)
	}

	// Released, it goes out by its headers; mended and tried again, as a whole.
	must(t, env.store.SetQuarantineState(t.Context(), &list2[0], db.QuarantineRetry, db.Audit{Tenant: p.Tenant, At: time.Now()}))
	env.runner.parse = parse.Parse
	if res := env.ok(p); res.Counts.Published != 1 {
		t.Errorf("replayed: %+v, want 1 published", res.Counts)
	}
	left, err := env.store.ListQuarantine(t.Context(), db.QuarantineFilter{ProviderID: p.ID, Limit: 10})
	must(t, err)
	if len(left) != 0 || len(env.events()) != 20 {
		t.Errorf("%d left in quarantine, %d events; want 0 and 20", len(left), len(env.events()))
	}
}

func TestFailure01_ReleasedMessageGoesOutByItsHeaders(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	must(t, d.Deliver("u", "INBOX", mail(1, "POISON")))
	p := env.provider(d, "u", "p", nil)
	env.runner.parse = func(raw []byte, lim parse.Limits) *parse.Message {
		if bytes.Contains(raw, []byte("Body")) {
			panic("at the body")
		}
		return parse.Parse(raw, lim)
	}
	env.ok(p)
	list, err := env.store.ListQuarantine(t.Context(), db.QuarantineFilter{ProviderID: p.ID, Limit: 10})
	must(t, err)
	must(t, env.store.SetQuarantineState(t.Context(), &list[0], db.QuarantineReleased, db.Audit{Tenant: p.Tenant, At: time.Now()}))
	if res := env.ok(p); res.Counts.Published != 1 {
		t.Fatalf("released: %+v, want 1 published", res.Counts)
	}
	mail := env.events()[0].Payload.EmailData
	if mail.Subject != "POISON" || !slices.ContainsFunc(mail.Defects, func(d event.Defect) bool { return d.Code == defectReleased }) {
		t.Errorf("subject %q, defects %v", mail.Subject, mail.Defects)
	}
}

func TestFailure08_OverTheLimitGoesOutAsHeaders(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	large := append(mail(2, "large"), bytes.Repeat([]byte("0123456789abcdef\r\n"), 10_000)...)
	must(t, d.Deliver("u", "INBOX", mail(1, "small"), large, mail(3, "small")))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.MaxMessageBytes = 100_000 })
	res := env.ok(p)
	if res.Counts.Published != 3 || res.Bytes > 5000 {
		t.Fatalf("%+v, want 3 published and the large body not downloaded", res)
	}
	for _, ev := range env.events() {
		mail := ev.Payload.EmailData
		if mail.Subject != "large" {
			continue
		}
		if len(mail.IngressSkipReasons) != 1 || mail.IngressSkipReasons[0].Reason != event.SkipRawMIMEBytes || mail.MessageSize < 180_000 {
			t.Errorf("skip reasons %+v, size %d", mail.IngressSkipReasons, mail.MessageSize)
		}
	}
}

func TestFailure09_MessageIDIsNotIdentity(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	parcel := func(n int) []byte {
		return fmt.Appendf(nil, "From: parcels@example.org\r\nTo: u@example.com\r\nSubject: parcel %d\r\nMessage-ID: <same@example.org>\r\n"+
			"Date: Mon, 2 Mar 2026 10:00:%02d +0000\r\n\r\nParcel %d.\r\n", n, n, n)
	}
	without := func(n int) []byte {
		return fmt.Appendf(nil, "From: a@example.org\r\nTo: u@example.com\r\nSubject: no id\r\nDate: Mon, 2 Mar 2026 10:00:00 +0000\r\n\r\nText %d.\r\n", n)
	}
	must(t, d.Deliver("u", "INBOX", parcel(1), parcel(2), without(1), without(2), without(1), parcel(1)))
	p := env.provider(d, "u", "p", nil)
	if res := env.ok(p); res.Counts != (db.Counts{Published: 4, Duplicates: 2}) {
		t.Errorf("%+v, want 4 published and 2 duplicates", res.Counts)
	}
	must(t, env.runner.Reconcile(t.Context(), p, func(r FolderReport) {
		if r.Handled != 4 || r.Duplicates != 2 || r.OnServer != 6 {
			t.Errorf("reconciled: %+v, want 4 handled and 2 duplicates", r)
		}
	}))
	reused := 0
	for _, ev := range env.events() {
		if slices.ContainsFunc(ev.Payload.EmailData.Defects, func(d event.Defect) bool { return d.Code == event.DefectMessageIDReused }) {
			reused++
		}
	}
	if reused != 1 {
		t.Errorf("%d events say that the Message-ID is reused, want 1", reused)
	}
}

func TestFailure11_BacklogDownloadsOnlyTheBudget(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	must(t, d.Deliver("u", "INBOX", mails(1, 500)...))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.MaxEmailsPerSync = 5 })
	res := env.ok(p)
	if res.Counts.Published != 5 || res.Left != 495 || res.Bytes > 5*300 {
		t.Errorf("%+v, want 5 bodies downloaded of 500", res)
	}
}

func TestFailure12_OldDatesAreNoReasonToMissMail(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	p := env.provider(d, "u", "p", nil)
	env.ok(p)
	// Moved in or restored: it came today and bears a date of years ago.
	must(t, d.Append("u", "INBOX", time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), mails(1, 2)...))
	if res := env.ok(p); res.Counts.Published != 2 {
		t.Errorf("%+v, want 2 published", res.Counts)
	}
}

func TestFailure13_FlagsAreNeitherReadNorWritten(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	must(t, d.Deliver("u", "INBOX", mails(1, 4)...))
	c, err := d.Login("u")
	must(t, err)
	defer c.Close()
	_, err = c.Select("INBOX", nil).Wait()
	must(t, err)
	must(t, c.Store(imap.SeqSetNum(1, 2), &imap.StoreFlags{Op: imap.StoreFlagsAdd, Flags: []imap.Flag{imap.FlagSeen}}, nil).Close())
	p := env.provider(d, "u", "p", nil)
	if res := env.ok(p); res.Counts.Published != 4 {
		t.Errorf("%+v, want 4 published, the two that a person read among them", res.Counts)
	}
	data, err := c.UIDSearch(&imap.SearchCriteria{Flag: []imap.Flag{imap.FlagSeen}}, nil).Wait()
	must(t, err)
	if got := len(data.AllUIDs()); got != 2 {
		t.Errorf("%d messages are read now, want the 2 of before", got)
	}
}

func TestFailure19_CharsetsAndNULStopNothing(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	must(t, d.Deliver("u", "INBOX",
		[]byte("From: a@example.org\r\nSubject: nul\x00 in \xff subject\r\nMessage-ID: <nul\x00@example.org>\r\nContent-Type: text/plain; charset=no-such\r\n\r\ncaf\xe9\x00\r\n"),
		mail(2, "after it")))
	p := env.provider(d, "u", "p", nil)
	if res := env.ok(p); res.Counts.Published != 2 {
		t.Fatalf("%+v, want 2 published", res.Counts)
	}
	if text := env.events()[0].Payload.EmailData.Body.Text; !strings.Contains(text, "café") {
		t.Errorf("text %q, want it read as windows-1252", text)
	}
}

func TestFailure20_MalformedAddressesDropNothing(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	for _, from := range []string{"", "From:\r\n", "From: undisclosed\r\n", "From: <<@>>,;\r\n", "From: =?utf-8?q?broken?= <a@@b>\r\n"} {
		must(t, d.Deliver("u", "INBOX", []byte(from+"Subject: x\r\n\r\n"+from+"text\r\n")))
	}
	p := env.provider(d, "u", "p", nil)
	if res := env.ok(p); res.Counts.Published != 5 {
		t.Fatalf("%+v, want 5 published", res.Counts)
	}
	for _, ev := range env.events() {
		mail := ev.Payload.EmailData
		if !strings.Contains(mail.From.Email, "@") || len(mail.Defects) == 0 {
			t.Errorf("from %q, defects %v", mail.From.Email, mail.Defects)
		}
	}
}

func TestFailure22_OneConnectionAnAccountAndGoodbye(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t, devenv.DovecotConfig("mail_max_userip_connections = 1"))
	must(t, d.AddUser("u", "p", "A", "B", "C"))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.Folders = db.FolderNames{"*"} })
	for n := range 5 {
		must(t, d.Deliver("u", "A", mail(n, "a")))
		must(t, d.Deliver("u", "C", mail(n+100, "c")))
		if res := env.ok(p); res.Counts.Published != 2 {
			t.Fatalf("pass %d: %+v, want 2 published", n, res.Counts)
		}
	}
}

func TestFailure25_FolderNamesInAnySpelling(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t, devenv.DovecotSeparator("."))
	must(t, d.AddUser("u", "p", "Clients.ACME", "日本語", "Q&A"))
	for n, folder := range []string{"INBOX", "Clients.ACME", "日本語", "Q&A"} {
		must(t, d.Deliver("u", folder, mail(n, folder)))
	}
	p := env.provider(d, "u", "p", func(p *db.Provider) {
		p.Folders = db.FolderNames{"inbox", "clients/acme", "日本語", "Q&A", "Missing"}
	})
	_, results := env.run(p)
	if res := results[0]; res.Counts.Published != 4 || !res.Partial {
		t.Errorf("%+v, want 4 published and the missing folder alone failed", res)
	}
	if got := len(env.events()); got != 4 {
		t.Errorf("%d events, want 4", got)
	}
}

func TestFailure02_ExpungedBetweenSearchAndFetch(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	must(t, d.Deliver("u", "INBOX", mails(1, 300)...))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.MaxEmailsPerSync = 300 })
	c, err := d.Login("u")
	must(t, err)
	defer c.Close()
	_, err = c.Select("INBOX", nil).Wait()
	must(t, err)
	expunged := false
	env.runner.OnProgress = func(Progress) {
		if !expunged {
			expunged = true
			must(t, expungeUIDs(c, 295, 296, 297))
		}
	}
	res := env.ok(p)
	if res.Counts.Published+res.Counts.Expunged+res.Counts.Quarantined != 300 || res.Counts.Published < 297 {
		t.Fatalf("%+v, want every message accounted for", res.Counts)
	}
	must(t, env.due())
	env.ok(p)
	left, err := env.store.ListQuarantine(t.Context(), db.QuarantineFilter{ProviderID: p.ID, Limit: 10})
	must(t, err)
	if len(left) != 0 {
		t.Errorf("still in quarantine: %+v", left)
	}
}

func expungeUIDs(c *imapclient.Client, uids ...imap.UID) error {
	set := imap.UIDSetNum(uids...)
	if err := c.Store(set, &deleted, nil).Close(); err != nil {
		return err
	}
	_, err := c.UIDExpunge(set).Collect()
	return err
}
