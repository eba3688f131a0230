package sync

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/event"
	"imapsync/internal/devenv"
	"imapsync/parse"
	"imapsync/publish"
)

// report writes a mail that differs from others by its Message-ID, Date and body;
// without the one or the other field where it is empty.
func report(id, date, rest string) []byte {
	head := "From: Watcher <watcher@mon.example>\nTo: desk@harbour.example\nSubject: Report\n"
	if id != "" {
		head += "Message-ID: <" + id + ">\n"
	}
	if date != "" {
		head += "Date: " + date + "\n"
	}
	return []byte(strings.ReplaceAll(head+rest, "\n", "\r\n"))
}

const (
	oneSecond = "Tue, 02 Jun 2026 11:47:02 +0200"
	oneID     = "disk_watch_0_20260602@mon.example"
)

// pair makes two mails of one header, in whose rest %s is not the same.
func pair(id, date, rest string) [][]byte {
	return [][]byte{report(id, date, fmt.Sprintf(rest, "db1")), report(id, date, fmt.Sprintf(rest, "db2"))}
}

// TestContentDecides: two mails that differ in anything a person can see are two
// events, whatever headers they share, and each names the one before it. What a
// server or a second delivery may change makes no second event.
func TestContentDecides(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	mixed := "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=b\n\n"
	file := "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\nContent-Disposition: attachment; filename=scan.pdf\n\n"
	for name, tt := range map[string]struct {
		mails  [][]byte
		events int
	}{
		"a forged mail before the genuine one": {pair(oneID, oneSecond, "\nIBAN of %s\n"), 2},
		"alerts of one second":                 {pair(oneID, oneSecond, "Content-Type: text/plain\n\nDisk of %s is full.\n"), 2},
		"a scanner with one id and no Date": {[][]byte{
			report("scan@copier.example", "", mixed+"--b\n"+file+"AAAA\n--b--\n"),
			report("scan@copier.example", "", mixed+"--b\n"+file+"AAAB\n--b--\n"),
			report("scan@copier.example", "", mixed+"--b\n"+file+"AAAC\n--b--\n"),
		}, 3},
		"no id, one HTML footer":            {pair("", oneSecond, mixed+"--b\n\nServer %s is down.\n--b\nContent-Type: text/html\n\n<p>Our footer\n--b--\n"), 2},
		"no id, no blank line":              {pair("", oneSecond, "Server %s is down.\n"), 2},
		"no id, a boundary that never is":   {pair("", oneSecond, mixed+"Server %s is down.\n"), 2},
		"no id, text before the parts":      {pair("", oneSecond, "Content-Type: multipart/mixed\n\nServer %s is down.\n--b\n\nx\n--b--\n"), 2},
		"a blank text beside HTML":          {pair(oneID, oneSecond, "Content-Type: multipart/alternative; boundary=b\n\n--b\n\n\n--b\nContent-Type: text/html\n\n<p>%s is on fire.</p>\n--b--\n"), 2},
		"HTML and the footer of a list":     {pair(oneID, oneSecond, mixed+"--b\nContent-Type: text/html\n\n<p>%s is on fire.</p>\n--b\nContent-Transfer-Encoding: base64\n\nZGVzayBtYWlsaW5nIGxpc3QK\n--b--\n"), 2},
		"a type without subtype":            {pair(oneID, oneSecond, "Content-Type: text\n\nServer %s is down.\n"), 2},
		"a file without subtype":            {pair(oneID, oneSecond, "Content-Type: application\n\nServer %s is down.\n"), 2},
		"opaque S/MIME":                     {pair(oneID, oneSecond, "Content-Type: application/pkcs7-mime; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nMIIG%sAYJ\n"), 2},
		"a mail in the mail":                {pair(oneID, oneSecond, mixed+"--b\nContent-Type: message/rfc822\n\nFrom: a@b.example\nSubject: about %s\n\nx\n--b--\n"), 2},
		"parts behind the closing boundary": {pair(oneID, oneSecond, mixed+"--b\n\nx\n--b--\n\n--b\n\n%s\n--b--\n"), 2},
		"two headers of one name":           {pair(oneID, oneSecond, "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=b\n\n%s\n--b\n\nx\n--b--\n"), 2},
		"uuencode":                          {pair(oneID, oneSecond, "\nbegin 644 %s.txt\n#86%%A\n`\nend\n"), 2},
		"8-bit headers": {[][]byte{
			bytes.Replace(report(oneID, oneSecond, "\nx\n"), []byte("Report"), []byte("B\xe4r"), 1),
			bytes.Replace(report(oneID, oneSecond, "\nx\n"), []byte("Report"), []byte("B\xf6r"), 1),
		}, 2},
		"one mail, rendered anew": {[][]byte{
			report(oneID, oneSecond, mixed+"--b\n\nGröße  \n\n--b\n"+file+"AAAA\n--b--\n"),
			report(oneID, oneSecond, "X-Spam: no\nContent-Type: multipart/mixed;\n boundary=\"c d\"\n\nMIME\n--c d \nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nGr=C3=B6=C3=9Fe\n--c d\n"+strings.ToLower(strings.Split(file, "\n")[0])+"\nContent-Transfer-Encoding: BASE64\n\nAA\nAA\n--c d--\nbye\n"),
			report("disk_watch_0_20260602@MON.example", oneSecond, mixed+"--b\nContent-Transfer-Encoding: base64\n\nR3LDtsOfZQ==\n--b\n"+file+"AAAA\n--b--\n"),
		}, 1},
	} {
		user := strings.Map(func(r rune) rune {
			if r < 'a' || r > 'z' {
				return '_'
			}
			return r
		}, strings.ToLower(name))
		must(t, d.AddUser(user, "p"))
		must(t, d.Deliver(user, "INBOX", tt.mails...))
		must(t, d.Deliver(user, "INBOX", tt.mails[0])) // a second delivery
		p := env.provider(d, user, "p", nil)
		if res := env.ok(p); res.Counts != (db.Counts{Published: tt.events, Duplicates: len(tt.mails) + 1 - tt.events}) {
			t.Errorf("%s: %+v, want %d published", name, res.Counts, tt.events)
		}
		before := ""
		for _, ev := range env.events() {
			if data := ev.Payload.EmailData; data.ProviderID == p.ID {
				if !strings.HasPrefix(name, "no id") && data.SameMessageIDAs != before {
					t.Errorf("%s: same Message-ID as %q, want %q", name, data.SameMessageIDAs, before)
				}
				if reused := slices.ContainsFunc(data.Defects, func(d event.Defect) bool { return d.Code == event.DefectMessageIDReused }); reused != (data.SameMessageIDAs != "") {
					t.Errorf("%s: the defect is there: %t", name, reused)
				}
				before = ev.ID
			}
		}
	}
}

