package sync

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"imapsync/internal/devenv/imapserver"
)

// counts has the server count so many messages of INBOX more than there are.
func (env *scriptedEnv) counts(more int) {
	number := regexp.MustCompile(`(\d+)( EXISTS)|(MESSAGES )(\d+)`)
	for _, stage := range []imapserver.Stage{imapserver.Select, imapserver.Status} {
		env.srv.Play(inInbox(imapserver.Quirk{Stage: stage, Do: func(x *imapserver.Exchange) error {
			for i, r := range x.Responses {
				x.Responses[i].Head = number.ReplaceAllStringFunc(r.Head, func(s string) string {
					part := number.FindStringSubmatch(s)
					n, err := strconv.Atoi(part[1] + part[4])
					must(env.t, err)
					return part[3] + fmt.Sprint(n+more) + part[2]
				})
			}
			return nil
		}}))
	}
}

// large is an environment whose INBOX has been read and has more messages than are
// ever counted.
func large(t *testing.T) *scriptedEnv {
	env := newSharedServers(t).start(t, imapserver.TLS, inbox)
	env.passed()
	env.exec(`UPDATE imap_folder_state SET messages = messages + 1000000 WHERE folder = 'INBOX' AND provider_id = $1`)
	env.counts(maxCounted)
	env.passed()
	return env
}

// A gap in a folder that is too large to be counted settles once its range has been
// listed, and not while the server refuses that.
func TestFailure02_GapInALargeFolder(t *testing.T) {
	t.Parallel()
	env := large(t)
	env.srv.Mailbox("INBOX").AppendHidden(env.letter("INBOX"))
	env.append("INBOX", 2)
	env.passed()
	env.srv.Play(inInbox(imapserver.Quirk{Stage: imapserver.Fetch, Do: func(x *imapserver.Exchange) error { return x.Tagged("NO not now") }}))
	env.passes(5, 10*time.Minute)
	if st := env.state("INBOX"); st.SettledUID != 4 {
		t.Errorf("settled %d while nothing is listed, want 4", st.SettledUID)
	}
	env.srv.Behave()
	env.counts(maxCounted)
	env.passes(5, 10*time.Minute)
	if st := env.state("INBOX"); st.SettledUID != 7 || st.LastUID != 7 {
		t.Errorf("settled %d, last %d, want 7", st.SettledUID, st.LastUID)
	}
}

// A message that a large folder counts and does not show is said for a day, holds up
// nothing, and is forgotten when the count is right again.
func TestFailure28_SurplusOfALargeFolder(t *testing.T) {
	t.Parallel()
	env := large(t)
	env.counts(1)
	for range 3 {
		env.append("INBOX", 1)
		if res := env.passes(1, time.Minute); code(res) != "exists_mismatch" || res.Counts.Published != 1 {
			t.Errorf("%v, %+v; want the new mail, and the mismatch", res.Err, res.Counts)
		}
		if st := env.state("INBOX"); st.Surplus != 1 {
			t.Errorf("surplus %d, want 1 whatever comes", st.Surplus)
		}
	}
	if res := env.passes(26, time.Hour); res.Err != nil {
		t.Errorf("after a day: %v", res.Err)
	}
	env.counts(1)
	if res := env.passes(1, time.Hour); code(res) != "exists_mismatch" {
		t.Errorf("%v, want one more said", res.Err)
	}
	env.srv.Behave()
	env.counts(maxCounted)
	if res := env.passes(1, time.Hour); res.Err != nil || env.state("INBOX").Surplus != 0 {
		t.Errorf("%v, surplus %d, want none when the count is right", res.Err, env.state("INBOX").Surplus)
	}
	env.once("INBOX")
}
