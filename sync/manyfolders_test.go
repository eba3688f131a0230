package sync

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
)

// dovecotCaps are what makes a server one that is asked for several things at once.
const dovecotCaps = "LOGIN-REFERRALS SASL-IR ID ENABLE LITERAL+ UNSELECT IDLE SPECIAL-USE AUTH=PLAIN"

// More folders than go-imap holds unread, a wildcard, and a connection that is
// lost in the middle: what was asked along with the login must not stand in the
// way of what comes next.
func TestFailure04_ReconnectAmongManyFolders(t *testing.T) {
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{Caps: dovecotCaps}, func(p *db.Provider) {
		p.Folders = db.FolderNames{"*"}
	})
	appendN(s.Mailbox("INBOX"), 1, 10, "a")
	for i := range 150 {
		s.Mailbox(fmt.Sprintf("F%03d", i))
	}
	s.Play(cutAt(3))
	imapserver.Within(t, time.Minute, func() {
		if _, r := env.run(p); r[0].Counts.Published != 9 || r[0].Counts.Quarantined != 1 {
			t.Errorf("%+v %v, want all but the one at fault", r[0].Counts, r[0].Err)
		}
	})
}

// STATUS of one folder costs the connection: it fails alone, whether it is
// asked along with the login or behind it.
func TestFailure25_StatusThatKills(t *testing.T) {
	for name, caps := range map[string]string{"behind the login": "", "along with it": dovecotCaps} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			folders := db.FolderNames{"INBOX", "Bad", "C", "D", "E"}
			s, p := env.scripted(imapserver.Config{Caps: caps}, func(p *db.Provider) { p.Folders = folders })
			for _, n := range folders {
				appendN(s.Mailbox(n), 1, 2, n)
			}
			s.Play(imapserver.Quirk{Name: "status-kills", Stage: imapserver.Status, Do: (*imapserver.Exchange).Close, When: func(x *imapserver.Exchange) bool {
				return x.Mailbox != nil && x.Mailbox.Name == "Bad"
			}})
			_, r := env.run(p)
			if r[0].Counts.Published != 8 || r[0].Err == nil || !strings.Contains(r[0].Err.Error(), `folder "Bad"`) {
				t.Errorf("%+v, %v: want 8 published and Bad to fail", r[0].Counts, r[0].Err)
			}
		})
	}
}

// Mail below a small limit for one message, more of it than that together.
func TestFailure08_SmallLimit(t *testing.T) {
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.MaxMessageBytes, p.MaxEmailsPerSync = 100_000, 1000 })
	for n := range 100 {
		s.Mailbox("INBOX").Append(string(mail(n, "a")) + strings.Repeat("0123456789abcdef\r\n", 1000))
	}
	if _, r := env.run(p); r[0].Counts.Published != 100 || r[0].Err != nil {
		t.Errorf("%+v, %v: want 100 published", r[0].Counts, r[0].Err)
	}
}

// Poison all over a large window: a few passes, each with a few reconnects, and
// all else is through.
func TestFailure01_ManyPoisons(t *testing.T) {
	env := newEnv(t)
	s, p := env.scripted(imapserver.Config{}, func(p *db.Provider) { p.MaxEmailsPerSync = 1000 })
	appendN(s.Mailbox("INBOX"), 1, 1000, "a")
	for uid := uint32(50); uid <= 1000; uid += 100 {
		s.Play(cutAt(uid))
	}
	published, passes := 0, 0
	for passes < 4 {
		passes++
		_, r := env.run(p)
		published += r[0].Counts.Published
		if r[0].Err == nil {
			break
		}
	}
	if published != 990 {
		t.Errorf("%d published after %d passes, want 990 of 1000", published, passes)
	}
}