// TestEachNamesTheEventBeforeIt: the chain of one Message-ID holds over passes, and
// over chunks that are published while those before them are being committed.
func TestEachNamesTheEventBeforeIt(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	const n = 2*chunkMessages + 20
	var scans [][]byte
	for i := range n {
		scans = append(scans, report("scan@copier.example", "", fmt.Sprintf("\nScan %04d.\n", i)))
	}
	must(t, d.Deliver("u", "INBOX", scans...))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.MaxEmailsPerSync = n - 10 })
	for _, want := range []int{n - 10, 10} {
		if res := env.ok(p); res.Counts.Published != want {
			t.Fatalf("%+v, want %d published", res.Counts, want)
		}
	}
	before := ""
	for i, ev := range env.events() {
		if got := ev.Payload.EmailData.SameMessageIDAs; got != before {
			t.Fatalf("event %d has the Message-ID of %q, want %q", i, got, before)
		}
		before = ev.ID
	}
}

// TestHeaderAndWholeAreOneMail: mail published by its header makes no second event
// when it is read in whole under another UID, nor the other way round; and of
// those that share a header, one is that mail.
func TestHeaderAndWholeAreOneMail(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	var log safeBuffer
	env.runner.Log = slog.New(slog.NewTextHandler(&log, nil))
	scan := func(id, date, text string, lines int) []byte {
		return report(id, date, "\n"+text+"\n"+strings.Repeat("0123456789abcdef0123456789abcdef\n", lines))
	}
	const large = 20_000 // lines: 680 KB
	for name, tt := range map[string]struct {
		first, then   [][]byte
		cap, capAfter int64
		events        int
	}{
		"read in whole later": {[][]byte{scan("a@b.c", oneSecond, "x", large)},
			[][]byte{scan("a@b.c", oneSecond, "x", large), scan("a@b.c", oneSecond, "x", large)}, 100_000, 1 << 20, 1},
		"rendered anew by then":                  {[][]byte{scan("a@b.c", oneSecond, "x", large)}, [][]byte{scan("a@b.c", oneSecond, "x", large-1500)}, 100_000, 1 << 20, 1},
		"no more than a header in common":        {[][]byte{scan("a@b.c", oneSecond, "x", large)}, [][]byte{scan("a@b.c", oneSecond, "x", large/2)}, 100_000, 1 << 20, 2},
		"one is that mail, the other is another": {[][]byte{scan("a@b.c", oneSecond, "x", large)}, [][]byte{scan("a@b.c", oneSecond, "x", large), scan("a@b.c", oneSecond, "y", large)}, 100_000, 1 << 20, 2},
		"without Date, by its size":              {[][]byte{scan("a@b.c", "", "x", large)}, [][]byte{scan("a@b.c", "", "y", large-10), scan("a@b.c", "", "x", large)}, 100_000, 1 << 20, 2},
		"without Message-ID":                     {[][]byte{scan("", oneSecond, "x", large)}, [][]byte{scan("", oneSecond, "x", large)}, 100_000, 1 << 20, 1},
		"two headers without Date":               {[][]byte{scan("a@b.c", "", "x", large)}, [][]byte{scan("a@b.c", "", "y", large+1), scan("a@b.c", "", "x", large)}, 100_000, 100_000, 2},
		"by its header later":                    {[][]byte{scan("a@b.c", oneSecond, "x", large)}, [][]byte{scan("a@b.c", oneSecond, "x", large), scan("a@b.c", oneSecond, "x", large)}, 1 << 20, 100_000, 1},
		"by its header, no id":                   {[][]byte{scan("", oneSecond, "x", large)}, [][]byte{scan("", oneSecond, "x", large)}, 1 << 20, 100_000, 1},
		"by its header, another":                 {[][]byte{scan("a@b.c", oneSecond, "x", large)}, [][]byte{scan("a@b.c", oneSecond, "x", large/2)}, 1 << 20, 100_000, 2},
		"by its header, no Date":                 {[][]byte{scan("a@b.c", "", "x", large)}, [][]byte{scan("a@b.c", "", "y", large-10)}, 1 << 20, 100_000, 2},
	} {
		user := strings.NewReplacer(" ", "_", ",", "").Replace(strings.ToLower(name))
		must(t, d.AddUser(user, "p", "Archive"))
		must(t, d.Deliver(user, "INBOX", tt.first...))
		p := env.provider(d, user, "p", func(p *db.Provider) {
			p.MaxMessageBytes, p.Folders = tt.cap, db.FolderNames{"INBOX", "Archive"}
		})
		env.ok(p)
		must(t, d.Deliver(user, "Archive", tt.then...))
		env.setCap(p, tt.capAfter)
		res := env.ok(p)
		n := 0
		for _, ev := range env.events() {
			if ev.Payload.ProviderID == p.ID {
				n++
			}
		}
		if n != tt.events || res.Counts.Total() != len(tt.then) {
			t.Errorf("%s: %d events, then %+v; want %d", name, n, res.Counts, tt.events)
		}
	}
	if said := log.String(); !strings.Contains(said, "level=INFO msg=duplicate") || !strings.Contains(said, "folder=Archive uid=1 of_folder=INBOX of_uid=1") {
		t.Error("the duplicates are not logged with both UIDs")
	}
}

