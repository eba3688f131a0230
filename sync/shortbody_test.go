package sync

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"imapsync/db"
	"imapsync/internal/devenv/imapserver"
)

// TestFailure30_OneFolderCutsItsBodies: what another folder gives is no evidence that a
// body of this one is whole: no mail goes out cut within an outage of six hours.
func TestFailure30_OneFolderCutsItsBodies(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, func(p *db.Provider) { p.Folders = db.FolderNames{"INBOX", "Other"} })
	env.replaceBox("INBOX")
	env.folders = []string{"INBOX", "Other"}
	env.passed()
	env.srv.Play(inInbox(imapserver.Named("bodies-short")))
	env.append("INBOX", 1)
	env.pass()
	for _, wait := range lasts() {
		env.later(wait)
		env.pass()
	}
	if len(env.missing("INBOX")) != 1 {
		t.Fatal("a cut body was published")
	}
	env.srv.Behave()
	env.settle()
}

// TestFailure16_SizesThatAreEstimates: where a server says twice the size of all mail,
// the first is believed when it has come so for longer than an outage lasts, and then
// all others are soon.
func TestFailure16_SizesThatAreEstimates(t *testing.T) {
	t.Parallel()
	env := newSharedServers(t).start(t, imapserver.TLS, inbox)
	env.folders = []string{"INBOX"}
	size := regexp.MustCompile(`RFC822\.SIZE (\d+)`)
	env.srv.Play(imapserver.Quirk{Name: "twice", Stage: imapserver.Fetch, Do: func(x *imapserver.Exchange) error {
		for i := range x.Responses {
			x.Responses[i].Head = size.ReplaceAllStringFunc(x.Responses[i].Head, func(s string) string {
				n, _ := strconv.Atoi(size.FindStringSubmatch(s)[1])
				return fmt.Sprintf("RFC822.SIZE %d", 2*n+600)
			})
		}
		return nil
	}})
	for range 3 {
		env.pass()
		env.later(6*time.Hour + time.Minute)
	}
	env.pass()
	env.once("INBOX")
	for range 3 {
		env.append("INBOX", 2)
		for range 3 {
			env.later(2 * time.Minute)
			env.pass()
		}
		env.once("INBOX")
	}
	if q := env.quarantine(); len(q) != 0 {
		t.Errorf("in quarantine: %+v", q)
	}
}