// TestOneHeaderTwoMails: a scanner that gives all of its mail one header, and whose scans are all over the cap has each
// of them published; a copy of one, in whatever folder or numbering, is a duplicate.
func TestOneHeaderTwoMails(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	scan := func(id, date string, lines int) []byte {
		return report(id, date, "\n"+strings.Repeat("0123456789abcdef0123456789abcdef\n", lines))
	}
	for user, of := range map[string][2]string{"sure": {"a@b.c", oneSecond}, "undated": {"a@b.c", ""}, "nameless": {"", oneSecond}} {
		must(t, d.AddUser(user, "p", "Archive"))
		first, second := scan(of[0], of[1], 20_000), scan(of[0], of[1], 30_000)
		must(t, d.Deliver(user, "INBOX", first, second))
		p := env.provider(d, user, "p", func(p *db.Provider) {
			p.MaxMessageBytes, p.Folders = 100_000, db.FolderNames{"INBOX", "Archive"}
		})
		if res := env.ok(p); res.Counts != (db.Counts{Published: 2}) {
			t.Fatalf("%s: %+v, want 2 published", user, res.Counts)
		}
		must(t, d.Deliver(user, "Archive", second, first))
		if res := env.ok(p); res.Counts != (db.Counts{Duplicates: 2}) {
			t.Errorf("%s: %+v, want 2 duplicates", user, res.Counts)
		}
		must(t, d.Stop())
		must(t, d.Renumber(user, "INBOX"))
		must(t, d.Start(t.Context()))
		if res := env.ok(p); res.Counts.Published != 0 {
			t.Errorf("%s, numbered anew: %+v, want nothing published", user, res.Counts)
		}
		env.setCap(p, 2<<20)
		must(t, d.Deliver(user, "Archive", second, first))
		if res := env.ok(p); res.Counts != (db.Counts{Duplicates: 2}) {
			t.Errorf("%s, the cap raised: %+v, want 2 duplicates", user, res.Counts)
		}
	}
	for _, ev := range env.events() {
		data := ev.Payload.EmailData
		if later := data.SameMessageIDAs != ""; later != (data.MessageSize > 900_000 && !strings.HasPrefix(data.ID, "imap-hash-")) {
			t.Errorf("%s of %d bytes: the same Message-ID as %q", data.ID, data.MessageSize, data.SameMessageIDAs)
		}
	}
}

// TestHeaderAndWholeAcrossNumberings: nor is there a second event when, between the
// two, the server has numbered the folder anew.
func TestHeaderAndWholeAcrossNumberings(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	large := "\n" + strings.Repeat("0123456789abcdef0123456789abcdef\n", 20_000)
	for user, caps := range map[string][2]int64{"raised": {100_000, 1 << 20}, "lowered": {1 << 20, 100_000}} {
		must(t, d.AddUser(user, "p"))
		must(t, d.Deliver(user, "INBOX", report("a@b.c", oneSecond, large), report("", oneSecond, large), report("a@b.c", "", large+"other\n")))
		p := env.provider(d, user, "p", func(p *db.Provider) { p.MaxMessageBytes = caps[0] })
		if res := env.ok(p); res.Counts.Published != 3 {
			t.Fatalf("%s: %+v, want 3 published", user, res.Counts)
		}
		env.setCap(p, caps[1])
		must(t, d.Stop())
		must(t, d.Renumber(user, "INBOX"))
		must(t, d.Start(t.Context()))
		for range 3 {
			if res := env.ok(p); res.Counts.Published != 0 {
				t.Errorf("%s, and numbered anew: %+v, want nothing published", user, res.Counts)
			}
		}
	}
}

// setCap changes how large a mail may be that is downloaded.
func (env *testEnv) setCap(p *db.Provider, most int64) {
	env.t.Helper()
	pool, err := sql.Open("postgres", env.dbURL)
	must(env.t, err)
	defer pool.Close()
	_, err = pool.ExecContext(env.t.Context(), `UPDATE imap_provider_options SET max_message_bytes = $2 WHERE provider_id = $1`, p.ID, most)
	must(env.t, err)
}

// TestReleasedMailIsOneMail: a message that went out by its headers, since its body
// could not be handled, is known when that can be.
func TestReleasedMailIsOneMail(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p", "Archive"))
	poison := report("poison@example.org", oneSecond, "\nBody.\n")
	must(t, d.Deliver("u", "INBOX", poison))
	p := env.provider(d, "u", "p", func(p *db.Provider) { p.Folders = db.FolderNames{"INBOX", "Archive"} })
	env.runner.parse = func(raw []byte, lim parse.Limits) *parse.Message {
		if bytes.Contains(raw, []byte("Body")) {
			panic("at the body")
		}
		return parse.Parse(raw, lim)
	}
	env.run(p)
	list, err := env.store.ListQuarantine(t.Context(), db.QuarantineFilter{ProviderID: p.ID, Limit: 10})
	must(t, err)
	must(t, env.store.SetQuarantineState(t.Context(), &list[0], db.QuarantineReleased, db.Audit{Tenant: p.Tenant, At: time.Now()}))
	env.run(p)
	env.runner.parse = parse.Parse
	must(t, d.Deliver("u", "Archive", poison, report("poison@example.org", oneSecond, "\nAnother.\n")))
	if res := env.ok(p); res.Counts != (db.Counts{Published: 1, Duplicates: 1}) || len(env.events()) != 2 {
		t.Errorf("%+v, %d events; want the copy to be a duplicate, the other mail none", res.Counts, len(env.events()))
	}
}

// TestV1RowsCountForTheirUIDsAlone: what version 1 published is not read again, and
// makes no other mail a duplicate.
func TestV1RowsCountForTheirUIDsAlone(t *testing.T) {
	t.Parallel()
	env, d := newEnv(t), devenv.TestDovecot(t)
	must(t, d.AddUser("u", "p"))
	genuine := report(oneID, oneSecond, "\nGenuine.\n")
	must(t, d.Deliver("u", "INBOX", report(oneID, oneSecond, "\nForged.\n")))
	p := env.provider(d, "u", "p", nil)
	env.ok(p)
	v1 := publish.IdentifyHeader(genuine).V1Key
	pool, err := sql.Open("postgres", env.dbURL)
	must(t, err)
	defer pool.Close()
	_, err = pool.ExecContext(t.Context(), `UPDATE imap_messages SET event_key = $1, fingerprint = NULL, internal_date = NULL`, v1)
	must(t, err)
	must(t, d.Deliver("u", "INBOX", genuine))
	if res := env.ok(p); res.Counts != (db.Counts{Published: 1}) {
		t.Fatalf("%+v, want the new mail alone", res.Counts)
	}
	last := env.events()[1]
	if want := event.ID(p.Tenant, p.ID, v1); last.Payload.EmailData.SameMessageIDAs != want {
		t.Errorf("same Message-ID as %q, want that of version 1, %q", last.Payload.EmailData.SameMessageIDAs, want)
	}
}

// TestSizesOfOneMail: two servers count one mail differently; where the header does
// not say which mail it is, that is no reason to take two for one.
func TestSizesOfOneMail(t *testing.T) {
	sure := publish.Identity{MessageID: "1@example.org", Dated: true}
	for _, tt := range []struct {
		id         publish.Identity
		size, than int64
		want       bool
	}{
		{sure, 1000, 1000, true}, {sure, 1000, 60_000, true}, {sure, 1000, 70_000, false},
		{sure, 10_000_000, 9_000_000, true}, {sure, 9_000_000, 10_000_000, true}, {sure, 10_000_000, 8_900_000, false},
		{sure, 10_000_000, 0, true}, {sure, 0, 10_000_000, true}, {sure, 0, 0, true},
		{publish.Identity{Dated: true}, 1000, 1001, false}, {publish.Identity{MessageID: "1@example.org"}, 1000, 1001, false},
		{publish.Identity{}, 1000, 1000, true}, {publish.Identity{}, 0, 1000, false}, {publish.Identity{}, 0, 0, true},
	} {
		m := newMessage(1)
		m.Size, m.summary.Identity = tt.size, tt.id
		if got := m.mayBe(tt.than); got != tt.want {
			t.Errorf("%+v of %d bytes may be one of %d: %t, want %t", tt.id, tt.size, tt.than, got, tt.want)
		}
	}
}

// TestCopyOfWhatFailedIsNoDuplicate: what did not go out is no evidence that a copy
// of it did.
func TestCopyOfWhatFailedIsNoDuplicate(t *testing.T) {
	f := &folderPass{pass: &pass{}, log: slog.New(slog.DiscardHandler)}
	leader, m := newMessage(1), newMessage(2)
	m.known, m.leader, m.twin = true, leader, &db.Known{UID: 1}
	if row, err := f.outcome(context.Background(), m, time.Time{}); err != nil || row.Outcome != db.Duplicate {
		t.Errorf("%+v, %v; want a duplicate", row, err)
	}
	leader.fail("blob", "blob", errors.New("no room"))
	if row, err := f.outcome(context.Background(), m, time.Time{}); err != nil || row.Outcome != db.Quarantined {
		t.Errorf("%+v, %v; want it to be tried again", row, err)
	}
}
